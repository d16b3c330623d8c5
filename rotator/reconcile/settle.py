"""Ticking one key set until there is nothing more to do now: what every command but `run` does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rotator.errors import Conflict
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.tick import tick
from rotator.ring import ADOPTION, Phase
from rotator.step import Do, Step

Pause = Callable[[timedelta], None]
"""Waits for a while; `time.sleep` at the edge, a moved clock in the simulated world."""

_MOST_TICKS: Final = 50
_MOST_CONFLICTS: Final = 100
_POLL: Final = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a key set came to rest: the last tick, and every step taken on the way."""

    outcome: Outcome
    steps: tuple[Step, ...]
    changed: bool


def settle(
    site: Site, pause: Pause, told: Callable[[Site, Outcome], None] | None = None
) -> Settled:
    """Tick until nothing changes any more.

    Somebody else's `creating` key is waited out, for a one-shot has nobody to come back for it.
    A conflict means that somebody else was faster: after a short random pause, begin anew.

    Args:
        told: takes what each tick did.

    Raises: as `rotator.reconcile.tick.tick`; `Conflict` only after a hundred of them.
    """
    steps: list[Step] = []
    changed, conflicts = False, 0
    outcome: Outcome | None = None
    for _ in range(_MOST_TICKS + _MOST_CONFLICTS):
        try:
            outcome = tick(site)
        except Conflict:
            conflicts += 1
            if conflicts > _MOST_CONFLICTS:
                raise
            # S311: the pause only keeps replicas apart.
            pause(timedelta(milliseconds=random.uniform(5, 50 * min(conflicts, 10))))  # noqa: S311
            continue
        if told is not None:
            told(site, outcome)
        changed = changed or outcome.changed
        if outcome.step.do is not Do.WAIT:
            steps.append(outcome.step)
        if _created_elsewhere(outcome):
            pause(min(_POLL, site.policy.create_timeout / 4))
        elif not outcome.changed or len(steps) > _MOST_TICKS:
            break
    if outcome is None:
        raise Conflict(f"key set {site.key_set} changes faster than it can be read")
    return Settled(outcome, tuple(steps), changed)


def _created_elsewhere(outcome: Outcome) -> bool:
    """True while a `creating` key is to be waited out, whatever else there is to wait for beside it."""
    waits = outcome.step.do is Do.WAIT and not outcome.observed.suspicious
    creating = outcome.ring.in_phase(Phase.CREATING)
    return waits and any(key.reason != ADOPTION for key in creating)
