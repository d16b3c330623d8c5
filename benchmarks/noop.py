"""`rotator rotate` with nothing due, beside an interpreter that imports what its core is made of.

    python -P -m benchmarks.noop [--rounds N]

All of them run in turns, in random order.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.interleaved import Contender, race, rotator

REFERENCE = "click, structlog, cryptography"
LOADED = "import click, structlog, cryptography"
USED = LOADED + "; from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa"


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
        race(contenders, rounds, directory)
    print(f"nothing due: medians of {rounds} interleaved runs")
    reference = contenders[1]
    for contender in contenders:
        print(
            f"  {contender.name:31} {contender.time * 1000:6.0f} ms, {contender.work * 1000:5.0f} ms CPU"
            f" ({contender.work / reference.work:4.2f} x {REFERENCE} by CPU,"
            f" {contender.time / reference.time:4.2f} x by time),"
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
