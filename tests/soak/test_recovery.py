"""A thousand key sets whose store comes back after a day: all of them overdue, and nobody storms it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.daemon import Daemon
from rotator.daemon.lanes import FAST, SLOW, Lanes
from rotator.reconcile.site import Site
from rotator.rehearsal.toykeys import ToyKeys
from rotator.stores import DocumentKind
from tests.soak.campaign import DAY, AtOnce, policy
from tests.soak.clockwork import Clockwork
from tests.soak.shelf import Place, Shelf, Store

KEY_SETS = 1000
MINUTE = timedelta(minutes=1)
RESYNC = 5 * MINUTE
BOUND = 60.0  # seconds; only a test that fails waits so long


class Counted(Shelf):
    """A shelf that notes when it was asked, by how many at once, and that threads may ask."""

    def __init__(self, path: Path, clock: Clockwork) -> None:
        super().__init__(path)
        self._clock, self._lock = clock, threading.Lock()
        self.asked: Counter[timedelta] = Counter()
        self.inside = self.most = 0
        self.patience = 0.0

    def get(self, call: str, name: str) -> tuple[bytes, Any] | None:
        """Return what was put there."""
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.asked[timedelta(seconds=self._clock.passed // timedelta(seconds=1))] += 1
        try:
            if self.patience:
                threading.Event().wait(self.patience)
            with self._lock:
                return super().get(call, name)
        finally:
            with self._lock:
                self.inside -= 1

    def multiply(self, name: str, others: list[str]) -> None:
        """Have the same for other key sets as there is for one."""
        rows = self._base.execute("SELECT name, value, more FROM shelf").fetchall()
        for other in others:
            for row in rows:
                value = row[1].replace(name.encode(), other.encode())
                copy = (row[0].replace(name, other), value, row[2].replace(name, other))
                self._base.execute("INSERT INTO shelf VALUES (?, ?, ?)", copy)


class Fleet:
    """Key sets on one shelf, the first of which was there before the others."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clockwork()
        self.shelf = Counted(directory / "shelf", self.clock)
        self.events: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._policy, self._keys = policy(90 * DAY, RESYNC), ToyKeys()
        self.names = [f"tenant-{number:05}" for number in range(KEY_SETS)]
        self._dice = iter(range(10**9))
        first = self.daemon(self.names[:1])
        self.run(first, DAY * 2)  # its first key signs, the next one is announced
        self.shelf.multiply(self.names[0], self.names[1:])

    def emit(self, level: str, event: str, **fields: Any) -> None:  # noqa: ARG002
        """Count events; workers are threads."""
        with self._lock:
            self.events[event] += 1

    def site(self, name: str) -> Site:
        """One key set."""
        store = Store(self.shelf, name)
        places = (("signing", DocumentKind.SIGNING), ("jwks", DocumentKind.JWKS))
        targets = tuple(Place(self.shelf, f"{what}:{name}", kind) for what, kind in places)
        return Site(
            name, self._policy, store, store, targets, self._keys, self.clock, emit=self.emit
        )

    def daemon(self, names: list[str], workers: Any = None) -> Daemon:
        """A daemon over some of them."""
        return Daemon(
            [self.site(name) for name in names],
            store_of=lambda _: "shelf",
            clock=self.clock,
            emit=self.emit,
            waker=self.clock,
            workers=workers or AtOnce(),
            alarm=self.clock,
            chance=lambda: (next(self._dice) * 0.6180339887) % 1,
        )

    def run(self, daemon: Daemon, duration: timedelta) -> None:
        """Let a daemon's loop run for a while."""
        until = self.clock.passed + duration

        def each_pass() -> timedelta:
            if self.clock.passed >= until:
                self.clock.stop()
            return max(until - self.clock.passed, timedelta(0))

        daemon.run(each_pass)
        self.clock.stopping = False

    def busiest(self, since: timedelta) -> int:
        """The most reads in any second since a moment."""
        return max(count for at, count in self.shelf.asked.items() if at >= since)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.shelf.close()
    made.clock.close()


def test_a_thousand_overdue_key_sets_come_back_without_a_storm(fleet: Fleet) -> None:
    """Each promotes what was due, within one resync, spread over it; then all is as it was before."""
    fleet.clock.passed += 88 * DAY - 10 * MINUTE  # nothing ran until shortly before the date
    daemon = fleet.daemon(fleet.names)
    fleet.shelf.down = True
    fleet.run(daemon, 30 * MINUTE)
    states = daemon.state.key_sets().values()
    assert all(item.failing for item in states)
    assert fleet.events["key_set.failing"] == KEY_SETS
    assert fleet.events["key.promoted"] == 1
    fleet.shelf.down, back = False, fleet.clock.passed
    fleet.shelf.asked.clear()
    fleet.run(daemon, RESYNC)
    assert fleet.events["key_set.healed"] == KEY_SETS
    assert fleet.events["key.promoted"] == 1 + KEY_SETS
    now = fleet.clock.now()
    assert not [
        item for item in daemon.state.key_sets().values() if item.failing or item.is_overdue(now)
    ]
    # A few in the same second, each with the dozen reads of a promotion; not a thousand.
    assert fleet.busiest(back) <= KEY_SETS / 2, fleet.busiest(back)


def test_however_many_are_due_at_once_few_ask_the_store(fleet: Fleet) -> None:
    """What failed waits in a lane of its own, narrower than that of those who do well."""
    lanes = Lanes()
    daemon = fleet.daemon(fleet.names[:100], lanes)
    fleet.shelf.down, fleet.shelf.patience, fleet.shelf.most = True, 0.001, 0
    rounds(daemon, 100, fleet)
    assert 1 < fleet.shelf.most <= FAST
    fleet.shelf.down, fleet.shelf.most = False, 0
    fleet.clock.passed += RESYNC
    rounds(daemon, 100, fleet)
    assert 1 < fleet.shelf.most <= SLOW
    assert fleet.events["key_set.healed"] == 100
    lanes.close()
    assert lanes.wait_idle(BOUND)


def rounds(daemon: Daemon, count: int, fleet: Fleet) -> None:
    """Have every key set ticked once."""
    before = _ended(fleet)
    assert daemon.dispatch() == count
    # An end is told before the worker gives its key set back: until then that cannot be handed out again.
    _until(lambda: _ended(fleet) == before + count and not daemon._charges.under_way())


def _ended(fleet: Fleet) -> int:
    return fleet.events["key_set.failing"] + fleet.events["key_set.healed"]


def _until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(BOUND / 0.01)):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")
