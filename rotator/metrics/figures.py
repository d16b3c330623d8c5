"""What is told of one key set: figures taken from a tick, small enough for ten thousand of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.plan import next_deadline
from rotator.policy import RotationPolicy, Standby
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.telling import key_due
from rotator.ring import PUBLISHED, Key, KeyRing, Phase
from rotator.step import Do

LIVE = PUBLISHED | {Phase.CREATING}
"""The phases of keys that have series; those that ended are gone from the metrics too."""


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """One live key. Dates are seconds since 1970 (UTC), None for what has not happened."""

    kid: str
    algorithm: str
    phase: str
    created: float
    announced: float | None
    activated: float | None
    superseded: float | None
    due: float | None


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One target as the last tick found it."""

    name: str
    failing: bool
    drifted: bool
    keys: int


@dataclass(frozen=True, slots=True)
class SignerFigures:
    """One signer check: whether it was last seen with another key than it should sign with."""

    name: str
    drifting: bool


@dataclass(frozen=True, slots=True)
class KeySetFigures:
    """One key set after its last tick. Dates are seconds since 1970 (UTC).

    Attributes:
        publishes: the ring has keys that verifiers are told of.
        rotation_due: when the current key has signed for `rotate_every`.
        standby_due: since, or from, when there is to be a next key beside the current one.
        next_due: when the next thing in its keys' lives is due; past only while that is held up.
        held_up: since when something that is due is held up, None while nothing is.
        patience: seconds after `next_due` for which it is taken for under way.
        success: when a tick last ended with every target in order and the clock trusted.
        failing: the last tick could not be made, or a target fails.
        suspicious: the clock is not trusted.
    """

    key_set: str
    algorithm: str
    revision: int = 0
    reason: str = ""
    publishes: bool = False
    keys: tuple[KeyFigures, ...] = ()
    targets: tuple[TargetFigures, ...] = ()
    signers: tuple[SignerFigures, ...] = ()
    rotation_due: float | None = None
    standby_due: float | None = None
    next_due: float | None = None
    held_up: float | None = None
    patience: float = 0.0
    success: float | None = None
    failing: bool = False
    suspicious: bool = False

    def overdue(self, now: float) -> float | None:
        """Return for how many seconds something has been due that was not done, None when nothing is."""
        if self.held_up is not None:
            return max(now - self.held_up, 0.0)
        if self.next_due is not None and now - self.next_due > self.patience:
            return now - self.next_due  # nobody came to look since: ticks fail, or none are made
        return None

    def amiss(self, now: float) -> bool:
        """True when somebody should look at this key set."""
        return self.failing or self.suspicious or self.overdue(now) is not None


def taken(
    site: Site, outcome: Outcome, before: KeySetFigures | None, *, detailed: bool
) -> KeySetFigures:
    """Return the figures of a key set after a tick that came to its end.

    Args:
        before: those of the tick before.
        detailed: keep keys and targets of a key set that is well too.
    """
    ring, now = outcome.ring, outcome.now.timestamp()
    policy = ring.in_force(site.policy)
    failing, suspicious = bool(outcome.failures), bool(outcome.observed.suspicious)
    well = not failing and not suspicious
    held_up = _held_up(outcome, before, now)
    detailed = detailed or not well or held_up is not None
    return KeySetFigures(
        key_set=site.key_set,
        algorithm=site.policy.kind.algorithm,
        revision=ring.revision,
        reason=outcome.step.reason.value,
        publishes=bool(ring.published),
        keys=_keys(ring, policy) if detailed else (),
        targets=_targets(outcome) if detailed else (),
        signers=_signers(outcome, policy),
        rotation_due=_rotation_due(ring, policy),
        standby_due=_standby_due(ring, policy),
        next_due=_next_due(outcome, site.policy),
        held_up=held_up,
        patience=(2 * policy.resync).total_seconds(),
        success=now if well else before.success if before else None,
        failing=failing,
        suspicious=suspicious,
    )


def _held_up(outcome: Outcome, before: KeySetFigures | None, now: float) -> float | None:
    step = outcome.step
    if step.do is not Do.WAIT or not step.blocked:
        return None
    if step.due_at is not None:
        return min(step.due_at.timestamp(), now)
    return before.held_up if before is not None and before.held_up is not None else now


def _rotation_due(ring: KeyRing, policy: RotationPolicy) -> float | None:
    active = ring.active
    if active is None:
        return None
    return ((active.activated_at or active.created_at) + policy.rotate_every).timestamp()


def _standby_due(ring: KeyRing, policy: RotationPolicy) -> float | None:
    active, due = ring.active, _rotation_due(ring, policy)
    if active is None or due is None:
        return None
    if policy.standby is Standby.JUST_IN_TIME:
        return due - policy.creation_lead.total_seconds()
    return (active.activated_at or active.created_at).timestamp()


def _next_due(outcome: Outcome, policy: RotationPolicy) -> float | None:
    """Return the nearest date yet to come; what is held up is told at the date that has passed."""
    step, now = outcome.step, outcome.now
    if step.due_at is not None and step.blocked:
        return step.due_at.timestamp()
    asked = (next_deadline(outcome.ring, policy), step.due_at if step.do is Do.WAIT else None)
    return _timestamp(
        min((date for date in asked if date is not None and date > now), default=None)
    )


def _keys(ring: KeyRing, policy: RotationPolicy) -> tuple[KeyFigures, ...]:
    return tuple(_key(key, policy) for key in ring.keys if key.phase in LIVE)


def _key(key: Key, policy: RotationPolicy) -> KeyFigures:
    return KeyFigures(
        kid=key.kid,
        algorithm=key.algorithm,
        phase=key.phase.value,
        created=key.created_at.timestamp(),
        announced=_timestamp(max(key.announced.values(), default=None)),
        activated=_timestamp(key.activated_at),
        superseded=_timestamp(key.superseded_at),
        due=_timestamp(key_due(key, policy)),
    )


def _targets(outcome: Outcome) -> tuple[TargetFigures, ...]:
    return tuple(
        TargetFigures(
            name,
            name in outcome.failures,
            bool(seen.drifted or _strange(seen.strangers, outcome.ring)),
            len(seen.kids),
        )
        for name, seen in outcome.observed.sightings.items()
    )


def _signers(outcome: Outcome, policy: RotationPolicy) -> tuple[SignerFigures, ...]:
    names = [name for name, _ in outcome.observed.signers()]
    if not names:
        return ()
    from rotator.signers.judge import drifts

    found = {drift.name for drift in drifts(outcome.ring, policy, outcome.now, outcome.observed)}
    return tuple(SignerFigures(name, name in found) for name in names)


def _strange(kids: tuple[str, ...], ring: KeyRing) -> bool:
    known = {key.kid for key in ring.keys} | {entry.kid for entry in ring.history}
    return any(kid not in known for kid in kids)


def _timestamp(date: datetime | None) -> float | None:
    return None if date is None else date.timestamp()
