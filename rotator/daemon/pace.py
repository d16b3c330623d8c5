"""How soon a key set is ticked again after a tick. Pure: chance is handed in.

What a date asks for comes at that date; evidence has no date and is found by looking, each `resync`;
what failed is tried again ever later, but never later than that.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Final

from rotator.daemon.agenda import Turn
from rotator.plan import next_deadline
from rotator.policy import RotationPolicy
from rotator.reconcile.site import Outcome
from rotator.step import Do

_FIRST_PAUSE: Final = timedelta(seconds=1)
_CONFLICT: Final = timedelta(milliseconds=50)
_MOST_CONFLICTS: Final = 20  # the pause grows no further
_LATE: Final = timedelta(milliseconds=2)  # the two clocks do not tick alike: never wake just before
_JITTER: Final = 0.1  # of `resync`, once by name and once by chance

_SPREAD: Final = 0.5  # of the pause after a failure

RESTLESS: Final = 50
"""This many changes without rest are a key's life; more mean that somebody changes them back."""


def after_outcome(
    outcome: Outcome,
    policy: RotationPolicy,
    *,
    elapsed: timedelta,
    now: datetime,
    share: float,
    in_a_row: int,
) -> Turn:
    """Return the next turn after a tick that came to its end.

    Args:
        elapsed: CLOCK_BOOTTIME, with `now` the wall clock.
        share: from 0 to 1, see `shorter`.
        in_a_row: how many ticks have changed something since one found all well.
    """
    if outcome.changed:
        if in_a_row <= RESTLESS:
            return Turn(elapsed)  # at once: the look that proves what was written
        return Turn(elapsed + backoff(in_a_row - RESTLESS, policy.resync))
    at = elapsed + shorter(policy.resync, share)
    if outcome.retry_at is not None:
        at = min(at, max(outcome.retry_at, elapsed) + _LATE)
    date = _next_date(outcome, policy, now)
    if date is not None:
        at = min(at, elapsed + (date - now) + _LATE)
    return Turn(at, date)


def after_conflict(elapsed: timedelta, share: float, in_a_row: int) -> Turn:
    """Return the next turn after somebody else was faster: a short random pause keeps replicas apart."""
    return Turn(elapsed + share * _CONFLICT * min(in_a_row, _MOST_CONFLICTS))


def after_failure(policy: RotationPolicy, elapsed: timedelta, share: float, in_a_row: int) -> Turn:
    """Return the next turn after a tick that could not be made.

    Spread over half of the pause: a thousand key sets whose store came back must not all come at once.
    """
    return Turn(elapsed + backoff(in_a_row, policy.resync) * (1 - _SPREAD * share))


def backoff(in_a_row: int, longest: timedelta) -> timedelta:
    """Return one second, doubled with each failure in a row, at most `longest`."""
    pause: timedelta = min(_FIRST_PAUSE * 2 ** min(in_a_row - 1, 20), longest)
    return pause


def shorter(interval: timedelta, share: float) -> timedelta:
    """Return an interval jittered downwards: by up to a tenth for each 0.5 of `share`."""
    return interval * (1 - 2 * _JITTER * min(max(share, 0.0), 1.0))


def share_of(key_set: str, chance: float) -> float:
    """Mix a stable part, which keeps key sets apart, with chance, which keeps replicas apart."""
    stable: float = zlib.crc32(key_set.encode()) / 0xFFFFFFFF
    return (stable + chance) / 2


def _next_date(outcome: Outcome, policy: RotationPolicy, now: datetime) -> datetime | None:
    """Return the nearest date yet to come; one that has passed waits for evidence, not for the clock."""
    step = outcome.step
    asked = (
        next_deadline(outcome.ring, policy, now),
        step.due_at if step.do is Do.WAIT else None,
    )
    return min((date for date in asked if date is not None and date > now), default=None)
