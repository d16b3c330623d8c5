"""One replica of the daemon: its processes one after the other, each with a log of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tests.campaign.processes import BOUND, pause


class Log:
    """The events of a file that grows; each line is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        """The newest."""
        self._offset = 0

    def read(self) -> None:
        """Take in what is new."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self.counts[event["event"]] += 1
                self.events.append(event)
        del self.events[:-20_000]

    def count(self, name: str) -> int:
        """How often an event was logged by now."""
        self.read()
        return self.counts[name]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The newest events of a name."""
        self.read()
        return [event for event in self.events if event["event"] == name]


class Replica:
    """`rotator run` with a configuration, again and again.

    Attributes:
        codes: how each process that was asked to end did end.
        asleep: it is stopped by a signal.
    """

    def __init__(self, name: str, config: Path, logs: Path) -> None:
        self.name, self.config = name, config
        self._logs = logs
        self.process: subprocess.Popen[bytes] | None = None
        self.past: list[Log] = []
        self.codes: list[int] = []
        self.asleep = False
        self.since = 0.0

    @property
    def log(self) -> Log:
        """What the newest process says."""
        return self.past[-1]

    @property
    def running(self) -> bool:
        """True while it has a process."""
        return self.process is not None and self.process.poll() is None

    @property
    def ready(self) -> bool:
        """True while it listens to signals."""
        return self.running and self.log.count("daemon.started") > 0

    def start(self) -> None:
        """Start a process; the one before may still run, to be ended by `roll`."""
        path = self._logs / f"{self.name}-{len(self.past)}.log"
        command = [sys.executable, "-P", "-m", "rotator", "--config", str(self.config)]
        with path.open("wb") as err, path.with_suffix(".out").open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--log-format", "json", "--log-level", "debug", "run"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ,
            )
        self.past.append(Log(path))
        self.since = time.monotonic()

    def wait_for(self, event: str, times: int = 1, bound: float = BOUND) -> bool:
        """Wait until its newest process logged an event so often; False when it ended or did not in time."""
        end = time.monotonic() + bound
        while self.log.count(event) < times:
            if not self.running or time.monotonic() > end:
                return self.log.count(event) >= times
            pause(0.02)
        return True

    def after(self, event: str, bound: float) -> bool:
        """Wait until it logs an event once more: then something is half done."""
        return self.wait_for(event, self.log.count(event) + 1, bound)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Let it stand still."""
        self.send(signal.SIGSTOP)
        self.asleep = True

    def go_on(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)
        self.asleep = False

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(BOUND)
        self.asleep = False

    def end(self) -> None:
        """Ask it to end, and keep its exit code; one that does not end is killed, which shows in the code."""
        if self.process is not None:
            self._end(self.process)

    def roll(self) -> bool:
        """Replace it: a new process takes its socket over, and only then it is asked to end.

        Returns:
            False when the new one did not come to serve.
        """
        old = self.process
        self.start()
        serves = self.wait_for("server.started")
        if old is not None and old.poll() is None:
            self._end(old)
        return serves

    def edge(self) -> int | None:
        """The process that serves for it, None while there is none."""
        if not self.running or self.process is None:
            return None
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                if "rotator.server" in child.cmdline():
                    return child.pid
        return None

    def tail(self) -> str:
        """The last lines of its log, for the message of a failure."""
        return b"\n".join(self.log.path.read_bytes().splitlines()[-12:]).decode()

    def count(self, event: str) -> int:
        """How often all of its processes logged an event."""
        return sum(log.count(event) for log in self.past)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            self.codes.append(process.wait(BOUND))
        except subprocess.TimeoutExpired:
            process.kill()
            self.codes.append(process.wait(BOUND))
