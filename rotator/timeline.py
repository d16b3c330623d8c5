"""The timeline of a key set: which key was, is and will be in which phase when. Pure.

One model for the status page and for the terminal. What was comes from the ring and its history, what comes
from the calendar (`rotator.calendar.forecast`), so that both pictures say what `rotator plan` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from rotator.calendar import forecast
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy
from rotator.ring import ENDED, Key, KeyRing, Phase
from rotator.step import Do, Step

MOST_ROWS: Final = 14
"""Keys in one picture: as many as a JWKS may have by default, and the next ones."""

SHOWN: Final = (Phase.CREATING, Phase.PENDING, Phase.ACTIVE, Phase.RETIRING)
"""The phases that are drawn; a key that ended has left the picture."""

_AHEAD: Final = 1.15  # of `rotate_every`: the next rotation and what follows it
_BACK: Final = 0.6  # of what is ahead
_RANK: Final = {phase: rank for rank, phase in enumerate(Phase)}

# What a line of the history says of its key; `transitions` writes them.
_TOLD: Final = {
    "key.created": Phase.PENDING,
    "key.promoted": Phase.ACTIVE,
    "key.taken_over": Phase.RETIRING,
    "key.retired": Phase.RETIRED,
    "key.revoked": Phase.REVOKED,
    "key.discarded": Phase.DISCARDED,
}
_DONE: Final = {
    Do.CREATE: Phase.PENDING,
    Do.TAKE_OVER: Phase.PENDING,
    Do.PROMOTE: Phase.ACTIVE,
    Do.RETIRE: Phase.RETIRED,
    Do.DISCARD: Phase.DISCARDED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A key enters a phase; `coming` when that is still to happen."""

    phase: Phase
    at: datetime
    coming: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A key in one phase. What was and what will be are spans of their own, parted at `now`.

    Attributes:
        end: within the picture; where `open` is true the phase goes on after it.
    """

    phase: Phase
    begin: datetime
    end: datetime
    coming: bool
    open: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One key.

    Attributes:
        kid: `+1`, `+2`, … for keys that do not exist yet.
        kind: algorithm and size; empty for a key that only the history knows.
        phase: its phase now, None before it exists.
        changes: every phase that it entered or will enter, in order.
        spans: what is drawn, in order.
    """

    kid: str
    kind: str
    phase: Phase | None
    changes: tuple[Change, ...]
    spans: tuple[Span, ...]
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn: `rows`, oldest key first, from `begin` to `end`; `hidden` older ones were left out."""

    key_set: str
    begin: datetime
    now: datetime
    end: datetime
    rows: tuple[Row, ...]
    hidden: int = 0

    def place(self, date: datetime) -> float:
        """Return where a date lies: 0 at the beginning of the picture, 1 at its end."""
        return min(max((date - self.begin) / (self.end - self.begin), 0.0), 1.0)


def horizon(ring: KeyRing, policy: RotationPolicy, now: datetime) -> datetime:
    """Return until when a calendar is wanted: the next rotation, and what follows it."""
    policy = ring.in_force(policy)
    after = min(policy.grace_wait, policy.rotate_every)
    return now + policy.rotate_every * _AHEAD + after


def timeline(
    ring: KeyRing, policy: RotationPolicy, now: datetime, calendar: Iterable[Step]
) -> Timeline:
    """Return the timeline of a key set.

    Args:
        ring: as it is; revision 0 for a key set that has none yet.
        policy: as configured; the durations that the ring keeps in force take part.
        now: the time, UTC.
        calendar: the steps to come until `horizon`, each with its date; none for a key set of which nobody
            can tell.
    """
    end = horizon(ring, policy, now)
    earliest = now - (end - now) * _BACK
    lives = _lives(ring, now)
    _continue(lives, ring, calendar)
    first = min((changes[0].at for changes in lives.values() if changes), default=now)
    begin = min(max(first, earliest), now - (end - now) / 50)
    window = _Window(begin, now, end)
    rows = [_row(ring, kid, changes, window) for kid, changes in lives.items()]
    drawn = sorted((row for row in rows if row.spans), key=lambda row: (row.changes[0].at, row.kid))
    kept = _bounded(drawn)
    return Timeline(ring.key_set, begin, now, end, kept, len(drawn) - len(kept))


def pictured(
    ring: KeyRing,
    policy: RotationPolicy,
    now: datetime,
    targets: Mapping[str, DocumentKind],
    *,
    foretold: bool = True,
) -> Timeline:
    """Return the timeline of a key set with the calendar that `rotator plan` has of it.

    Args:
        targets: by name, what is looked at.
        foretold: False where nothing can be said of what comes: the clock is suspicious, say.
    """
    until = horizon(ring, policy, now)
    return timeline(
        ring, policy, now, forecast(ring, policy, now, until, targets) if foretold else ()
    )


def _bounded(rows: list[Row]) -> tuple[Row, ...]:
    """Leave the oldest out that are gone, then those that come last."""
    over = len(rows) - MOST_ROWS
    if over <= 0:
        return tuple(rows)
    gone = {row.kid for row in rows if row.phase is None and not row.changes[-1].coming}
    out = [row.kid for row in rows if row.kid in gone]
    out += [row.kid for row in reversed(rows) if row.kid not in gone]
    left_out = frozenset(out[:over])
    return tuple(row for row in rows if row.kid not in left_out)


def _lives(ring: KeyRing, now: datetime) -> dict[str, list[Change]]:
    """Return by kid what happened to each key that the ring or its history knows."""
    told: dict[str, list[Change]] = {}
    active = ""
    for entry in ring.history:
        phase = _TOLD.get(entry.event)
        if phase is None:
            continue
        if phase is Phase.ACTIVE:
            if active and active != entry.kid:
                told.setdefault(active, []).append(Change(Phase.RETIRING, entry.at))
            active = entry.kid
        elif entry.kid == active:
            active = ""
        told.setdefault(entry.kid, []).append(Change(phase, entry.at))
    for key in ring.keys:
        told[key.kid] = _of_key(key, told.get(key.kid, []))
    return {kid: _settled(changes, now) for kid, changes in told.items()}


def _of_key(key: Key, told: list[Change]) -> list[Change]:
    """Return what the ring says of a key, with what its history says of the time before.

    The ring has only the newest date of each phase: earlier terms (before a rollback) are in the history.
    """
    dates = {
        Phase.PENDING: key.pending_at,
        Phase.ACTIVE: key.activated_at,
        Phase.RETIRING: key.retiring_at,
    }
    if key.phase in ENDED:
        since = key.ended_at or key.created_at
    else:
        since = dates.get(key.phase) or key.created_at
    own = [Change(phase, at) for phase, at in dates.items() if at is not None and at < since]
    before = [change for change in told if change.at < since and change.phase not in ENDED]
    return [*before, *own, Change(key.phase, since)]


def _settled(changes: list[Change], now: datetime) -> list[Change]:
    """Put changes into order, each phase once; a date from the future (a clock was wrong) counts as now."""
    found: list[Change] = []
    for change in sorted(changes, key=lambda item: (item.at, _RANK[item.phase])):
        if not found or found[-1].phase is not change.phase:
            found.append(Change(change.phase, min(change.at, now)))
    return found


def _continue(lives: dict[str, list[Change]], ring: KeyRing, calendar: Iterable[Step]) -> None:
    """Add what comes."""
    active = ring.active.kid if ring.active is not None else ""
    for step in calendar:
        phase = _DONE.get(step.do)
        if phase is None or step.due_at is None:
            continue
        if phase is Phase.ACTIVE:
            if active and active != step.kid:
                lives.setdefault(active, []).append(Change(Phase.RETIRING, step.due_at, True))
            active = step.kid
        lives.setdefault(step.kid, []).append(Change(phase, step.due_at, True))


class _Window(NamedTuple):
    begin: datetime
    now: datetime
    end: datetime


def _row(ring: KeyRing, kid: str, changes: list[Change], window: _Window) -> Row:
    key = ring.find(kid)
    return Row(
        kid,
        str(key.kind) if key is not None else "",
        key.phase if key is not None and key.phase not in ENDED else None,
        tuple(changes),
        tuple(_spans(changes, window)),
        pinned=kid in ring.pins,
    )


def _spans(changes: list[Change], window: _Window) -> Iterator[Span]:
    begin, now, end = window
    for place, change in enumerate(changes):
        if change.phase not in SHOWN:
            continue
        last = place + 1 == len(changes)
        until = end if last else changes[place + 1].at
        for low, high, coming in ((begin, now, False), (now, end, True)):
            first, then = max(change.at, low), min(until, high)
            # A change at this very moment is seen: it has no length yet.
            if first < then or (first == then == now and not coming and not change.coming):
                yield Span(change.phase, first, then, coming, open=last and then == end)
