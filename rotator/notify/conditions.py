"""Which conditions a tick saw: what fails, what is overdue, what drifted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.errors import RotatorError
from rotator.notify.ledger import Topic
from rotator.notify.news import Event
from rotator.observed import Observed
from rotator.reconcile.site import Outcome
from rotator.ring import KeyRing
from rotator.step import Do, Step

LASTING = frozenset({Event.FAILED.value, Event.OVERDUE.value})
"""What has an end that is told; drift is mended by the tick that sees it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as a tick saw it: why, and which key it is about."""

    reason: str
    kid: str = ""


def seen(outcome: Outcome) -> dict[Topic, Condition]:
    """Return what a tick that came to its end saw."""
    found: dict[Topic, Condition] = {
        (Event.FAILED.value, name): Condition(error.message)
        for name, error in sorted(outcome.failures.items())
    }
    step = outcome.step
    if step.do is Do.WAIT and step.blocked:
        found[Event.OVERDUE.value, ""] = Condition(_overdue(step), step.kid)
    return found | _drift(outcome.ring, outcome.observed)


def failure(error: Exception) -> Condition:
    """Return that a key set could not be ticked; of what was not foreseen only its kind is told."""
    if isinstance(error, RotatorError):
        return Condition(error.message)
    return Condition(f"unexpected {type(error).__name__}; the log has more")


def _overdue(step: Step) -> str:
    due = f"due since {step.due_at:%Y-%m-%dT%H:%M:%SZ}" if step.due_at else "due"
    return f"{due}: {step.detail or step.reason.value.replace('-', ' ')}"


def _drift(ring: KeyRing, observed: Observed) -> dict[Topic, Condition]:
    """Return the targets that somebody else changed; as `target.drift` in the log."""
    known = {key.kid for key in ring.keys} | {line.kid for line in ring.history}
    found: dict[Topic, Condition] = {}
    for name, sighting in sorted(observed.sightings.items()):
        strange = [kid for kid in sighting.strangers if kid not in known]
        if sighting.ours and (strange or sighting.drifted):
            what = sighting.note or f"unknown kid {', '.join(strange)}"
            found[Event.DRIFT.value, name] = Condition(what)
    return found
