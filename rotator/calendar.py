"""What will happen when, if nothing goes wrong: the calendar behind `rotator plan`. Pure.

The real decisions are driven through time: every target answers rightly, and the clock jumps from one
due date to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator import transitions
from rotator.algorithms import PUBLIC_MEMBERS
from rotator.evidence import absorb, stamp
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.plan import next_deadline, next_step, waiting_for
from rotator.policy import RotationPolicy
from rotator.ring import Key, KeyRing, Phase
from rotator.step import Do, Step

_MOST_STEPS: Final = 10_000
_INSTANT: Final = timedelta(microseconds=1)


def forecast(
    ring: KeyRing,
    policy: RotationPolicy,
    now: datetime,
    until: datetime,
    targets: Mapping[str, DocumentKind],
) -> tuple[Step, ...]:
    """Return the steps that will be taken until a date, each with the date at which it is taken.

    Keys that do not exist yet are called `+1`, `+2`, … in the order of their creation.

    Args:
        ring: as it is; revision 0 for a key set that has none yet.
        targets: by name, what is looked at.
    """
    steps: list[Step] = []
    at, began = now, now
    while at <= until and len(steps) < _MOST_STEPS:
        observed = _as_it_should_be(ring, targets, at - began)
        ring = absorb(ring, policy, at, observed)
        step = next_step(ring, policy, at, observed)
        if step.do is Do.WAIT:
            later = _next_date(ring, policy, at, observed)
            if later is None:
                break
            at = later
            continue
        if step.do is Do.CREATE:
            step = replace(step, kid=f"+{1 + sum(item.do is Do.CREATE for item in steps)}")
        ring = _carry_out(ring, policy, step, at)
        steps.append(replace(step, due_at=at))
    return tuple(steps)


def rotations(steps: tuple[Step, ...]) -> int:
    """Return in how many of these steps a current key is replaced by the next."""
    return sum(step.do is Do.PROMOTE and step.reason.value != "first-announced" for step in steps)


def remembered(ring: KeyRing, targets: Mapping[str, DocumentKind]) -> Observed:
    """Return what the ring itself remembers of its targets, for commands that look at none.

    A pending key is where its terms stand; a signing target holds what it was last seen with; and what
    verifiers were told of the other keys is taken for granted.
    """
    sightings = {}
    for name, kind in targets.items():
        if kind is DocumentKind.SIGNING:
            kids = ring.holders.get(name, ())
        else:
            told = [key for key in ring.published if key.phase is not Phase.PENDING]
            told += [key for key in ring.in_phase(Phase.PENDING) if name in key.announced]
            kids = tuple(key.kid for key in told)
        sightings[name] = Sighting(kind, answered=True, filled=bool(kids), ours=True, kids=kids)
    return Observed(sightings)


def _as_it_should_be(
    ring: KeyRing, targets: Mapping[str, DocumentKind], passed: timedelta
) -> Observed:
    published = tuple(key.kid for key in ring.published)
    signing = (ring.active.kid,) if ring.active is not None else ()
    sightings = {}
    for name, kind in targets.items():
        kids = signing if kind is DocumentKind.SIGNING else published
        sightings[name] = Sighting(kind, answered=True, filled=bool(kids), ours=True, kids=kids)
    # Whoever is creating a key now is taken for dead: then it comes latest.
    idle = {key.kid: passed for key in ring.in_phase(Phase.CREATING)}
    return Observed(sightings, creating_idle=idle)


def _next_date(
    ring: KeyRing, policy: RotationPolicy, at: datetime, observed: Observed
) -> datetime | None:
    dates = [step.due_at for step in waiting_for(ring, policy, at, observed)]
    dates.append(next_deadline(ring, policy))
    return min((date for date in dates if date is not None and date >= at + _INSTANT), default=None)


def _carry_out(ring: KeyRing, policy: RotationPolicy, step: Step, at: datetime) -> KeyRing:
    at = stamp(ring, at)
    if step.do is Do.CREATE:
        ring = transitions.add_creating(ring, _imagined(step.kid, policy, at), at, step.reason)
        return transitions.created(ring, step.kid, at)
    if step.do is Do.TAKE_OVER:
        return transitions.created(ring, step.kid, at)
    if step.do is Do.PROMOTE:
        return transitions.promote(ring, step.kid, at, step.reason.value)
    if step.do is Do.RETIRE:
        return transitions.retire(ring, step.kid, at)
    if step.do is Do.DISCARD:
        window = ring.in_force(policy).write_window
        return transitions.discard(ring, step.kid, at, step.reason.value, write_window=window)
    return transitions.destroyed(ring, step.kid, at)


def _imagined(kid: str, policy: RotationPolicy, at: datetime) -> Key:
    """Return a key that nobody made: all that a calendar needs of one."""
    kind = policy.kind
    members = {} if kind.symmetric else dict.fromkeys(("kty", *PUBLIC_MEMBERS[kind.kty]), "")
    public = {**members, "kty": kind.kty} if members else None
    check = "imagined" if kind.symmetric else None
    return Key(kid, kind.algorithm, kind.size, Phase.CREATING, kid, at, public=public, check=check)
