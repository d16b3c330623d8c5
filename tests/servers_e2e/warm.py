"""Runs the real command in forks of one warmed process (`tests.servers_e2e.forks`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.cli.bench import BOUND, ROOT, environment


@dataclass(frozen=True)
class Refusal:
    """One error as the command printed it, and its class."""

    kind: str
    code: int
    message: str
    hint: str


@dataclass(frozen=True)
class Ran:
    """How one command ended; a killed one has the code -9."""

    code: int
    out: str
    err: str
    refusals: tuple[Refusal, ...]


class Warm:
    """The test's side: asks the script to run commands."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from tests.servers_e2e.forks import work; work()"],
            cwd=ROOT,
            env=environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the script, and with it whatever it started."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(BOUND)

    def run(self, config: Path, *words: str, **more: Any) -> Ran:
        """Run one command to its end; see `start`."""
        return self.wait(self.start(config, *words, **more))

    def start(
        self,
        config: Path,
        *words: str,
        shift: timedelta = timedelta(0),
        gate: str = "",
        leap: bool = False,
        elsewhere: bool = False,
        loud: bool = False,
    ) -> int:
        """Start one command; return its process id.

        Args:
            shift: how far its clocks are ahead.
            gate: it waits, imported and forked, until this gate is opened.
            leap: its waiting moves its clocks instead of taking time.
            elsewhere: servers on loopback count as other machines, whose dates are a witness.
            loud: every library that talks to a server logs at DEBUG, to stderr.
        """
        return int(
            self._ask(
                start=["-c", str(config), *words],
                cwd=str(config.parent),
                shift=shift.total_seconds(),
                gate=gate,
                leap=leap,
                elsewhere=elsewhere,
                loud=loud,
                env=dict(os.environ),
            )["pid"]
        )

    def open(self, gate: str) -> None:
        """Let everybody go who waits at a gate."""
        self._ask(open=gate)

    def wait(self, pid: int) -> Ran:
        """Wait for the end of a process."""
        found = self._ask(wait=pid)
        refusals = tuple(Refusal(**item) for item in found["refusals"])
        return Ran(found["code"], found["out"], found["err"], refusals)

    def _ask(self, **request: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(BOUND, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        finally:
            timer.cancel()
