"""The other clients of a server under attack: honest ones, and slow ones."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Self

from tests.fuzz.ground import BOUND, SERVED_WITHIN
from tests.fuzz.wire import Finding


@dataclass
class Canary:
    """An honest client: one connection that is kept, and new ones, for as long as the attack lasts."""

    address: tuple[str, int]
    path: str = "/web/jwks.json"
    times: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin to ask."""
        self._stop = threading.Event()
        with contextlib.closing(self._connect()) as connection:
            self._expected = self._ask(connection)
        self._threads = [
            threading.Thread(target=self._run, args=(kept,), daemon=True) for kept in (True, False)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Ask no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(BOUND)

    @property
    def served(self) -> int:
        """How many requests were answered."""
        return len(self.times)

    @property
    def late(self) -> float:
        """The seconds that requests took beyond what they may, all together."""
        return sum(max(0.0, taken - SERVED_WITHIN) for taken in self.times)

    def report(self) -> str:
        """How it was served."""
        times = sorted(self.times) or [0.0]
        p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
        return (
            f"honest clients: {self.served} requests, p50 {times[len(times) // 2] * 1e3:.1f} ms, "
            f"p99 {p99 * 1e3:.1f} ms, slowest {times[-1] * 1e3:.0f} ms, {len(self.faults)} faults"
        )

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=BOUND)

    def _ask(self, connection: http.client.HTTPConnection) -> bytes:
        connection.request("GET", self.path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Finding(f"an honest client got {answer.status}")
        return body

    def _run(self, kept: bool) -> None:
        connection = self._connect()
        while not self._stop.wait(0.02):
            began = time.monotonic()
            try:
                if self._ask(connection) != self._expected:
                    self.faults.append("an honest client got another document")
            except (OSError, http.client.HTTPException, Finding) as error:
                self.faults.append(f"{'kept' if kept else 'new'} connection: {error!r}")
                connection.close()
            self.times.append(time.monotonic() - began)
            if not kept:
                connection.close()
        connection.close()


class Idlers:
    """Clients that take a connection and give nothing for it, there again as soon as they are thrown out.

    Each kind is slow in its own way: says nothing; drips a head; stops in the middle of one; keeps a
    connection for later; promises a body; never reads its answers.
    """

    _ASK: Final = b"GET /web/jwks.json HTTP/1.1\r\nHost: idle\r\n\r\n"
    KINDS: Final = {
        "silent": b"",
        "dripping": b"GET /web/jwks.json HTTP/1.1\r\nX-Slow: ",
        "stopped": b"GET /web/jwks.json HTTP/1.1\r\nHost: id",
        "idle": _ASK,
        "bodiless": b"POST /web/jwks.json HTTP/1.1\r\nHost: idle\r\nContent-Length: 99\r\n\r\n",
        "chunkless": b"POST /web/jwks.json HTTP/1.1\r\nHost: idle\r\nTransfer-Encoding: chunked\r\n\r\n",
        "unread": _ASK * 400,
    }

    def __init__(self, address: tuple[str, int], each: int, patience: float) -> None:
        self.lives: dict[str, list[float]] = {kind: [] for kind in self.KINDS}
        """How long connections of each kind lasted, in seconds."""
        self._address, self._patience, self._until = address, patience, 0.0
        self._kinds = [kind for kind in self.KINDS for _ in range(each)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Take the connections."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Come no more; those that are there wait, with patience, until they are thrown out."""
        self._until = time.monotonic() + self._patience
        self._stop.set()
        self._thread.join(self._patience + BOUND)

    def _run(self) -> None:
        pause, began = threading.Event(), time.monotonic()
        there = {self._come(kind): (kind, began) for kind in self._kinds}
        while there and (not self._stop.is_set() or time.monotonic() < self._until):
            pause.wait(0.25)
            for sock, (kind, since) in list(there.items()):
                if not self._over(sock, kind):
                    continue
                self.lives[kind].append(time.monotonic() - since)
                sock.close()
                del there[sock]
                if not self._stop.is_set():
                    there[self._come(kind)] = (kind, time.monotonic())
        for sock, (kind, since) in there.items():
            self.lives[kind].append(time.monotonic() - since)
            sock.close()

    def _come(self, kind: str) -> socket.socket:
        sock = socket.socket()
        if kind == "unread":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(BOUND)
        sock.connect(self._address)
        sock.settimeout(0)
        with contextlib.suppress(OSError):
            sock.send(self.KINDS[kind])
        return sock

    def _over(self, sock: socket.socket, kind: str) -> bool:
        """Be as slow as the kind is; return whether the server has ended the connection."""
        try:
            if kind == "dripping":
                sock.send(b"a")
            if kind == "unread":
                # Without reading, only a write can tell; the server's door is full, so mostly it waits.
                sock.send(self.KINDS[kind])
                return False
            return sock.recv(65536) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
