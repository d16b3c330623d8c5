"""Key sets on a real file store, a daemon over them, and clocks that a test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rotator.algorithms import kind_of
from rotator.daemon import Daemon, Waker
from rotator.daemon.lanes import Job
from rotator.delivery import FilesDelivery
from rotator.keys import Keys
from rotator.policy import RotationPolicy, broken_clauses
from rotator.publication import FilePublication
from rotator.reconcile.site import Site
from rotator.ring import KeyRing
from rotator.ring_reader import read_ring
from rotator.stores import (
    Document,
    DocumentKind,
    RingStore,
    ServerTime,
    Sight,
    Stored,
    Target,
    Version,
    VersionToken,
)
from rotator_file.store import FileStore

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
BOUND = 60.0  # seconds; only a test that fails waits so long


@dataclass
class MovedClock:
    """Both clocks of a host, moved by the test."""

    wall: datetime = START
    boot: timedelta = HOUR

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> timedelta:
        return self.boot

    def advance(self, duration: timedelta) -> None:
        """Let time pass, on both clocks."""
        self.wall += duration
        self.boot += duration


class AtOnce:
    """Workers that do each job at once, in the calling thread."""

    def submit(self, lane: tuple[str, bool], job: Job) -> None:  # noqa: ARG002 - one lane is enough
        job()

    def close(self) -> None:
        return

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002 - nothing is ever under way
        return True


@dataclass
class Log:
    """Keeps events, and lets a test wait for one."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    _new: threading.Condition = field(default_factory=threading.Condition)

    def emit(self, level: str, event: str, **fields: Any) -> None:
        with self._new:
            self.events.append((level, event, fields))
            self._new.notify_all()

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.events if name == event]

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Wait until something holds; it is asked again after each event."""
        with self._new:
            assert self._new.wait_for(true, BOUND)


def policy(**more: Any) -> RotationPolicy:
    """A policy of hours whose contract holds."""
    durations = {
        "token_ttl": 5 * MINUTE,
        "signer_lag": MINUTE,
        "rotate_every": 2 * HOUR,
        "propagation": 20 * MINUTE,
        "verifier_cache": 5 * MINUTE,
        "leeway": SECOND,
        "clock_skew": 5 * SECOND,
        "jwks_max_age": MINUTE,
        "jwks_stale": MINUTE,
        "resync": 5 * MINUTE,
    }
    made = RotationPolicy(kind=kind_of("EdDSA", None), **(durations | more))
    assert not broken_clauses(made)
    return made


@dataclass
class World:
    """Key sets on one real file store, and a daemon over them."""

    path: Path
    clock: Any = field(default_factory=MovedClock)
    log: Log = field(default_factory=Log)
    waker: Waker = field(default_factory=Waker)
    workers: Any = field(default_factory=AtOnce)
    store_of: Callable[[str], str] = lambda _: "local"

    def site(
        self, name: str = "web", *more: Target, rings: RingStore | None = None, **policies: Any
    ) -> Site:
        """A key set with a signing delivery, a published file, and more targets."""
        store = FileStore(self.path / "store")
        signing = FilesDelivery(self.path / f"{name}-signing", name, DocumentKind.SIGNING)
        published = FilePublication(self.path / f"{name}.json", name)
        return Site(
            key_set=name,
            policy=policy(**policies),
            rings=rings or store.rings(name),
            material=store.material(name),
            targets=(signing, published, *more),
            keys=Keys(),
            clock=self.clock,
            emit=self.log.emit,
        )

    def daemon(self, sites: Iterable[Site], **more: Any) -> Daemon:
        return Daemon(
            sites,
            store_of=self.store_of,
            clock=self.clock,
            emit=self.log.emit,
            waker=self.waker,
            workers=self.workers,
            **{"chance": lambda: 0.5, **more},
        )

    def ring(self, name: str = "web") -> KeyRing:
        """The ring of a key set as the store holds it."""
        stored = FileStore(self.path / "store").rings(name).load()
        assert stored is not None
        return read_ring(stored.document, key_set=name, place="")

    def go_on(self, daemon: Daemon, duration: timedelta) -> int:
        """Let the daemon live for a while, each turn at its time; return how many ticks there were."""
        until, ticks = self.clock.boot + duration, 0
        while True:
            daemon.compare_clocks()
            ticks += daemon.dispatch()
            at = daemon.next_at()
            assert at is not None
            if at > until:
                self.clock.advance(until - self.clock.boot)
                return ticks
            self.clock.advance(max(at - self.clock.boot, timedelta(0)))


class Odd:
    """A JWKS target that only answers, and does as it is told before that; `time` makes it a witness."""

    name = "odd"
    kind = DocumentKind.JWKS
    writable = False
    independent = True

    def __init__(
        self,
        published: Path,
        act: Callable[[], None] = lambda: None,
        time: Callable[[], datetime] | None = None,
    ) -> None:
        self._published, self._act, self._time = FilePublication(published, "web"), act, time

    def look(self) -> Sight:
        self._act()
        sight = self._published.look()
        if self._time is None:
            return sight
        return replace(sight, server_time=ServerTime(self._time(), timedelta(0)))

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:  # noqa: ARG002
        raise AssertionError("a probe is never written to")


class Rings:
    """A ring store that does as it is told before each call."""

    def __init__(self, inner: RingStore, act: Callable[[str], None]) -> None:
        self._inner, self._act = inner, act

    def load(self) -> Stored | None:
        self._act("load")
        return self._inner.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        self._act("save")
        return self._inner.save(document, replacing=replacing)
