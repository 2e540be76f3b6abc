#!/usr/bin/env python3
"""Measures hopwire on generated captures beside cat, tcpdump and tshark, and prints the ratios beside the bars."""

import argparse
import filecmp
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import truth as truths

# Floor, target and stretch per question. "most" = the smaller the better, "least" = the larger the better.
BARS = {
    "chatty: time / cat, 2 threads": ("most", 6.0, 3.5, 2.0),
    "chatty: us per transaction, 1 thread": ("most", 2.2, 1.3, 0.8),
    "bulk: time / cat, 2 threads": ("most", 1.5, 1.0, 0.65),
    "offload: time / cat, 2 threads": ("most", 1.0, 0.5, 0.25),
    "time / tcpdump -w": ("most", 1.5, 0.8, 0.4),
    "jsonl / json time": ("most", 1.5, 1.3, 1.2),
    "chatty: tshark / time": ("least", 100, 200, None),
    "bulk: tshark / time": ("least", 300, 600, 1000),
    "peak memory, MB": ("most", 128, 64, 32),
    "flows / chatty, ns per packet": ("most", 1.5, 1.25, 1.1),
    "time of 4 GB / 1 GB": ("most", 4.4, 4.15, 4.05),
    "memory of 4 GB / 1 GB": ("most", 1.15, 1.05, None),
    "stdin: cat | cat time / time": ("least", 0.8, 0.95, None),
    "tls bulk: rate / openssl, per core": ("least", 0.7, 1.0, 1.8),
    "chatty: time / cat, 1 thread": ("most", 9.0, None, None),
    "tls / clear time": ("most", None, 1.3, 1.1),
}


class Bench:
    """The programs, the folder and what has been found so far."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.hopwire, self.generator = measure.binaries(options)
        self.has_wrong = False
        self.report = {}

    def capture(self, kind, size, *arguments):
        name = "-".join([kind, size, *(a.strip("-") for a in arguments)]) + ".pcap"
        command = [kind, "--bytes", size, "--seed", str(self.options.seed), *arguments]
        return measure.capture(self.generator, self.folder, name, command, self.options.keep)

    def analyze(self, path, threads, report_format="json", keys=None, more=()):
        keylog = ["--keylog", keys] if keys else []
        options = ["--format", report_format, "--fail-on", "never", "--threads", threads, *keylog, *more]
        return [self.hopwire, "analyze", *options, path]

    def check(self, path, keys=None):
        """Exact counts, and the same bytes whatever the number of threads; false if not."""
        outs = [self.folder / f"report-{threads}.json" for threads in (1, 2)]
        for threads, out in zip((1, 2), outs):
            measure.run(self.analyze(path, threads, keys=keys), out)
        wrong = truths.differences(outs[0], truths.load(path))
        if not filecmp.cmp(*outs, shallow=False):
            wrong.append("the report of 2 threads differs from that of 1")
        print("  counts: " + ("WRONG" if wrong else "exact, and the report is the same for 1 and 2 threads"))
        for line in wrong:
            print(f"    WRONG  {line}")
        self.has_wrong |= bool(wrong)
        return not wrong

    def bar(self, question, value, label=None):
        direction, *marks = BARS[question]
        names = ["floor", "target", "stretch"]
        holds = [n for n, m in zip(names, marks) if m is not None and (value <= m if direction == "most" else value >= m)]
        verdict = holds[-1] if holds else "BELOW FLOOR" if marks[0] is not None else "below target"
        shown = " / ".join("-" if m is None else f"{m:g}" for m in marks)
        sign = "<=" if direction == "most" else ">="
        print(f"  {label or question:<44} {value:>9.2f}   {sign} {shown:<18} {verdict}")

    def table(self, results, size_bytes, packets):
        cat = results.get("cat")
        # The peak that the kernel tells includes the launcher's own before exec: nothing below it can be seen.
        rss_floor_mb = measure.run(["true"]).rss_mb
        print(f"  {'':<24}{'wall s':>8}{'CPU s':>8}{'GB/s':>8}{'ns/pkt':>8}{'peak MB':>9}{'x cat':>8}{'CPU x cat':>11}")
        for name, best in results.items():
            rss = f"<{rss_floor_mb:.0f}" if best.rss_mb <= rss_floor_mb * 1.05 else f"{best.rss_mb:.0f}"
            ratios = f"{best.wall_s / cat.wall_s:>8.2f}{best.cpu_s / max(cat.cpu_s, 1e-4):>11.2f}" if cat else ""
            rate, per_packet = size_bytes / best.wall_s / 1e9, best.wall_s / packets * 1e9
            print(f"  {name:<24}{best.wall_s:>8.3f}{best.cpu_s:>8.3f}{rate:>8.2f}{per_packet:>8.0f}{rss:>9}{ratios}")


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="hopwire-speed-") as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.keep and not options.dir:
            sys.exit("--keep needs --dir")
        bench = Bench(options, folder)
        print(f"{os.cpu_count()} CPUs, best of {options.rounds}, page cache warm; only ratios within one run count")
        for kind in options.kinds.split(","):
            one_file(bench, kind)
        across_kinds(bench)
        if options.memory:
            growth(bench)
        if options.tls:
            inside_tls(bench)
        if not options.keep:
            for path in folder.glob("*-*.pcap*"):
                path.unlink()
    sys.exit(1 if bench.has_wrong else 0)


def one_file(bench, kind):
    path = bench.capture(kind, bench.options.bytes)
    size, truth = path.stat().st_size, truths.load(path)
    print(f"\n{kind}: {size / 1e9:.2f} GB, {truth['packets']} packets, {truth['connections']} connections, {truth['requests']} requests")
    right = bench.check(path)
    commands = {
        "cat": (["cat", path], None),
        "hopwire --threads 1": (bench.analyze(path, 1), None),
        "hopwire --threads 2": (bench.analyze(path, 2), None),
        "hopwire jsonl, 2": (bench.analyze(path, 2, "jsonl"), None),
        "cat | cat": (["sh", "-c", f"cat '{path}' | cat"], None),
        "cat | hopwire -, 2": (["sh", "-c", f"cat '{path}' | '{bench.hopwire}' analyze --format json --fail-on never --threads 2 -"], None),
    }
    if measure.installed("tcpdump"):
        commands["tcpdump -w /dev/null"] = (["tcpdump", "-r", path, "-w", "/dev/null"], None)
    else:
        print("  tcpdump is not installed")
    results = measure.interleaved(commands, bench.options.rounds)
    if bench.options.with_tshark:
        tshark(bench, kind, path, results)
    bench.table(results, size, truth["packets"])
    if not right:
        print("  no score: the answer is wrong")
        return
    score(bench, kind, truth, results)


def tshark(bench, kind, path, results):
    if not measure.installed("tshark"):
        print("  tshark is not installed")
        return
    scale = 1.0
    if bench.options.tshark_bytes:
        small = bench.capture(kind, bench.options.tshark_bytes)
        scale, path = path.stat().st_size / small.stat().st_size, small
    options = ["-o", "tcp.reassemble_out_of_order:TRUE", "-Y", "http.request", "-T", "fields", "-e", "frame.number"]
    run = measure.run(["tshark", "-r", path, *options])
    if run.code == 0:
        print(f"  tshark: one run over {path.stat().st_size / 1e9:.2f} GB took {run.wall_s:.1f} s; its time is scaled by {scale:.2f}")
        results["tshark (scaled)"] = measure.Best(run.wall_s * scale, run.cpu_s * scale, run.rss_mb)


def score(bench, kind, truth, results):
    one, two = results.get("hopwire --threads 1"), results.get("hopwire --threads 2")
    if not (one and two and "cat" in results):
        print("  no score: hopwire or cat failed")
        return
    print(f"  {'':<44} {'value':>9}   floor / target / stretch")
    cat_bar = f"{kind}: time / cat, 2 threads"
    if cat_bar in BARS:
        bench.bar(cat_bar, two.wall_s / results["cat"].wall_s)
    if kind == "chatty":
        bench.bar("chatty: time / cat, 1 thread", one.wall_s / results["cat"].wall_s)
        bench.bar("chatty: us per transaction, 1 thread", one.wall_s / truth["requests"] * 1e6)
    if "tcpdump -w /dev/null" in results:
        bench.bar("time / tcpdump -w", two.wall_s / results["tcpdump -w /dev/null"].wall_s)
    if "hopwire jsonl, 2" in results:
        bench.bar("jsonl / json time", results["hopwire jsonl, 2"].wall_s / two.wall_s)
    if "cat | hopwire -, 2" in results and "cat | cat" in results:
        bench.bar("stdin: cat | cat time / time", results["cat | cat"].wall_s / results["cat | hopwire -, 2"].wall_s)
    if "tshark (scaled)" in results and f"{kind}: tshark / time" in BARS:
        bench.bar(f"{kind}: tshark / time", results["tshark (scaled)"].wall_s / two.wall_s)
    bench.bar("peak memory, MB", max(one.rss_mb, two.rss_mb))
    bench.report[kind] = two.wall_s / truth["packets"]


def across_kinds(bench):
    if "flows" in bench.report and "chatty" in bench.report:
        print("\ngrowth with the number of connections")
        bench.bar("flows / chatty, ns per packet", bench.report["flows"] / bench.report["chatty"])


def growth(bench):
    print("\nmemory and time as the capture grows (chatty, 2 threads)")
    best = {}
    for size in ("250M", "1G", "4G"):
        path = bench.capture("chatty", size)
        print(f" {size}")
        if bench.check(path):
            best |= measure.interleaved({size: (bench.analyze(path, 2), None)}, bench.options.rounds)
            if size in best:
                print(f"  wall {best[size].wall_s:.3f} s, peak {best[size].rss_mb:.0f} MB")
        if not bench.options.keep and size != bench.options.bytes:
            path.unlink()
    if "1G" in best and "4G" in best:
        bench.bar("time of 4 GB / 1 GB", best["4G"].wall_s / best["1G"].wall_s)
        bench.bar("memory of 4 GB / 1 GB", best["4G"].rss_mb / best["1G"].rss_mb)


def inside_tls(bench):
    print("\nTLS 1.3, AES-128-GCM, with a key log")
    for kind in ("chatty", "bulk"):
        clear, tls = bench.capture(kind, bench.options.bytes), bench.capture(kind, bench.options.bytes, "--tls")
        keys = f"{tls}.keys"
        print(f" {kind}: {tls.stat().st_size / 1e9:.2f} GB in TLS, {clear.stat().st_size / 1e9:.2f} GB in clear")
        if not bench.check(tls, keys):
            continue
        commands = {"cat": (["cat", tls], None)}
        for threads in (1, 2):
            commands[f"in TLS, {threads}"] = (bench.analyze(tls, threads, keys=keys), None)
            commands[f"in clear, {threads}"] = (bench.analyze(clear, threads), None)
        if kind == "bulk":
            commands["every record, 1"] = (bench.analyze(tls, 1, keys=keys, more=["--verify"]), None)
        results = measure.interleaved(commands, bench.options.rounds)
        bench.table(results, tls.stat().st_size, truths.load(tls)["packets"])
        if not {"in TLS, 1", "in clear, 1", "in TLS, 2", "in clear, 2"} <= results.keys():
            continue
        # The same payload, not the same number of requests: times are compared per payload byte.
        payload = [truths.load(path)["body_bytes"] + truths.load(path)["header_bytes"] for path in (tls, clear)]
        for threads in (1, 2):
            ratio = results[f"in TLS, {threads}"].wall_s / payload[0] / (results[f"in clear, {threads}"].wall_s / payload[1])
            bench.bar("tls / clear time", ratio, f"{kind}: TLS / clear time per byte, {threads} thread(s)")
        # Both sides in the same minute: the machine's speed drifts.
        openssl = openssl_gcm_bytes_per_s()
        if kind == "bulk" and openssl and "every record, 1" in results:
            rate = truths.load(tls)["payload_bytes"] / results["every record, 1"].cpu_s
            bench.bar("tls bulk: rate / openssl, per core", rate / openssl, "bulk: all records opened / openssl, per core")


def openssl_gcm_bytes_per_s():
    if not measure.installed("openssl"):
        print("  openssl is not installed")
        return None
    command = ["openssl", "speed", "-evp", "aes-128-gcm", "-seconds", "1", "-bytes", "16384"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rates = re.findall(r"^AES-128-GCM\s+([\d.]+)k", output, re.MULTILINE | re.IGNORECASE)
    if not rates:
        print("  openssl speed said nothing that could be read")
        return None
    print(f"  openssl speed, 16 KiB: {float(rates[0]) / 1e6:.2f} GB/s on one core")
    return float(rates[0]) * 1000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    measure.add_build_options(parser)
    parser.add_argument("--bytes", default="1G", help="size of each capture (default 1G)")
    parser.add_argument("--kinds", default="chatty,bulk,offload,flows")
    parser.add_argument("--rounds", type=int, default=5, help="best of so many (default 5)")
    parser.add_argument("--with-tshark", action="store_true", help="run tshark once per capture (minutes)")
    parser.add_argument("--tshark-bytes", help="give tshark a smaller capture and scale its time")
    parser.add_argument("--memory", action="store_true", help="also 0.25, 1 and 4 GB of chatty")
    parser.add_argument("--tls", action="store_true", help="also chatty and bulk inside TLS")
    return parser.parse_args()


if __name__ == "__main__":
    main()
