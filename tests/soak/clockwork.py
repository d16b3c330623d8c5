"""Both clocks of a host, and a daemon's wait and alarm on them: its loop runs through years without waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator.daemon import Waker

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clockwork(Waker):
    """A waker whose waits take no time, a clock that they move, and the alarm that ends them.

    Implements `rotator.daemon.alarm.Alarm` and `rotator.reconcile.look.Clock` too. Only for workers that tick at
    once, in the daemon's own thread: then nothing can wake it but the alarm.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed = timedelta(0)
        self._rings_at: timedelta | None = None

    def now(self) -> datetime:
        """Return the wall clock."""
        return START + self.passed

    def elapsed(self) -> timedelta:
        """Return CLOCK_BOOTTIME."""
        return self.passed

    def set(self, delay: timedelta) -> None:
        """Ring after `delay`."""
        self._rings_at = self.passed + delay

    def wake(self) -> None:
        """Nothing: nobody waits in another thread."""

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass, or fewer when the alarm rings before."""
        until = self.passed + timedelta(seconds=seconds)
        if self._rings_at is not None and self._rings_at < until:
            until, self._rings_at = max(self._rings_at, self.passed), None
        self.passed = until
