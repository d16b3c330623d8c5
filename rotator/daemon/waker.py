"""What the daemon's main thread waits on: a pair of sockets that other threads and signals write to.

Not a `threading.Event`: its lock is not reentrant, and a signal that comes while the main thread holds it
would make the handler wait for the very thread that it interrupted.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""Those that ask for the end."""


class Waker:
    """Wakes the main thread, and tells it when to stop.

    Attributes:
        stopping: True once somebody asked for the end.
        signal: the number of the signal that did, None when it was none.
        impatient: True when a second signal came.
        reloading: True when SIGHUP came since `take_reload` was last called.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.stopping = False
        self.signal: int | None = None
        self.impatient = False
        self.reloading = False

    def wake(self) -> None:
        """End the present wait, or the next one. May be called from any thread and from a handler."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._writer.send(b"\0")

    def stop(self, number: int | None = None) -> None:
        """Ask for the end; `number` is the signal that did."""
        self.impatient = self.impatient or (self.stopping and number is not None)
        if not self.stopping:
            self.signal = number
        self.stopping = True
        self.wake()

    def reload(self) -> None:
        """Ask for the configuration to be read again."""
        self.reloading = True
        self.wake()

    def take_reload(self) -> bool:
        """Tell whether that was asked since the last call."""
        if not self.reloading:
            return False
        self.reloading = False  # a signal that comes only now is obeyed by the reload that follows
        return True

    def wait(self, seconds: float) -> None:
        """Wait to be woken, at most for some seconds."""
        readable, _, _ = select.select([self._reader], [], [], max(seconds, 0.0))
        if readable:
            with contextlib.suppress(BlockingIOError):
                while len(self._reader.recv(4096)) == 4096:
                    continue

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, reload on SIGHUP, while the block runs; in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self.reload()
            else:
                self.stop(number)

        # The handler alone could come too late: it runs between two instructions of Python, and a
        # signal just before the wait begins would be noticed only when that ends.
        before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number in (*SIGNALS, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            signal.set_wakeup_fd(before_fd)

    def close(self) -> None:
        """Let go of the sockets."""
        self._reader.close()
        self._writer.close()
