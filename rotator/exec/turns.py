"""What the supervisor waits for, in one place: signals, ended children, descriptors, and the time."""

from __future__ import annotations

import math
import os
import select
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

from rotator.exec import linux

PASSED_ON: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
"""Signals that are the command's."""

_LONGEST: Final = 5.0  # seconds of one wait: poll(2) does not count a suspend


class Readable(Protocol):
    """What can be waited for."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class Turns:
    """Waits, one turn after the other.

    Args:
        on_signal: called with each of `PASSED_ON`.
        on_child: called when a child ended or stopped.
    """

    def __init__(
        self, on_signal: Callable[[signal.Signals], None], on_child: Callable[[], None]
    ) -> None:
        self._on_signal, self._on_child = on_signal, on_child
        self._hearing: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        self._wake: tuple[int, int] | None = None
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._before: dict[signal.Signals, Any] = {}

    def enter(self) -> None:
        """Take over the signals."""
        wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake
        self._poll.register(wake[0], select.POLLIN)
        for number in (*PASSED_ON, signal.SIGCHLD):
            # What this process was told to ignore (nohup(1)), the command ignores too.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _noted)
        # For the terminal: it is the command's while that runs.
        self._before[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.set_wakeup_fd(wake[1], warn_on_full_buffer=False)

    def leave(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self._wake or ():
            os.close(end)
        self._wake = None

    def listen(self, source: Readable, hear: Callable[[], None]) -> None:
        """Call something whenever a descriptor is readable."""
        self._hearing[source.fileno()] = hear
        self._poll.register(source.fileno(), select.POLLIN)

    def unlisten(self, source: Readable) -> None:
        """Do so no longer."""
        del self._hearing[source.fileno()]
        self._poll.unregister(source.fileno())

    def later(self, at: float, act: Callable[[], None]) -> None:
        """Call something when the time has come, once."""
        self._later.append((at, act))

    def turn(self, until: float = math.inf) -> None:
        """Wait for whatever comes next, but not longer than until some time, and deal with it."""
        now = linux.now()
        soonest = min([until, now + _LONGEST, *(at for at, _ in self._later)])
        # Rounded up: a wait that ends too early by less than a millisecond would be many.
        for number, _ in self._poll.poll(math.ceil(max(0.0, soonest - now) * 1000)):
            if self._wake is not None and number == self._wake[0]:
                self._signals(os.read(number, 4096))
            elif number in self._hearing:
                self._hearing[number]()
        now = linux.now()
        due = [act for at, act in self._later if at <= now]
        self._later = [(at, act) for at, act in self._later if at > now]
        for act in due:
            act()

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._on_child()
            elif number in PASSED_ON:
                self._on_signal(signal.Signals(number))


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the number was written to the pipe that `turn` waits for (signal.set_wakeup_fd)."""
