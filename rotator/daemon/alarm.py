"""APScheduler as an alarm clock: one job, at the earliest turn.

How its traps are kept away from: dates are UTC, so no hour comes twice or never; the job has one date
and no interval, so a leap of ten years makes one run and not a run for each second missed; no run is
dropped for being late; and it is set anew from CLOCK_BOOTTIME at each heartbeat, so neither a clock set
back nor a suspend puts it off for longer than that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

_JOB: Final = "earliest"
_FARTHEST: Final = timedelta(days=1)  # heartbeats set it anew long before


class Alarm(Protocol):
    """Something that rings once, after a while."""

    def set(self, delay: timedelta) -> None:
        """Ring after `delay`, instead of whenever it was set to before."""
        ...

    def close(self) -> None:
        """Never ring again."""
        ...


class SchedulerAlarm:
    """An alarm kept by APScheduler's background thread.

    Args:
        ring: called in a thread of the scheduler; returns at once.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.date import DateTrigger

        self._ring = ring
        # By its name it would be looked up in the installed packages at the first alarm: files, when there may
        # be no descriptor left to open them with.
        self._at: Any = DateTrigger
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC,
            job_defaults={
                "coalesce": True,
                # With 1, an alarm that comes while the one before is still being noted as done is
                # skipped, and a job with one date is then gone. To wake twice is harmless.
                "max_instances": 1000,
                "misfire_grace_time": None,
            },
            executors={"default": {"type": "threadpool", "max_workers": 1}},
        )
        self._scheduler.start()

    def set(self, delay: timedelta) -> None:
        """Ring after `delay`; also makes the scheduler look at the clock at once."""
        date = datetime.now(UTC) + min(max(delay, timedelta(0)), _FARTHEST)
        self._scheduler.add_job(self._ring, self._at(date), id=_JOB, replace_existing=True)
        self._scheduler.wakeup()

    def close(self) -> None:
        """End the scheduler's thread."""
        # A job that is due at this moment would end that thread with a JobLookupError instead:
        # `shutdown` changes the state without waiting for the look at the jobs to be over (3.11.3).
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=False)
