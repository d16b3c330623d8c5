"""The clock of this machine, as the tick reads it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["HostClock"]

# macOS has no CLOCK_BOOTTIME; its monotonic clock is the nearest thing there, and a suspend then
# looks like a leap of the wall clock, which only makes the program more careful.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", None)


@dataclass(frozen=True, slots=True)
class HostClock:
    """The wall clock, and a clock that nobody can set.

    `CLOCK_BOOTTIME` counts while the machine is suspended and `CLOCK_MONOTONIC` does not, which is
    how an absence is told from a leap (clock_gettime(2)). Implements `rotator.reconcile.look.Clock`.
    """

    def now(self) -> datetime:
        """Read the wall clock.

        Returns:
            The time in UTC, with its zone.
        """
        return datetime.now(UTC)

    def elapsed(self) -> timedelta:
        """Read the clock that only ever goes forward.

        Returns:
            The time since the machine started, suspends included; only differences mean something.
        """
        seconds = time.monotonic() if _ELAPSED is None else time.clock_gettime(_ELAPSED)
        return timedelta(seconds=seconds)
