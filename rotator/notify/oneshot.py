"""Notifications of a command that ends: sent after its ticks, within a bounded time; the rest is for the next run."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from rotator.notify.desk import Desk
from rotator.reconcile.site import Emit

WITHIN: Final = timedelta(seconds=15)
"""How long a command waits for receivers; one that refuses at once is not waited for."""

_GLANCE: Final = 0.05  # seconds
_FAREWELL: Final = 1.0  # seconds


class Deferred:
    """Workers that keep every job until `run_all`, so that a ledger is read once, after all ticks."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()

    def submit(self, lane: tuple[str, bool], job: Callable[[], None]) -> None:  # noqa: ARG002 - one thread for all
        """Keep a job."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def run_all(self) -> None:
        """Run what was kept, and what comes meanwhile, in this thread."""
        while True:
            with self._changed:
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            job()

    def wait(self, seconds: float) -> None:
        """Wait for another job."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs, seconds)


def deliver(desk: Desk, workers: Deferred, emit: Emit, within: timedelta = WITHIN) -> None:
    """Send what is to be told, and say of whom that was not possible.

    Args:
        within: how long; what is under way then is cut short, and sent again by the next run.
    """
    until = time.monotonic() + within.total_seconds()
    while True:
        workers.run_all()
        if all(post.waits for post in desk.posts.values()) or time.monotonic() >= until:
            break
        workers.wait(_GLANCE)
    figures = desk.figures()
    desk.close(_FAREWELL)
    workers.run_all()
    for item in figures:
        if item.pending:
            emit(
                "warning",
                "notification.left",
                receiver=item.name,
                pending=item.pending,
                hint="the next run of `rotator rotate`, or `rotator run`, sends them",
            )
