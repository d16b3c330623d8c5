"""`rotator rotate` with nothing due, beside an interpreter that imports what its core is made of.

    python -P -m benchmarks.noop [--rounds N]

The runs are interleaved in random order, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REFERENCE = "click, structlog, cryptography"
LOADED = "import click, structlog, cryptography"
USED = LOADED + "; from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa"


@dataclass
class Contender:
    """One command, and what each of its runs cost."""

    name: str
    command: list[str]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def run(self, directory: Path) -> None:
        """Run it once."""
        began = time.perf_counter()
        process = subprocess.Popen(
            self.command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, status, usage = os.wait4(process.pid, 0)
        self.wall.append(time.perf_counter() - began)
        process.returncode = os.waitstatus_to_exitcode(status)
        with process:
            if process.returncode:
                raise SystemExit(f"{self.name}: {(process.stderr or sys.stdin).read()!r}")
        self.cpu.append(usage.ru_utime + usage.ru_stime)
        self.peak.append(usage.ru_maxrss / 1024)  # KiB on Linux


def rotator(*words: str) -> list[str]:
    """The real command."""
    return [sys.executable, "-P", "-m", "rotator", *words]


def run(rounds: int) -> None:
    """Make a key set that is at rest, run all contenders in turns, and print medians and ratios."""
    contenders = [
        Contender("python alone", [sys.executable, "-P", "-c", ""]),
        Contender(REFERENCE, [sys.executable, "-P", "-c", LOADED]),
        Contender("the same, with its key types", [sys.executable, "-P", "-c", USED]),
        Contender("rotator rotate", rotator("rotate")),
        Contender("rotator --help", rotator("--help")),
    ]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        words = ("init", "--token-ttl", "15m", "--signer-lag", "5m")
        for command in (rotator(*words), rotator("rotate"), rotator("rotate")):
            subprocess.run(command, cwd=directory, check=True, capture_output=True)
        for contender in contenders:  # once for the page cache and the compiled modules
            contender.run(directory)
            for costs in (contender.wall, contender.cpu, contender.peak):
                costs.clear()
        for _ in range(rounds):
            random.shuffle(turns := list(contenders))
            for contender in turns:
                contender.run(directory)
    print(f"nothing due: medians of {rounds} interleaved runs")
    reference = contenders[1]
    for contender in contenders:
        wall, cpu = statistics.median(contender.wall), statistics.median(contender.cpu)
        ratio = cpu / statistics.median(reference.cpu)
        print(
            f"  {contender.name:31} {wall * 1000:6.0f} ms, {cpu * 1000:5.0f} ms CPU"
            f" ({ratio:4.2f} x {REFERENCE} by CPU,"
            f" {wall / statistics.median(reference.wall):4.2f} x by time),"
            f" peak {max(contender.peak):5.1f} MiB"
        )
    print(f"  wanted: rotator rotate at most 3 x {REFERENCE}, peak at most 50 MiB")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    run(parser.parse_args().rounds)


if __name__ == "__main__":
    main()
