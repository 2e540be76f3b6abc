#!/usr/bin/env python3
"""Runs `hopwire analyze` over damaged copies of every capture below a folder.

usage: mutants.py HOPWIRE FOLDER [--seeds 20] [--errors 0.02] [--memory 1G] [--seconds 10] [--processes 2] [--keep FOLDER]

Each capture is rewritten by `editcap -E ERRORS --seed N` (of Wireshark) for every seed: so many of its octets are wrong. Each
copy is analysed by a process of its own, under a limit of address space and of time. A panic, a signal, an exit code outside
0, 1, 3 and 4, and a run over the time limit are failures; their copies are kept in --keep. Captures that editcap cannot write
are damaged by this script instead, at the same rate, behind the file header.
Prints the counts and the largest resident memory of a run; exit 0 only when nothing failed.
"""
import argparse
import collections
import concurrent.futures
import gzip
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time

MAGICS = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x34\xcd\xb2\xa1",
          b"\xa1\xb2\xcd\x34", b"\x0a\x0d\x0d\x0a", b"snoop\0\0\0")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
FINE = (0, 1, 3, 4)
HEADER_BYTES = 24


def size(text):
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1].upper())
    return int(text[:-1]) * unit if unit else int(text)


def is_capture(path):
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(GZIP):
        try:
            with gzip.open(path) as file:
                start = file.read(8)
        except (OSError, EOFError):
            return False
    return start.startswith(MAGICS) or (start.startswith(ZSTD) and ".pcap" in path.name)


def mutate(capture, seed, errors, copy):
    """Writes a damaged copy; tells whether editcap could."""
    done = subprocess.run(["editcap", "-E", str(errors), "--seed", str(seed), str(capture), str(copy)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode == 0:
        return True
    octets = bytearray(capture.read_bytes())
    choose = random.Random(f"{capture.name} {seed}")
    for at in range(HEADER_BYTES, len(octets)):
        if choose.random() < errors:
            octets[at] = choose.randrange(256)
    copy.write_bytes(octets)
    return False


def analyze(options, copy):
    """Gives the verdict on one copy, and the peak of resident memory in KiB."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    errors_path = copy.with_suffix(".stderr")
    with errors_path.open("wb") as errors:
        child = subprocess.Popen([options.hopwire, "analyze", str(copy), "--format", "jsonl", "--fail-on", "never"],
                                 stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=limit)
    deadline = time.monotonic() + options.seconds
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            child.kill()
            os.wait4(child.pid, 0)
            child.returncode = -9
            return "hang", 0
        time.sleep(0.001)
    code = child.returncode = os.waitstatus_to_exitcode(status)
    said = errors_path.read_bytes()
    if b"panicked" in said:
        return "panic", usage.ru_maxrss
    if b"memory allocation" in said:
        return "out of memory", usage.ru_maxrss
    if code < 0:
        return f"signal {-code}", usage.ru_maxrss
    return "fine" if code in FINE else f"exit {code}", usage.ru_maxrss


def work(options, capture, folder):
    counts, peak, seconds_max, failed = collections.Counter(), 0, 0.0, []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for seed in range(1, options.seeds + 1):
            copy = pathlib.Path(scratch) / ("copy" + "".join(capture.suffixes[-2:]))
            counts["by editcap" if mutate(capture, seed, options.errors, copy) else "by this script"] += 1
            start = time.monotonic()
            verdict, memory = analyze(options, copy)
            seconds_max = max(seconds_max, time.monotonic() - start)
            counts[verdict] += 1
            peak = max(peak, memory)
            if verdict != "fine":
                failed.append(f"{verdict}: {capture} seed {seed}")
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(copy, options.keep / f"{seed}-{capture.parent.name}-{capture.name}")
    return counts, peak, seconds_max, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hopwire")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--errors", type=float, default=0.02)
    parser.add_argument("--memory", type=size, default=1 << 30)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    if not shutil.which("editcap"):
        sys.exit("mutants.py: editcap is not installed (it comes with Wireshark)")
    captures = sorted(path for path in options.folder.rglob("*") if is_capture(path))
    totals, peak, slowest = collections.Counter(), 0, 0.0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.processes) as pool:
        for counts, memory, seconds, failed in pool.map(lambda path: work(options, path, folder), captures):
            totals.update(counts)
            peak, slowest = max(peak, memory), max(slowest, seconds)
            for line in failed:
                print(line, flush=True)
    made = {word: totals.pop(word, 0) for word in ("by editcap", "by this script")}
    fine = totals.pop("fine", 0)
    runs = fine + sum(totals.values())
    print(f"captures {len(captures)}, runs {runs}, mutants by editcap {made['by editcap']}, by this script {made['by this script']}")
    print(f"fine {fine}, " + (", ".join(f"{word} {count}" for word, count in sorted(totals.items())) or "failures 0"))
    print(f"largest resident memory {peak / 1024:.1f} MiB under a limit of {options.memory >> 20} MiB of address space")
    print(f"slowest run {slowest:.2f} s, all {time.monotonic() - start:.0f} s")
    sys.exit(1 if totals or not runs else 0)


if __name__ == "__main__":
    main()
