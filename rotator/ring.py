"""The key ring: the authoritative state of one key set. Values and questions, no I/O and no clock.

A ring never holds a private key. How it is written down is in `rotator.ring_document`; how it changes
is in `rotator.transitions`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rotator.algorithms import ALGORITHMS, Kind
from rotator.policy import PROTECTIVE, RotationPolicy

HISTORY_LIMIT: Final = 100
"""How many entries of the history a ring keeps; the logs have them all."""

MAX_UNDESTROYED: Final = 5
"""With more ended keys than this whose material is not destroyed yet, no new key is created."""

_LINE_ID: Final = re.compile(r"[1-9][0-9]{0,8}\.[0-9a-f]{12}", re.ASCII)

ADOPTION: Final = "adoption"
"""The reason of a `creating` key that somebody had before: only `rotator adopt` goes on with it."""


class Phase(StrEnum):
    """Where a key is in its life."""

    CREATING = "creating"
    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"
    DISCARDED = "discarded"


PUBLISHED: Final = frozenset({Phase.PENDING, Phase.ACTIVE, Phase.RETIRING})
"""The phases in which verifiers are told of a key."""

ENDED: Final = frozenset({Phase.RETIRED, Phase.REVOKED, Phase.DISCARDED})
"""The phases from which nothing returns; the key stays in the ring until its material is destroyed."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a ring: its phase, dates and public half; never its private one.

    Attributes:
        locator: what the material store knows the material by; None for a key taken over from a
            target, of which only the public half is known.
        public: the public JWK parameters with `kty`; None for HMAC.
        check: for HMAC, what proves the material without telling it (`rotator.keys`).
        announced: since when the key has been seen at each publication and probe (HMAC: at each
            `verification` document).
        destroy_after: not before this date is a destruction final, for a stalled writer may still
            put the material until then.
    """

    kid: str
    algorithm: str
    size: int
    phase: Phase
    locator: str | None
    created_at: datetime
    public: Mapping[str, str] | None = None
    check: str | None = None
    pending_at: datetime | None = None
    activated_at: datetime | None = None
    retiring_at: datetime | None = None
    superseded_at: datetime | None = None
    ended_at: datetime | None = None
    destroy_after: datetime | None = None
    announced: Mapping[str, datetime] = field(default_factory=dict)
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """The algorithm and size."""
        return Kind(self.algorithm, self.size)

    @property
    def published(self) -> bool:
        """True while verifiers are told of this key."""
        return self.phase in PUBLISHED

    def announced_at(self, required: Iterable[str]) -> datetime | None:
        """Return since when the key has stood announced everywhere, None when it does not.

        Args:
            required: the names of the targets that this process looks at; each must have a term.
        """
        if not self.announced or any(name not in self.announced for name in required):
            return None
        return max(self.announced.values())

    def dates(self) -> Iterator[datetime]:
        """Yield every date that the clock of some replica gave this key."""
        named = (self.created_at, self.pending_at, self.activated_at, self.retiring_at)
        for date in (*named, self.superseded_at, self.ended_at, *self.announced.values()):
            if date is not None:
                yield date


@dataclass(frozen=True, slots=True)
class Order:
    """Something an operator asked for, kept in the ring until done or taken back.

    `replaces` is the kid that an order to promote replaces; such an order is done once that key is no
    longer the active one. `urgent` marks the part of a revocation that no hold stops (rule 6), and
    `ignore_windows` an order to promote that no change window holds up.
    """

    at: datetime
    reason: str = ""
    replaces: str | None = None
    urgent: bool = False
    ignore_windows: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Protected:
    """A protective duration in force, and the lower one that will replace it once its time has passed.

    `disputed_at`: when a lower value was taken back, for somebody is still configured with this one.
    """

    value: timedelta
    lower: timedelta | None = None
    since: datetime | None = None
    disputed_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def lowered_at(self) -> datetime | None:
        """When the lower value comes into force."""
        return None if self.since is None else self.since + self.value


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history: what happened to which key, when and why.

    `id` names the line for good, whatever becomes of its date (a confirmed clock moves dates) and of the
    lines before it (they leave the bounded history): its number, a dot, a digest. It says nothing of what
    happened and so counts in no comparison; `KeyRing.noting` gives it.
    """

    at: datetime
    event: str
    kid: str = ""
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    id: str = field(default="", compare=False)

    @property
    def number(self) -> int:
        """Which line of its key set this is, counted from 1; 0 for one that has no id."""
        return int(self.id.partition(".")[0] or 0)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The state of one key set. Immutable: `rotator.transitions` makes the next one.

    Attributes:
        revision: one up with each swap; every derived document carries it.
        holders: per signing target, the kids that it may hold: what it was last seen with and every
            key activated since (rule 2).
        protection: the protective durations in force (rule 10), and `observed_cache` (rule 1).
        discards: how many creations in a row ended in a discard, and `discarded_at` when the last did.
        clock_confirmed_at: when an operator last said that the clocks are right.
    """

    key_set: str
    revision: int = 0
    keys: tuple[Key, ...] = ()
    holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protection: Mapping[str, Protected] = field(default_factory=dict)
    hold: Order | None = None
    promote: Order | None = None
    pins: Mapping[str, Order] = field(default_factory=dict)
    first_activated_at: datetime | None = None
    kind_changed_at: datetime | None = None
    discards: int = 0
    discarded_at: datetime | None = None
    clock_confirmed_at: datetime | None = None
    history: tuple[Entry, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def find(self, kid: str) -> Key | None:
        """Return the key of a kid, None when the ring does not know it."""
        return next((key for key in self.keys if key.kid == kid), None)

    def in_phase(self, *phases: Phase) -> tuple[Key, ...]:
        """Return the keys in any of these phases, oldest first."""
        found = [key for key in self.keys if key.phase in phases]
        return tuple(sorted(found, key=lambda key: (key.created_at, key.kid)))

    @property
    def active(self) -> Key | None:
        """The key that signs."""
        return next((key for key in self.keys if key.phase is Phase.ACTIVE), None)

    @property
    def published(self) -> tuple[Key, ...]:
        """The keys that verifiers are told of: current first, then next, then previous (newest first).

        The order matters to libraries that take the first key that fits.
        """
        rank = {Phase.ACTIVE: 0, Phase.PENDING: 1, Phase.RETIRING: 2}
        found = [key for key in self.keys if key.published]
        newest_first = sorted(found, key=lambda key: (key.created_at, key.kid), reverse=True)
        return tuple(sorted(newest_first, key=lambda key: rank[key.phase]))

    @property
    def locators(self) -> frozenset[str]:
        """Every locator whose material is not confirmed destroyed."""
        return frozenset(key.locator for key in self.keys if key.locator is not None)

    @property
    def latest(self) -> datetime | None:
        """The latest date in the ring: no new date may be before it."""
        dates = [date for key in self.keys for date in key.dates()]
        dates += [entry.at for entry in self.history]
        dates += [order.at for order in (self.hold, self.promote, *self.pins.values()) if order]
        terms = [(item.since, item.disputed_at) for item in self.protection.values()]
        dates += [date for term in terms for date in term if date is not None]
        single = (self.first_activated_at, self.kind_changed_at, self.discarded_at)
        dates += [date for date in (*single, self.clock_confirmed_at) if date is not None]
        return max(dates, default=None)

    def in_force(self, policy: RotationPolicy) -> RotationPolicy:
        """Return the policy with the protective durations that this ring keeps in force (rule 10).

        A duration that is configured higher than the ring's counts at once, recorded or not.
        """
        kept = {}
        for name in (*PROTECTIVE, "observed_cache"):
            item = self.protection.get(name)
            configured = getattr(policy, name)
            if item is not None and (configured is None or item.value > configured):
                kept[name] = item.value
        return policy.with_durations(kept)

    def with_key(self, key: Key) -> KeyRing:
        """Return a ring with a key replaced, or added when the ring does not know its kid."""
        if self.find(key.kid) is None:
            return replace(self, keys=(*self.keys, key))
        return replace(self, keys=tuple(key if old.kid == key.kid else old for old in self.keys))

    def without_key(self, kid: str) -> KeyRing:
        """Return a ring that does not know a kid."""
        return replace(self, keys=tuple(key for key in self.keys if key.kid != kid))

    def noting(self, *entries: Entry) -> KeyRing:
        """Return a ring with lines added to its bounded history."""
        history = numbered(self.key_set, (*self.history, *entries))
        return replace(self, history=history[-HISTORY_LIMIT:])


def numbered(key_set: str, history: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return a history whose every line has its id.

    Each digest covers the id before it, so that a ring which went another way (a backup that was put back)
    has other ids from there on. An older version keeps the ids that it finds and gives none: its lines
    get theirs here, by their places.
    """
    found: list[Entry] = []
    before = ""
    for entry in history:
        named = entry if entry.id else replace(entry, id=_id_of(key_set, before, entry))
        found.append(named)
        before = named.id
    return tuple(found)


def line_id(found: object) -> str:
    """Return the id of a line as it was read, empty when it is none: then the line gets another."""
    return found if isinstance(found, str) and _LINE_ID.fullmatch(found) else ""


def _id_of(key_set: str, before: str, entry: Entry) -> str:
    said = (key_set, before, entry.at.isoformat(), entry.event, entry.kid, entry.reason)
    digest = hashlib.sha256("\n".join(said).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{int(before.partition('.')[0] or 0) + 1}.{digest[:12]}"


def symmetric(key: Key) -> bool:
    """True for an HMAC key."""
    return ALGORITHMS[key.algorithm].kty == "oct"
