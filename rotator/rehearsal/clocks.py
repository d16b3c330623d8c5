"""True time, which nobody in the world knows, and the clocks that hosts have instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.policy import ZERO
from rotator.rehearsal.pauses import Gate

START: Final = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class TrueTime:
    """The time that every clock of the world is compared with."""

    now: datetime = START

    def advance(self, duration: timedelta) -> None:
        """Let time pass; it never goes back."""
        if duration < ZERO:
            raise ValueError("true time does not go back")
        self.now += duration


@dataclass(slots=True)
class Host:
    """A machine: its wall clock is `offset` away from true time; a jump changes the offset.

    CLOCK_BOOTTIME follows true time, suspends included.
    """

    name: str
    true: TrueTime
    offset: timedelta = ZERO
    booted: datetime = field(default=START)

    def reads(self, wall: datetime) -> datetime:
        """Return the true time at which this host's wall clock shows a date."""
        return wall - self.offset


@dataclass(slots=True)
class HostClock:
    """`rotator.reconcile.look.Clock` of one process on a host.

    Reading CLOCK_BOOTTIME passes the gate first: that is where a process stands still just before it
    asks whether it may still write.
    """

    host: Host
    gate: Gate

    def now(self) -> datetime:
        """Return the host's wall clock."""
        return self.host.true.now + self.host.offset

    def elapsed(self) -> timedelta:
        """Return the host's CLOCK_BOOTTIME."""
        self.gate()
        return self.host.true.now - self.host.booted
