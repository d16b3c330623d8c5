"""What to do next, and why: the decisions of a key's life. Pure, no clock, no I/O.

`next_step` goes through the rules in order and returns the first thing to do; when there is nothing to
do, it returns what is being waited for, with its reason. Each rule looks at one `Situation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from rotator import rules
from rotator.evidence import lowered_at
from rotator.observed import Observed
from rotator.policy import RotationPolicy, Standby
from rotator.ring import ENDED, KeyRing, Phase
from rotator.situation import Situation, opening
from rotator.step import Do, Step


def next_step(ring: KeyRing, policy: RotationPolicy, now: datetime, observed: Observed) -> Step:
    """Return the one next thing to do, or what is waited for.

    Args:
        ring: with the evidence of this tick absorbed (`rotator.evidence.absorb`); revision 0 when
            there is none yet.
        policy: as configured; the durations that the ring keeps in force take part.
        now: the time, UTC.
        observed: what was seen after the ring was loaded.
    """
    situation = Situation(ring, ring.in_force(policy), now, observed)
    waits, stuck = [], []
    for rule in _rules(observed):
        for step in rule(situation):
            if step.do is Do.WAIT:
                waits.append(step)
            elif (step.do, step.kid) in observed.stuck:
                # One thing that a store refuses to do must not end all rotation: on with what comes next.
                stuck.append(replace(step, do=Do.WAIT, detail="it failed just now", blocked=True))
            else:
                return step
    return min(waits or stuck, key=_most_telling)


def waiting_for(
    ring: KeyRing, policy: RotationPolicy, now: datetime, observed: Observed
) -> tuple[Step, ...]:
    """Return every step that is due or waited for, the most telling first (for `status` and `plan`)."""
    situation = Situation(ring, ring.in_force(policy), now, observed)
    steps = [step for rule in _rules(observed) for step in rule(situation)]
    return tuple(sorted(steps, key=lambda step: (step.do is Do.WAIT, *_most_telling(step))))


def _most_telling(step: Step) -> tuple[bool, bool, float]:
    when = step.due_at.timestamp() if step.due_at else 0.0
    return (not step.blocked, step.due_at is None, when)


def _rules(observed: Observed) -> tuple[Callable[[Situation], Iterator[Step]], ...]:
    if observed.suspicious:
        return (rules.destroy_revoked, rules.clock)
    return (rules.destroy, rules.creating, rules.retire, rules.promote, rules.discard, rules.create)


def next_deadline(
    ring: KeyRing, policy: RotationPolicy, now: datetime | None = None
) -> datetime | None:
    """Return when the ring wants looking at again by the clock alone, None when only a look can tell.

    Evidence (an announcement, a delivery) is found by looking, each `resync`, and has no deadline.

    Args:
        now: for the change window that is still to come, where one was missed.
    """
    return min(_deadlines(ring, ring.in_force(policy), now), default=None)


def _deadlines(ring: KeyRing, policy: RotationPolicy, now: datetime | None) -> Iterator[datetime]:
    active = ring.active
    for key in ring.keys:
        if key.phase in ENDED and (key.destroy_after or key.ended_at):
            yield key.destroy_after or key.ended_at or key.created_at
        elif key.phase is Phase.RETIRING and key.superseded_at and key.kid not in ring.pins:
            yield key.superseded_at + policy.grace_wait
        elif key.phase is Phase.PENDING and key.announced and active is not None:
            since = max(key.announced.values())
            due = (active.activated_at or active.created_at) + policy.rotate_every
            ordered = ring.promote is not None or key.kind != active.kind
            ready = since + policy.propagation_wait
            yield opening(ring, policy, ready if ordered else max(due, ready), now)
    if active is not None and not ring.in_phase(Phase.PENDING, Phase.CREATING):
        due = (active.activated_at or active.created_at) + policy.rotate_every
        yield due - policy.creation_lead if policy.standby is Standby.JUST_IN_TIME else due
    for name, item in ring.protection.items():
        lowered = lowered_at(name, item, policy)
        if lowered is not None:
            yield lowered
