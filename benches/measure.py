"""Runs programs and tells what they took: wall time, CPU time of the process and its children, peak memory."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATOR_MANIFEST = ROOT / "benches" / "generator" / "Cargo.toml"


@dataclass
class Run:
    """One run of a program."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    code: int


@dataclass
class Best:
    """The best of several runs; memory is the worst of them."""

    wall_s: float
    cpu_s: float
    rss_mb: float

    @staticmethod
    def of(runs):
        return Best(min(r.wall_s for r in runs), min(r.cpu_s for r in runs), max(r.rss_mb for r in runs))


def run(command, stdout=None):
    """Runs a command, its output to a file or nowhere."""
    with open(stdout or os.devnull, "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
        # Standard error is read to its end first: a full pipe would stop the program.
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode not in (0, 1):
        last = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        print(f"  {Path(str(command[0])).name} ended with {process.returncode}: {last[0]}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, process.returncode)


def interleaved(commands, rounds):
    """Runs each command once per round, so that a slow spell of the machine meets them all. Names to Best, failed ones left out."""
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (command, stdout) in commands.items():
            if runs[name] is None:
                continue
            result = run(command, stdout)
            runs[name] = runs[name] + [result] if result.code == 0 else None
    return {name: Best.of(results) for name, results in runs.items() if results}


def warm(path):
    """Reads a file once, so that all runs find it in the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def installed(program):
    return shutil.which(program) is not None


def build(manifest, binary):
    """Builds a release binary and gives its path."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(manifest)]
    subprocess.run(command, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--manifest-path", str(manifest)],
        check=True, capture_output=True, text=True,
    )
    return Path(json.loads(metadata.stdout)["target_directory"]) / "release" / binary


def add_build_options(parser):
    parser.add_argument("--hopwire", type=Path, help="this binary instead of a fresh release build")
    parser.add_argument("--generator", type=Path, help="this generator instead of a fresh release build")
    parser.add_argument("--dir", type=Path, help="where the captures go (default: a fresh temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the captures, and use those that are there")
    parser.add_argument("--seed", type=int, default=1)


def binaries(options):
    hopwire = options.hopwire or build(ROOT / "Cargo.toml", "hopwire")
    generator = options.generator or build(GENERATOR_MANIFEST, "hopwire-generator")
    return hopwire.resolve(), generator.resolve()


def capture(generator, folder, name, arguments, keep):
    """A generated capture; one that is there already serves again if its command was the same."""
    path, note = folder / name, folder / f"{name}.command"
    command = " ".join(arguments)
    if not (keep and path.exists() and note.exists() and note.read_text() == command):
        subprocess.run([str(generator), *arguments, "--out", str(path)], check=True)
        note.write_text(command)
    warm(path)
    return path
