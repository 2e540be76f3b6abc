"""Holds a hopwire report against the truth of a generated capture. A fast wrong answer scores nothing."""

import json
from collections import Counter


def load(path):
    with open(f"{path}.json", encoding="utf-8") as file:
        return json.load(file)


def differences(report_path, truth, decrypted=True):
    """What a JSON report gets wrong, as lines of text; none when all counts are exact."""
    try:
        with open(report_path, encoding="utf-8") as file:
            report = json.load(file)
        found = counts(report)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        return [f"no usable report: {problem!r}"]
    expected = {
        "packets": truth["packets"],
        "flows": truth["connections"],
        "tls_flows": truth["tls_connections"],
        "stream_bytes_missing": 0,
    }
    if decrypted:
        expected |= {
            "tls_flows_decrypted": truth["tls_connections"],
            "exchanges": truth["requests"],
            "exchanges_incomplete": 0,
        }
        for operation, of in truth["operations"].items():
            expected[operation] = of["count"]
            expected[f"{operation} errors"] = of["errors"]
    return [f"{name}: reported {found[name]}, truth {value}" for name, value in expected.items() if found[name] != value]


def counts(report):
    found = Counter({name: value for name, value in report["completeness"].items() if isinstance(value, int)})
    for row in report["operations"]:
        found[row["operation"]] += row["count"]
        found[f"{row['operation']} errors"] += row["errors"]
    return found
