"""A key set whose clock the test moves, and `rotator exec` as real processes beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rotator.assemble import Assembly
from rotator.operations import release, roll_back
from rotator.reconcile.tick import tick
from rotator.ring_reader import read_ring
from rotator.settings import load_settings
from tests.cli.bench import environment
from tests.exec.forks import Forks
from tests.unit.daemon_world import MovedClock

BOUND: Final = 60.0  # seconds; only a test that fails waits so long
MARK: Final = "ROTATOR_TEST_MARK"
PERIOD: Final = timedelta(days=91)
"""More than `rotate_every`: after it the next key is promoted, and the one before the current retired."""

ISSUER: Final = (sys.executable, "-P", str(Path(__file__).with_name("issuer.py")))
FOREVER: Final = "exec tail -f /dev/null"
"""The end of a shell's words that goes on until it is asked to end."""


def until(true: Callable[[], Any], bound: float = BOUND) -> None:
    """Wait until something holds, asking again and again."""
    end = time.monotonic() + bound
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        _pause(0.01)


def _pause(seconds: float) -> None:
    import threading

    threading.Event().wait(seconds)


@dataclass
class Bench:
    """One key set on a file store, delivered as files; the test is the rotator.

    Attributes:
        more: what else is in the configuration of the key set.
        stores: what else is under `stores`.
        ignored: signals that `rotator exec` is told to ignore, as nohup(1) does.
    """

    home: Path
    forks: Forks
    algorithm: str = "ES256"
    policy: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    stores: Mapping[str, Any] = field(default_factory=dict)
    ignored: Iterable[signal.Signals] = ()
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    running: list[Exec] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("in", "out", "err"):
            (self.home / name).touch()
        verified: dict[str, Any] = {"publish": [{"to": "file", "path": "jwks.json"}]}
        deliver = [{"to": "files", "path": "signing"}]
        if self.algorithm.startswith("HS"):
            verified = {}
            deliver.append({"to": "files", "path": "verification", "document": "verification"})
        key_set = {
            "algorithm": self.algorithm,
            "store": "local",
            "deliver": deliver,
            "policy": {"token_ttl": "15m", "signer_lag": "1m", **self.policy},
            **verified,
            **self.more,
        }
        local = {"backend": "file", "path": "store"}
        document = {
            "version": 1,
            "stores": {"local": local, **self.stores},
            "key_sets": {"web": key_set},
        }
        self.config.write_text(json.dumps(document))
        self._clock = MovedClock()
        self._assembly = Assembly(
            load_settings(self.config, {}), lambda *_, **__: None, clock=self._clock
        )
        self._site = self._assembly.site("web")

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.home / "rotator.json"

    @property
    def signing(self) -> Path:
        """The signing document."""
        return self.home / "signing" / "signing.json"

    @property
    def kid(self) -> str:
        """The key that signs."""
        stored = self._site.rings.load()
        assert stored is not None
        active = read_ring(stored.document, key_set="web").active
        assert active is not None
        return active.kid

    @property
    def jwks(self) -> dict[str, Any]:
        """The published JWKS."""
        found: dict[str, Any] = json.loads((self.home / "jwks.json").read_bytes())
        return found

    def rotate(self) -> str:
        """Do what is due, and return the kid that is delivered then."""
        while tick(self._site).changed:
            pass
        return self.kid

    def roll_back(self) -> str:
        """Let the key before sign again, and end the hold that this brings; return its kid."""
        roll_back(self._site, "a test")
        release(self._site)
        return self.rotate()

    def put(self, body: bytes) -> None:
        """Put another document in the place of the delivered one, in one step, as whoever reads it sees it."""
        made = self.home / "put"
        made.write_bytes(body)
        made.replace(self.signing)

    def written(self, name: str, lines: int = 1) -> list[str]:
        """Wait until the command has written so many lines to a file, and return them.

        It is ready `--ready-after` its start, whatever it has done by then.
        """
        file = self.home / name
        until(lambda: file.exists() and file.read_bytes().count(b"\n") >= lines)
        return file.read_text().splitlines()

    def promote(self) -> str:
        """Let the time pass until the next key is due, promote it, and return its kid."""
        before = self.kid
        self._clock.advance(PERIOD)
        assert self.rotate() != before
        return self.kid

    def exec(self, *words: str, level: str = "info", **environ: str) -> Exec:
        """Start `rotator exec` with options and `--`, and a command."""
        config = ["-c", str(self.config), "--log-level", level, "--log-format", "json", "exec"]
        made = environment({MARK: self.mark, **environ})
        started = Exec(self, self.forks.start([*config, *words], self.home, made, self.ignored))
        self.running.append(started)
        return started

    def marked(self) -> list[int]:
        """Every process that came from a command of this bench, by what it was given in its environment."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        """Leave no process behind."""
        for one in self.running:
            if one.code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGTERM)
                one.wait()
        self._assembly.close()


@dataclass
class Exec:
    """One `rotator exec`."""

    bench: Bench
    pid: int
    code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; return its exit code, -n for a signal."""
        if self.code is None:
            self.code = self.bench.forks.wait(self.pid)
        return self.code

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.send(number)
        return self.wait()

    @property
    def out(self) -> str:
        """What was said on stdout."""
        return (self.bench.home / "out").read_text()

    @property
    def err(self) -> str:
        """What was said on stderr."""
        return (self.bench.home / "err").read_text()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What was logged."""
        found = []
        for line in self.err.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [event for event in found if event["event"] == name or not name]

    def wait_for(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so often, and return the last of them."""

        def there() -> bool:
            assert Path(f"/proc/{self.pid}").exists(), self.err
            return len(self.events(name)) >= times

        until(there)
        return self.events(name)[-1]


def children(pid: int) -> Iterator[int]:
    """Yield the children of a process."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield int(child)


def name_of(pid: int) -> str:
    """The name of the program that a process runs; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
