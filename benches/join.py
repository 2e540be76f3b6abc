#!/usr/bin/env python3
"""Measures how well hopwire joins the two hops of a call: precision and recall against the truth of generated captures."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import measure
import truth as truths

# Name, what the generator is asked for, whether hopwire gets the keys, the kind of traffic where it is not the one asked for.
CASES = [
    ("open upstream", ["--upstream", "clear"], False),
    ("TLS upstream, key log given", ["--upstream", "tls"], True),
    ("TLS on both hops, key log given", ["--upstream", "tls", "--tls"], True),
    ("TLS upstream, shut", ["--upstream", "tls"], False),
    ("TLS upstream, shut, flows", ["--upstream", "tls"], False, "flows"),
    ("TLS upstream, shut, bulk", ["--upstream", "tls"], False, "bulk"),
    ("TLS upstream, shut, 0.1 % missing", ["--upstream", "tls", "--loss", "1"], False),
    ("open upstream, no request ids", ["--upstream", "clear", "--hide-request-ids"], False),
    ("open upstream, 0.5 % of packets missing", ["--upstream", "clear", "--loss", "5"], False),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    measure.add_build_options(parser)
    parser.add_argument("--bytes", default="50M", help="size of each capture (default 50M)")
    parser.add_argument("--kind", default="chatty", choices=["chatty", "flows", "bulk", "offload"])
    options = parser.parse_args()
    hopwire, generator = measure.binaries(options)
    with tempfile.TemporaryDirectory(prefix="hopwire-join-") as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'case':<42}{'calls':>8}{'seen':>8}{'joined':>8}{'right':>8}{'precision':>11}{'recall':>9}")
        for name, arguments, has_keys, *other in CASES:
            kind = other[0] if other else options.kind
            file = f"two-hop-{kind}-{'-'.join(a.strip('-') for a in arguments)}.pcap"
            command = [kind, "--bytes", options.bytes, "--seed", str(options.seed), "--two-hop", *arguments]
            path = measure.capture(generator, folder, file, command, True)
            print(f"{name:<42}{score(hopwire, path, has_keys)}", flush=True)
        if options.dir and not options.keep:
            for path in folder.glob("two-hop-*"):
                path.unlink()


def score(hopwire, path, has_keys):
    pairs = {(client, upstream) for client, upstream, _ in truths.load(path)["pairs"]}
    keylog = ["--keylog", f"{path}.keys"] if has_keys else []
    command = [hopwire, "analyze", "--format", "jsonl", "--fail-on", "never", *keylog, path]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    traces, seen = read(process.stdout)
    complaint = process.stderr.read()
    if process.wait() not in (0, 1, 3):
        return f"  hopwire ended with {process.returncode}: {complaint.strip()[-200:]}"
    # Recall is over the pairs of which both halves were decoded; the table shows beside it how many those are.
    visible = sum(client in seen and upstream in seen for client, upstream in pairs)
    joined = {(client, upstream) for clients, upstreams in traces.values() for client in clients for upstream in upstreams}
    right = len(joined & pairs)
    precision = f"{right / len(joined):.4f}" if joined else "-"
    recall = f"{right / visible:.4f}" if visible else "-"
    return f"{len(pairs):>8}{visible:>8}{len(joined):>8}{right:>8}{precision:>11}{recall:>9}"


def read(lines):
    """Traces as (client-hop keys, upstream keys), and all keys seen. A key is `client>server#ordinal`."""
    traces, seen = defaultdict(lambda: (set(), set())), set()
    keys, sealed = {}, []
    for line in lines:
        exchange = json.loads(line)
        if exchange.get("type") not in ("exchange", "sealed"):
            continue
        key = f"{exchange['client']}>{exchange['server']}#{exchange['id'].rsplit('.', 1)[1]}"
        seen.add(key)
        keys[exchange["id"]] = key
        if exchange["type"] == "sealed":
            # The exchange that led to it was written before, without a trace.
            sealed.append((exchange["trace"], exchange["downstream"], key))
        elif exchange.get("trace") is not None:
            # The proxy listens on 8091, the stores on 9000.
            traces[exchange["trace"]][not exchange["server"].endswith(":8091")].add(key)
    for trace, downstream, key in sealed:
        if trace is not None:
            traces[trace][0].add(keys[downstream])
            traces[trace][1].add(key)
    return traces, seen


if __name__ == "__main__":
    sys.exit(main())
