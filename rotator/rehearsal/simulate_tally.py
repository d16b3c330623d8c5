"""Counting what a store is asked: walls that count, and the hours in which it happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.observed import DocumentKind
from rotator.rehearsal.clocks import START, TrueTime
from rotator.rehearsal.prices import aws_year, calls_of
from rotator.secret import Secret
from rotator.stores import (
    Document,
    MaterialStore,
    RingStore,
    Sight,
    Stored,
    Target,
    Version,
    VersionToken,
)

_HOUR: Final = timedelta(hours=1)


@dataclass(slots=True)
class Tally:
    """What all processes asked of the key set's store.

    Attributes:
        backend: whose calls are counted in `hours`.
        operations: how often each was asked for.
        hours: calls by the number of the hour.
        kept: for each change, since when how many pieces of material lay in the store.
    """

    true: TrueTime
    backend: str
    operations: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    kept: list[tuple[datetime, int]] = field(default_factory=list)

    def count(self, operation: str) -> None:
        """Count one operation, now."""
        self.operations[operation] += 1
        self.hours[_hour(self.true.now)] += calls_of(self.backend)[operation]

    def idle(
        self, since: datetime, until: datetime, interval: timedelta, looks: Counter[str]
    ) -> None:
        """Count the looks of a process that found nothing to do for a while, one each `interval`."""
        number = int((until - since) / interval)
        if number <= 0:
            return
        for operation, each in looks.items():
            self.operations[operation] += each * number
        each_look = sum(calls_of(self.backend)[name] * each for name, each in looks.items())
        # Those of one hour at a time; five years have no more hours than this may take.
        done = 0
        for hour in range(_hour(since), _hour(until) + 1):
            upto = min(number, int((START + (hour + 1) * _HOUR - since) / interval))
            self.hours[hour] += (upto - done) * each_look
            done = max(done, upto)

    def material(self, count: int) -> None:
        """Note how many pieces of material lie in the store from now on."""
        if not self.kept or self.kept[-1][1] != count:
            self.kept.append((self.true.now, count))

    def calls(self, backend: str) -> int:
        """Return the calls that all of it takes at a backend."""
        each = calls_of(backend)
        return sum(each[name] * count for name, count in self.operations.items())

    def busiest(self) -> tuple[datetime, int]:
        """Return the hour with the most calls, and how many."""
        hour, calls = max(self.hours.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
        return START + hour * _HOUR, calls

    def price(self, documents: int) -> float:
        """Return what a year costs at AWS, in USD.

        Args:
            documents: how many documents lie in the store beside ring and material.
        """
        years = (self.true.now - START) / timedelta(days=365)
        if not years:
            return 0.0
        return aws_year(1 + documents + self._average(), self.calls("aws") / years)

    def _average(self) -> float:
        ends = [since for since, _ in self.kept[1:]] + [self.true.now]
        spans = [(end - since, count) for (since, count), end in zip(self.kept, ends, strict=True)]
        return sum(span * count / _HOUR for span, count in spans) * _HOUR / (self.true.now - START)


def _hour(when: datetime) -> int:
    return (when - START) // _HOUR


@dataclass(slots=True)
class CountedRings:
    """`rotator.stores.RingStore` that counts."""

    rings: RingStore
    tally: Tally

    def load(self) -> Stored | None:
        """Load."""
        self.tally.count("load")
        return self.rings.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Save."""
        self.tally.count("save")
        return self.rings.save(document, replacing=replacing)


@dataclass(slots=True)
class CountedMaterial:
    """`rotator.stores.MaterialStore` that counts."""

    material: MaterialStore
    tally: Tally

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Choose a locator, which asks nobody."""
        return self.material.allocate(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Put."""
        self.tally.count("put")
        self.material.put(locator, kid, material)

    def get(self, locator: str, kid: str) -> Secret | None:
        """Get."""
        self.tally.count("get")
        return self.material.get(locator, kid)

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy."""
        self.tally.count("destroy")
        self.material.destroy(locator, kid)


@dataclass(slots=True)
class CountedTarget:
    """`rotator.stores.Target` that counts: a document in the key set's own store."""

    target: Target
    tally: Tally

    @property
    def name(self) -> str:
        """Its name."""
        return self.target.name

    @property
    def kind(self) -> DocumentKind:
        """The kind of document that belongs there."""
        return self.target.kind

    @property
    def writable(self) -> bool:
        """True for what is written to."""
        return self.target.writable

    @property
    def independent(self) -> bool:
        """True when it is read by another way than the ring's store."""
        return self.target.independent

    def look(self) -> Sight:
        """Look."""
        self.tally.count("read")
        return self.target.look()

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Write."""
        self.tally.count("write")
        self.target.write(document, replacing=replacing)
