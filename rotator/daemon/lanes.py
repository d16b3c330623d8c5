"""Worker threads, a few for each store, so that a store that hangs holds up nobody but its own key sets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Final, Protocol

FAST: Final = 8
SLOW: Final = 2
"""Workers per store, for key sets whose last tick went well and for those that were slow or failed."""

Job = Callable[[], None]


class Workers(Protocol):
    """What the daemon needs of worker threads."""

    def submit(self, lane: tuple[str, bool], job: Job) -> None:
        """Run a job soon. A lane is the name of a store, and whether the job is expected to be slow."""
        ...

    def close(self) -> None:
        """Start no job any more, and forget those that wait."""
        ...

    def wait_idle(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the jobs under way, after `close`. True when none is left."""
        ...


class Lanes:
    """Threads for each store, made when first needed.

    They are daemon threads, unlike those of `concurrent.futures`: a call to a store that never returns
    must not keep the process from ending.
    """

    def __init__(self, fast: int = FAST, slow: int = SLOW) -> None:
        self._sizes = {False: fast, True: slow}
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._retired: list[_Lane] = []

    def submit(self, lane: tuple[str, bool], job: Job) -> None:
        """Run a job in a lane as soon as one of its threads is free."""
        if lane not in self._lanes:
            name = f"{lane[0]}-slow" if lane[1] else lane[0]
            self._lanes[lane] = _Lane(name, self._sizes[lane[1]])
        self._lanes[lane].submit(job)

    def keep(self, stores: Collection[str]) -> None:
        """End the threads of every other store, once their jobs under way are over; forget those that wait."""
        for name in [name for name in self._lanes if name[0] not in stores]:
            lane = self._lanes.pop(name)
            lane.close()
            self._retired.append(lane)
        self._retired = [lane for lane in self._retired if not lane.wait_idle(0.0)]

    def close(self) -> None:
        """Start no job any more, and forget those that wait."""
        for lane in self._lanes.values():
            lane.close()

    def wait_idle(self, timeout: float) -> bool:
        """Wait for the jobs under way; see `Workers.wait_idle`."""
        until = time.monotonic() + timeout
        return all(lane.wait_idle(until) for lane in (*self._lanes.values(), *self._retired))


class _Lane:
    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = self._idle = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                return
            self._jobs.append(job)
            if self._idle < len(self._jobs) and self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def wait_idle(self, until: float) -> bool:
        with self._changed:
            left = max(until - time.monotonic(), 0)
            return self._changed.wait_for(lambda: self._threads == 0, left)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._jobs or self._closed)
                self._idle -= 1
                if not self._jobs:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                job = self._jobs.popleft()
            job()
