#!/usr/bin/env python3
"""Feeds `hopwire analyze` inputs that are made to exhaust it, and measures memory and time.

usage: hostile.py HOPWIRE [--scale 1.0] [--only WORD] [--rss-max 512M]

Every input is generated while it is read, from standard input or a temporary file. For each, two sizes are run, one four times
the other, so that the growth of time and memory can be seen. Prints one line per run: seconds, seconds per GiB of input, peak
resident memory, exit code, and what hopwire said last. Exit 1 if a run panics, is killed, or takes more memory than allowed.
"""
import argparse
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 1)
SECTION = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
INTERFACE = struct.pack("<IIHHII", 1, 20, 1, 0, 0x40000, 20)
SYN, ACK = 2, 16
CHUNK = 1 << 20


def frame(flags, payload=b"", seq=1, ack=0, source=b"\x0a\0\0\x02", port=40000):
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0, source, b"\x0a\0\0\x09")
    tcp = struct.pack(">HHIIBBHHH", port, 80, seq & 0xFFFFFFFF, ack, 0x50, flags, 0xFFFF, 0, 0)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + tcp + payload


def record(octets, second=1, microsecond=0):
    return struct.pack("<IIII", second, microsecond, len(octets), len(octets)) + octets


def half_open_flows(count):
    """So many SYNs, each of its own address and port."""
    yield PCAP
    ports = 50_000
    size = 16 + 54
    block = bytearray(b"".join(record(frame(SYN, port=10_000 + port)) for port in range(ports)))
    for number in range(count // ports):
        # Where the record keeps its seconds, and the packet its source address.
        for at, octet in ((0, number & 255), (1, number >> 8), (16 + 28, number & 255), (16 + 27, number >> 8)):
            block[at::size] = bytes([octet]) * ports
        yield bytes(block)


def requests_never_answered(count):
    """So many connections that each hold a request."""
    yield PCAP
    ports = 50_000
    head = b"GET /bucket/key HTTP/1.1\r\nHost: s3.example.org\r\n\r\n"
    one = record(frame(ACK, head))
    block = bytearray(b"".join(record(frame(ACK, head, port=10_000 + port)) for port in range(ports)))
    for number in range(count // ports):
        for at, octet in ((0, number & 255), (1, number >> 8), (16 + 28, number & 255), (16 + 27, number >> 8)):
            block[at::len(one)] = bytes([octet]) * ports
        yield bytes(block)


def head_without_end(size):
    """One connection whose request head never ends."""
    yield PCAP
    yield record(frame(SYN, seq=0))
    start = b"GET / HTTP/1.1\r\n"
    yield record(frame(ACK, start, 1))
    line = b"X-Filler: " + b"a" * 1012 + b"\r\n"
    payload, seq = line * 32, 1 + len(start)
    for _ in range(size // len(payload)):
        yield record(frame(ACK, payload, seq))
        seq += len(payload)


def heads_without_end(count):
    """So many connections, each with the first 32 KiB of a request head."""
    yield PCAP
    start = b"GET / HTTP/1.1\r\n" + (b"X-Filler: " + b"a" * 1012 + b"\r\n") * 32
    for number in range(count):
        source = struct.pack(">I", 0x0A010000 + number // 50_000)
        yield record(frame(SYN, start, source=source, port=10_000 + number % 50_000))


def holes(size):
    """One connection of which every second segment is missing and acknowledged by nobody."""
    yield PCAP
    payload, seq = b"x" * 1024, 1
    for _ in range(size // 1024):
        yield record(frame(ACK, payload, seq))
        seq += 2048


def interfaces(count):
    yield SECTION
    for _ in range(count // 10_000):
        yield INTERFACE * 10_000
    packet = frame(SYN)
    padded = packet + b"\0" * (-len(packet) % 4)
    yield struct.pack("<IIIIIII", 6, 32 + len(padded), count - 1, 0, 0, len(packet), len(packet)) + padded
    yield struct.pack("<I", 32 + len(padded))


def record_of_4_gib(size):
    yield PCAP + record(frame(SYN)) + struct.pack("<IIII", 1, 0, 0xFFFFFFFF, 0xFFFFFFFF)
    yield from zeros(size)


def block_of_4_gib(size):
    yield SECTION + INTERFACE + struct.pack("<II", 6, 0xFFFFFFFC)
    yield from zeros(size)


def zeros(size):
    for _ in range(size // CHUNK):
        yield bytes(CHUNK)


def gzip(layers):
    def layered(size):
        octets = capture_of_zeros(size)
        for _ in range(layers):
            octets = compress(octets)
        yield from octets
    return layered


def capture_of_zeros(size):
    """A capture that deflates about a thousand to one."""
    yield PCAP
    packet = record(frame(ACK, bytes(64_000)))
    for _ in range(size // len(packet)):
        yield packet


def compress(octets):
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    for part in octets:
        yield engine.compress(part)
    yield engine.flush()


CASES = {
    "half-open flows": (half_open_flows, 2_500_000, "{} connections of one SYN each"),
    "requests never answered": (requests_never_answered, 1_000_000, "{} connections of one request each"),
    "head without end": (head_without_end, 256 << 20, "a request head of {} octets"),
    "heads without end": (heads_without_end, 5_000, "{} connections of half a request head, 32 KiB each"),
    "holes": (holes, 64 << 20, "{} octets, with a hole before each KiB"),
    "interfaces": (interfaces, 250_000, "{} interface descriptions"),
    "record of 4 GiB": (record_of_4_gib, 64 << 20, "a pcap record of 4 GiB, followed by {} octets"),
    "block of 4 GiB": (block_of_4_gib, 64 << 20, "a pcapng block of 4 GiB, followed by {} octets"),
    "gzip bomb": (gzip(1), 256 << 20, "{} octets, deflated about 1,000 to one"),
    "gzip bomb in two layers": (gzip(2), 256 << 20, "{} octets, deflated more than 10,000 to one"),
}


def run(hopwire, parts, memory):
    """Runs once; gives input octets, seconds, peak resident KiB, exit code and the last words."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([hopwire, "analyze", "-", "--format", "json", "--fail-on", "never", "--quiet"],
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=limit)
        given = [0]

        def feed():
            try:
                for part in parts:
                    child.stdin.write(part)
                    given[0] += len(part)
                child.stdin.close()
            except BrokenPipeError:
                pass

        start = time.monotonic()
        feeder = threading.Thread(target=feed)
        feeder.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        code = child.returncode = os.waitstatus_to_exitcode(status)
        feeder.join()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
    cpu = usage.ru_utime + usage.ru_stime
    return given[0], seconds, cpu, usage.ru_maxrss, code, said


def size_of(text):
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1].upper())
    return int(text[:-1]) * unit if unit else int(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hopwire", type=pathlib.Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--rss-max", type=size_of, default=512 << 20)
    parser.add_argument("--memory", type=size_of, default=4 << 30, help="limit of address space")
    options = parser.parse_args()
    failed = False
    for name, (make, amount, what) in CASES.items():
        if options.only not in name:
            continue
        for factor in (1, 4):
            count = int(amount * options.scale) * factor
            octets, seconds, cpu, resident, code, said = run(options.hopwire, make(count), options.memory)
            bad = code not in (0, 1, 3, 4) or any("panicked" in line for line in said) or resident << 10 > options.rss_max
            failed |= bad
            print(f"{'FAILED ' if bad else ''}{name}: {what.format(f'{count:,}')}: {octets / (1 << 20):.1f} MiB in {seconds:.2f} s, "
                  f"CPU {cpu:.2f} s, peak {resident / 1024:.0f} MiB, exit {code}{': ' + said[0][:160] if said else ''}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
