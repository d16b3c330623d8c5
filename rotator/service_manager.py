"""Telling systemd how the service is: sd_notify(3) without its library, which is one datagram per message."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

_MICROSECOND: Final = timedelta(microseconds=1)
_PATIENCE: Final = 1.0  # seconds


class Notifier:
    """Speaks to the service manager that started this process, and to nobody when none did.

    Args:
        environ: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are.

    Attributes:
        watchdog_every: how often to say that the process lives, half of what the manager asks for
            (sd_watchdog_enabled(3)); None when it does not ask.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_every = _watchdog(environ) if self._address else None

    def ready(self, status: str) -> None:
        """Say that the service does what it is for, at the start and after each reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` follows, whatever comes of it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", "STATUS=finishing the steps under way")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog, if there is one."""
        if self.watchdog_every is not None:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # A line break would begin another assignment.
        message = "\n".join(" ".join(line.splitlines()) for line in lines).encode()
        # A manager that is being restarted, or does not read, must not hold up the rotation.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.settimeout(_PATIENCE)
            sender.sendto(message, self._address)


def _address(named: str) -> str | None:
    """Return the address of the manager's socket; one that begins with `@` is abstract (unix(7))."""
    if named[:1] == "@":
        return "\0" + named[1:]
    return named if named[:1] == "/" else None


def _watchdog(environ: Mapping[str, str]) -> timedelta | None:
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (microseconds.isascii() and microseconds.isdigit()) or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) * _MICROSECOND / 2 or None
