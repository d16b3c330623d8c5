"""What really lay where and when, kept for whoever judges it afterwards."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from rotator.documents import read_json
from rotator.observed import DocumentKind
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.promise import published_keys
from rotator.rehearsal.toykeys import Print, signs_as
from rotator.rehearsal.walls import Place
from rotator.ring import KeyRing

_T = TypeVar("_T")


@dataclass(slots=True)
class Course(Generic[_T]):
    """A value over time: each with the moment from which it holds."""

    since: list[datetime] = field(default_factory=list)
    values: list[_T] = field(default_factory=list)

    def set(self, now: datetime, value: _T) -> None:
        """From now on it is `value`."""
        if self.values and self.values[-1] == value:
            return
        self.since.append(now)
        self.values.append(value)

    def at(self, when: datetime) -> _T | None:
        """Return the value at a moment, None before the first."""
        index = bisect_right(self.since, when)
        return self.values[index - 1] if index else None

    def first_at(self, when: datetime) -> _T:
        """Return the value at a moment; the first before that, for nobody keeps a "nothing"."""
        return self.values[max(bisect_right(self.since, when) - 1, 0)]


@dataclass(slots=True)
class Life:
    """The life of one key, in true time.

    Attributes:
        ended: when the ring forgot it, its material being destroyed; None while it is known.
    """

    made: datetime
    signs: datetime | None = None
    stopped: datetime | None = None
    ended: datetime | None = None


@dataclass(slots=True)
class Record:
    """Everything that was anywhere.

    Attributes:
        signing: by signing target, the key that lies there.
        shown: by publication (HMAC: verification document), the keys that readers find there.
        promotions: when a key became active, and its kid; the first one's too.
    """

    true: TrueTime
    signing: dict[str, Course[Print]] = field(default_factory=dict)
    shown: dict[str, Course[frozenset[Print]]] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    promotions: list[tuple[datetime, str]] = field(default_factory=list)

    def place_changed(self, place: Place) -> None:
        """Take note of what lies at a place from now on."""
        if place.document is None:
            return
        now = self.true.now
        if place.kind is not DocumentKind.SIGNING:
            self.shown.setdefault(place.name, Course()).set(now, published_keys(place))
            return
        document = read_json(place.document.body)
        if document is not None and isinstance(document.get("jwk"), dict):
            self.signing.setdefault(place.name, Course()).set(now, signs_as(document["jwk"]))

    def ring_saved(self, ring: KeyRing) -> None:
        """Take note of who lives, and who signs."""
        now, active = self.true.now, ring.active
        known = {key.kid for key in ring.keys}
        for kid in known - self.lives.keys():
            self.lives[kid] = Life(now)
        for kid, life in self.lives.items():
            if life.ended is None and kid not in known:
                life.ended = now
            if (
                life.signs is not None
                and life.stopped is None
                and (not active or active.kid != kid)
            ):
                life.stopped = now
        if active is not None and (not self.promotions or self.promotions[-1][1] != active.kid):
            self.promotions.append((now, active.kid))
            self.lives[active.kid].signs = now

    @property
    def rotations(self) -> int:
        """How often one key took over from another."""
        return max(len(self.promotions) - 1, 0)

    def longest_life(self) -> timedelta:
        """Return the longest time from a key's making to its end, or to now."""
        now = self.true.now
        return max(
            ((life.ended or now) - life.made for life in self.lives.values()), default=timedelta(0)
        )

    def longest_signing(self) -> timedelta:
        """Return the longest time that one key was the current one."""
        now = self.true.now
        spans = [
            (life.stopped or now) - life.signs
            for life in self.lives.values()
            if life.signs is not None
        ]
        return max(spans, default=timedelta(0))
