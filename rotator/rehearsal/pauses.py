"""Stopping and killing work between any two calls across a wall, the same way for the same seed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

_FOREVER: Final = -1


class Crash(BaseException):
    """The process is gone. No code of the program may catch it, just as none catches `kill -9`."""


class Gate:
    """What every call across a wall of one process passes, before and after its effect.

    Attributes:
        crash_at: the number of the passage at which the process dies; None for never.
        passed: how many passages there were since `arm`.
    """

    def __init__(self) -> None:
        self.crash_at: int | None = None
        self.passed = 0
        self.work: Work | None = None

    def arm(self, crash_at: int | None) -> None:
        """Count passages from here, and die at one of them."""
        self.passed, self.crash_at = 0, crash_at

    def __call__(self) -> None:
        """Pass, stand still, or die.

        Raises:
            Crash: this process was to die here.
        """
        self.passed += 1
        if self.crash_at is not None and self.passed >= self.crash_at:
            self.crash_at = None
            raise Crash
        if self.work is not None:
            self.work.pause_here()


class Work:
    """A piece of work that can stand still at any gate while the rest of the world goes on.

    It runs in a thread of its own, but never at the same time as anything else: control is handed over
    and back, so that what happens depends on the caller alone.
    """

    def __init__(self, gate: Gate, act: Callable[[], object]) -> None:
        self._gate = gate
        self._act = act
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._budget = 0
        self._dead = False
        self.finished = False
        self.error: BaseException | None = None

    def go_on(self, passages: int | None = None) -> bool:
        """Let it run for some passages of its gate, or to its end; return whether it has ended.

        Raises:
            BaseException: what the work itself raised, but for `Crash`.
        """
        if self.finished:
            return True
        self._budget = _FOREVER if passages is None else passages
        self._gate.work = self
        if self._thread.is_alive():
            self._go.release()
        else:
            self._thread.start()
        self._stopped.acquire()
        self._gate.work = None
        if self._ended():
            self._thread.join()
            if self.error is not None and not isinstance(self.error, Crash):
                raise self.error
        return self._ended()

    def kill(self) -> None:
        """Let it die where it stands."""
        self._dead = True
        if self._thread.is_alive():
            self.go_on()
        self.finished = True

    def _ended(self) -> bool:
        return self.finished  # set in the other thread

    def pause_here(self) -> None:
        """Hand control back when the budget is used up; called by the gate in the work's thread."""
        if self._budget == 0:
            self._stopped.release()
            self._go.acquire()
            if self._dead:
                raise Crash
        elif self._budget > 0:
            self._budget -= 1

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits in `go_on`
            self.error = error
        self.finished = True
        self._stopped.release()
