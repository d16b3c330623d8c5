"""Very many key sets through years, by the daemon's own loop on a moved clock."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from rotator.algorithms import kind_of
from rotator.daemon import Daemon, daemon
from rotator.daemon.lanes import Job
from rotator.metrics import Meter
from rotator.policy import RotationPolicy, broken_clauses
from rotator.reconcile.site import Site
from rotator.rehearsal.toykeys import ToyKeys
from rotator.stores import DocumentKind
from tests.soak.clockwork import Clockwork
from tests.soak.shelf import Place, Shelf, Store

DAY = timedelta(days=1)
YEAR = 365 * DAY
LATE = timedelta(minutes=1)
"""How much later than at its date a rotation may come; the daemon's own wait is some milliseconds."""


def policy(rotate_every: timedelta, resync: timedelta) -> RotationPolicy:
    """Return a policy whose looks that find nothing are as rare as its contract allows.

    Each five minutes, as usual, they would be a million for each key set, and all alike.
    """
    made = RotationPolicy(
        kind=kind_of("EdDSA"),
        token_ttl=timedelta(minutes=15),
        signer_lag=timedelta(minutes=5),
        rotate_every=rotate_every,
        propagation=resync + DAY,
        resync=resync,
    )
    assert not broken_clauses(made)
    return made


class AtOnce:
    """Workers that tick at once, in the daemon's own thread."""

    def submit(self, lane: tuple[str, bool], job: Job) -> None:  # noqa: ARG002 - one lane is enough
        """Do a job."""
        job()

    def close(self) -> None:
        """Nothing waits."""

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002
        """Nothing is ever under way."""
        return True


@dataclass(slots=True)
class Rotations:
    """The promotions of one key set.

    Attributes:
        count: how many there were.
        last: when the last one was.
        amiss: those that did not come at their date, in sentences.
    """

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    amiss: list[str] = field(default_factory=list)

    def promoted(self, now: datetime, every: timedelta) -> None:
        """Take note of one."""
        self.count += 1
        if self.last is None:
            self.first = now
        elif not timedelta(0) <= (late := now - self.last - every) <= LATE:
            self.amiss.append(f"promoted at {now}, {late} after its date")
        self.last = now

    def missing(self, end: datetime, every: timedelta) -> int:
        """Return how many more the policy asks for until then."""
        if self.first is None:
            return 1
        return 1 + (end - self.first) // (every + timedelta(seconds=1)) - self.count


@dataclass(frozen=True, slots=True)
class Year:
    """What one year of all key sets took, and what was left at its end.

    Attributes:
        cpu: seconds.
        objects: what the garbage collector keeps an eye on.
        rss: resident memory, in MiB.
        material: pieces of key material in the store.
    """

    ticks: int
    rotations: int
    calls: Counter[str]
    cpu: float
    objects: int
    rss: float
    material: int


class Soak:
    """A daemon with all its key sets, and what became of them.

    Args:
        every: `rotate_every` of the key sets, in turn.
        say: told a line at the end of each year.
    """

    def __init__(
        self,
        directory: Path,
        key_sets: int,
        *,
        every: tuple[timedelta, ...],
        resync: timedelta,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.shelf, self.clock = Shelf(directory / "shelf"), Clockwork()
        self.events: Counter[str] = Counter()
        self.years: list[Year] = []
        self._say, self._keys = say, ToyKeys()
        self.policies = [policy(item, resync) for item in every]
        sites = [self._site(number) for number in range(key_sets)]
        self.rotations = {site.key_set: Rotations() for site in sites}
        self._every = {site.key_set: site.policy.rotate_every for site in sites}
        self.meter = Meter(self.clock.now)
        dice = iter(range(10**12))
        self.daemon = Daemon(
            sites,
            store_of=lambda _: "shelf",
            clock=self.clock,
            emit=self.emit,
            waker=self.clock,
            workers=AtOnce(),
            alarm=self.clock,
            heartbeat=10 * DAY,  # nobody moves this clock
            chance=lambda: (next(dice) * 0.6180339887) % 1,
            observer=self.meter,
        )
        self._mark()

    def emit(self, level: str, event: str, **fields: Any) -> None:
        """Count events, and look closer at promotions and at what sounds like trouble."""
        self.events[event] += 1
        if level in {"warning", "error"}:
            self.events[level] += 1
        if event == "key.promoted":
            name = fields["key_set"]
            self.rotations[name].promoted(self.clock.now(), self._every[name])

    def run(self, years: int) -> None:
        """Let so many years pass."""

        def each_pass() -> timedelta:
            if self.clock.passed >= (len(self.years) + 1) * YEAR:
                self._count_year()
                if len(self.years) == years:
                    self.clock.stop()
            return max((len(self.years) + 1) * YEAR - self.clock.passed, timedelta(0))

        with _rarely_said():
            self.daemon.run(each_pass)

    def findings(self) -> list[str]:
        """Return every rotation that is missing or came at another time than its date, in sentences."""
        found = []
        for name, item in self.rotations.items():
            found += [f"{name}: {what}" for what in item.amiss]
            if missing := item.missing(self.clock.now(), self._every[name]):
                found.append(f"{name}: {missing} rotations missing")
        return found

    def _site(self, number: int) -> Site:
        name = f"tenant-{number:05}"
        store = Store(self.shelf, name)
        return Site(
            key_set=name,
            policy=self.policies[number % len(self.policies)],
            rings=store,
            material=store,
            targets=(
                Place(self.shelf, f"signing:{name}", DocumentKind.SIGNING),
                Place(self.shelf, f"jwks:{name}", DocumentKind.JWKS),
            ),
            keys=self._keys,
            clock=self.clock,
            emit=self.emit,
        )

    def _mark(self) -> None:
        self._cpu = time.process_time()
        self._before = self.shelf.calls.copy()
        self._ticks, self._promoted = self._ticked(), self.events["key.promoted"]

    def _ticked(self) -> int:
        return sum(self.meter.read().ticks.values())

    def _count_year(self) -> None:
        cpu = time.process_time() - self._cpu
        gc.collect()
        self.years.append(
            Year(
                ticks=self._ticked() - self._ticks,
                rotations=self.events["key.promoted"] - self._promoted,
                calls=self.shelf.calls - self._before,
                cpu=cpu,
                objects=len(gc.get_objects()),
                rss=psutil.Process().memory_info().rss / 2**20,
                material=len(self.shelf.names("key:")),
            )
        )
        if len(self.years) == 1:
            self._say(HEAD)
        self._say(row(len(self.years), self.years[-1], len(self.rotations)))
        self._mark()

    def close(self) -> None:
        """Let go of the files."""
        self.shelf.close()
        self.clock.close()


HEAD = (
    "year  rotations    ticks  calls per key set (load save put get destroy read write)  material"
    "    objects  RSS MiB    CPU s"
)
CALLS = ("load", "save", "put", "get", "destroy", "read", "write")


def row(number: int, year: Year, key_sets: int) -> str:
    """Return one line of the report."""
    each = " ".join(f"{year.calls[name] / key_sets:.1f}" for name in CALLS)
    total = year.calls.total() / key_sets
    return (
        f"{number:4}  {year.rotations:9,} {year.ticks:8,}  {f'{total:.1f} ({each})':59}"
        f" {year.material:9,} {year.objects:10,} {year.rss:8.0f} {year.cpu:8.1f}"
    )


@contextmanager
def _rarely_said() -> Iterator[None]:
    """Have the hourly status said once a year: ten years have 87,600 hours, and it counts all key sets."""
    with mock.patch.object(daemon, "_STATUS", YEAR):
        yield
