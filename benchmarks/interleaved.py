"""Commands run in turns, in random order, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Contender:
    """One command, and what each of its runs cost.

    Attributes:
        cwd: where it runs; what `race` says if left out.
        environ: what it gets beside the environment of this process.
    """

    name: str
    command: Sequence[str | Path]
    cwd: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def run(self, directory: Path) -> None:
        """Run it once; its time and memory include the children that it waited for."""
        began = time.perf_counter()
        process = subprocess.Popen(
            self.command,
            cwd=self.cwd or directory,
            env={**os.environ, **self.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, status, usage = os.wait4(process.pid, 0)
        self.wall.append(time.perf_counter() - began)
        process.returncode = os.waitstatus_to_exitcode(status)
        with process:
            if process.returncode:
                raise SystemExit(f"{self.name}: {(process.stderr or sys.stdin).read()!r}")
        self.cpu.append(usage.ru_utime + usage.ru_stime)
        self.peak.append(usage.ru_maxrss / 1024)  # KiB on Linux

    @property
    def time(self) -> float:
        """Median of the wall clock, in seconds."""
        return statistics.median(self.wall)

    @property
    def work(self) -> float:
        """Median of the CPU time, in seconds."""
        return statistics.median(self.cpu)


def race(contenders: Sequence[Contender], rounds: int, directory: Path) -> None:
    """Run all contenders in turns, after one run each for the page cache and the compiled modules."""
    for contender in contenders:
        contender.run(directory)
        for costs in (contender.wall, contender.cpu, contender.peak):
            costs.clear()
    for _ in range(rounds):
        random.shuffle(turns := list(contenders))
        for contender in turns:
            contender.run(directory)


def rotator(*words: str) -> list[str]:
    """The real command."""
    return [sys.executable, "-P", "-m", "rotator", *words]


def python(script: str, *arguments: str) -> list[str]:
    """A script for the interpreter that runs this."""
    return [sys.executable, "-P", "-c", script, *arguments]
