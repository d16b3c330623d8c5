"""Runs the real command in forks of one warmed process (`tests.servers_e2e.forks`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.cli.script import Script


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


class Warm(Script):
    """The test's side: asks the script to run commands."""

    def __init__(self) -> None:
        super().__init__("tests.servers_e2e.forks")

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
