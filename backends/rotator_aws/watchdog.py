"""One thread that ends what takes too long, for the whole process: a thread for each call would cost more than the call.

It starts with the first call that is watched, and sleeps until the nearest end among them; most calls are
answered long before, and never wake it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Calls back when a time is over. Threads share it; a forked process gets one of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes_at: float | None = None  # None: it sleeps until it is woken, or was not started
        self._started = False

    @contextmanager
    def watching(self, seconds: float, end: Callable[[], None]) -> Iterator[None]:
        """Call `end`, in another thread, if the block is still running after so many seconds."""
        ticket, at = object(), time.monotonic() + seconds
        with self._changed:
            if not self._started:
                threading.Thread(target=self._run, name="aws-watchdog", daemon=True).start()
                self._started = True
            self._ends[ticket] = (at, end)
            if self._wakes_at is None or self._wakes_at > at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._ends.pop(ticket, None)

    def _run(self) -> None:
        while True:
            for end in self._over():
                end()

    def _over(self) -> list[Callable[[], None]]:
        """Sleep until something is over, and return what to call for it."""
        with self._changed:
            while True:
                now = time.monotonic()
                over = [ticket for ticket, (at, _) in self._ends.items() if at <= now]
                if over:
                    return [self._ends.pop(ticket)[1] for ticket in over]
                self._wakes_at = min((at for at, _ in self._ends.values()), default=None)
                self._changed.wait(None if self._wakes_at is None else self._wakes_at - now)


class _Shared:
    watchdog = Watchdog()


def _renew() -> None:
    # The thread did not come along, and another thread of the parent may have held the lock.
    _Shared.watchdog = Watchdog()


os.register_at_fork(after_in_child=_renew)


def watchdog() -> Watchdog:
    """Return the watchdog of this process."""
    return _Shared.watchdog
