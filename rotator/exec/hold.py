"""The supervisor's side of the holder: see `rotator.exec.holder`."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Final

from rotator.exec import holder
from rotator.exec.handing import DESCRIPTOR, PATH

_PATIENCE: Final = 10.0  # seconds; it answers within a millisecond


class Hold:
    """Where a command finds its file: in itself, or, when it is to open it again, in a holder.

    Args:
        lasting: whether the command is told of a new key by a signal, and opens the same path again.
    """

    def __init__(self, *, lasting: bool) -> None:
        self._lasting = lasting
        self._channel: socket.socket | None = None
        self.pid: int | None = None

    @property
    def lasting(self) -> bool:
        """Whether the command gets its file from a holder, and has none of its own."""
        return self._lasting

    def path(self) -> str:
        """Return the path that the command opens."""
        return PATH if self.pid is None else f"/proc/{self.pid}/fd/{DESCRIPTOR}"

    def show(self, descriptor: int) -> bool:
        """Let the path show another file from now on.

        Returns:
            False when the holder ended and there is another one, at another path.

        Raises:
            OSError: there is no process to be had, or it does not answer.
        """
        if not self._lasting:
            return True
        if self._channel is not None and self._pass(self._channel, descriptor):
            return True
        lost = self._channel is not None
        self.close()
        self._start()
        if self._channel is None or not self._pass(self._channel, descriptor):
            raise OSError("the process that holds the memory file does not answer")
        return not lost

    def _pass(self, channel: socket.socket, descriptor: int) -> bool:
        try:
            socket.send_fds(channel, [b"."], [descriptor])
            return channel.recv(1) == b"."
        except OSError:
            return False

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(_PATIENCE)
        program = [sys.executable, "-I", "-S", holder.__file__, str(DESCRIPTOR)]
        with theirs:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                self.pid = os.posix_spawn(
                    sys.executable,
                    program,
                    {},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                        (os.POSIX_SPAWN_DUP2, null, 1),
                        (os.POSIX_SPAWN_DUP2, null, 2),
                    ],
                    setsid=True,
                    setsigdef=[signal.SIGTERM],
                )
            finally:
                os.close(null)
        self._channel = ours

    def close(self) -> None:
        """Let the holder end, and the file with it."""
        if self._channel is not None:
            self._channel.close()
        self._channel = self.pid = None
