"""Telling when a command is ready: it says so (sd_notify(3)), it answers at a URL, or it has lived long enough."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import struct
import time
from typing import Final
from urllib.parse import urlsplit

from rotator.errors import UsageError
from rotator.exec import child, linux
from rotator.exec.orders import Ready

_BETWEEN: Final = 0.1  # seconds between two requests
_PATIENCE: Final = 2.0  # seconds for one answer
_LARGEST: Final = 4096  # bytes of a message
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class Wait:
    """Waits for one start of a command to become ready. Make it before the start, for what it adds to the environment.

    Raises:
        OSError: there is no socket or process to be had.
    """

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._since = 0.0
        self._said = self._answered = False
        self.socket = _listening() if ready.notify else None
        self.pid: int | None = None
        """The process that asks the URL."""

    @property
    def environ(self) -> dict[str, str]:
        """What the command's environment needs."""
        if self.socket is None:
            return {}
        return {"NOTIFY_SOCKET": "@" + self.socket.getsockname()[1:].decode()}

    def begin(self) -> None:
        """Note that the command was started, and begin to ask."""
        self._since = linux.now()
        url = self._ready.url
        if url is not None:
            self.pid = child.fork(lambda: _ask(url))

    @property
    def until(self) -> float:
        """When it is time to look at `over`, or to give up."""
        return self._since + (self.limit if self._asking else self._ready.after)

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        return self._ready.timeout

    @property
    def _asking(self) -> bool:
        return self._ready.url is not None or self._ready.notify

    def over(self) -> bool:
        """Tell whether the command is ready."""
        if self._ready.notify:
            return self._said
        if self._ready.url is not None:
            return self._answered
        return linux.now() - self._since >= self._ready.after

    def hear(self) -> None:
        """Take what was said to the socket, from the command, its descendants, or this user."""
        if self.socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                said, ancillary, _, _ = self.socket.recvmsg(_LARGEST, socket.CMSG_SPACE(12))
                lines = said.decode(errors="replace").splitlines()
                if "READY=1" in lines and any(_may_speak(data) for _, _, data in ancillary):
                    self._said = True

    def ended(self, pid: int, status: int) -> None:
        """Take the end of a process: that of the one that asks says that it was answered."""
        if pid == self.pid:
            self.pid = None
            self._answered = status == 0

    def close(self) -> None:
        """Ask and listen no more."""
        self.settle()
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def settle(self) -> None:
        """Ask no more: it is ready, or will not be."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _listening() -> socket.socket:
    # An abstract name needs no directory to write to; who speaks is asked of the kernel, not of the name.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    listener.bind(f"\0rotator-exec-{secrets.token_hex(16)}")
    return listener


def _may_speak(data: bytes) -> bool:
    if len(data) != _CREDENTIALS.size:
        return False
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return uid in (0, os.geteuid()) or linux.descends(pid)


def check_url(url: str) -> None:
    """Refuse what is no URL that can be asked. Raises UsageError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            "--ready-url takes a URL such as http://127.0.0.1:8000/healthz",
            hint="the command is ready when it answers there with 200 to 299",
        )


def _ask(url: str) -> None:
    while not _answers(url):
        time.sleep(_BETWEEN)


def _answers(url: str) -> bool:
    """Ask once. No redirect is followed: what is asked is the command itself."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        import ssl

        # Its certificate is for the name that its clients know, and nothing secret is sent.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=_PATIENCE, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE)
    with contextlib.closing(connection):
        try:
            connection.request(
                "GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            )
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
