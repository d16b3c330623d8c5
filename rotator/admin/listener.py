"""The listener: an event loop in a thread of its own, which no slow or hostile client can hold up.

A health check must get its answer while others misbehave: connections are few and short, the one that has
kept us waiting longest makes place for a new one, and what takes time is done in other threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from rotator.admin.exchange import (
    BROKEN,
    END,
    LIMIT,
    TOO_LARGE,
    TOO_LATE,
    Answer,
    Route,
    rendered,
    understood,
)
from rotator.errors import ConfigError, TargetFailing
from rotator.sockets import listen

CONNECTIONS: Final = 64
HEAD_SECONDS: Final = 5.0
"""For the head of a request."""
ANSWER_SECONDS: Final = 30.0
"""For the answer to be made and taken."""
_LINGER: Final = 1.0  # seconds for a client to close, so that a reset does not take its answer away
_BACKLOG: Final = 16
"""Below `CONNECTIONS`: one round of accepting must not push out those that came just before."""
_RETRY: Final = 0.5  # seconds until an address that was taken is tried again
_START: Final = 10.0


class AdminListener:
    """Answers GET and HEAD for a few paths.

    Args:
        host: address or name to listen at.
        port: TCP port; 0 takes a free one, see `url`.
        routes: by path, what makes the answer; called in a worker thread, never twice at once.
        quick: paths whose answer takes no time and no lock; made in the loop itself, whatever else hangs.
    """

    def __init__(
        self, host: str, port: int, routes: Mapping[str, Route], quick: frozenset[str] = frozenset()
    ) -> None:
        self._host, self._port = host, port
        self._routes = dict(routes)
        self._quick = {self._routes[path] for path in quick}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self._workers = ThreadPoolExecutor(len(routes) or 1, "admin")
        self._making: dict[Route, asyncio.Future[Answer]] = {}
        self._open: dict[_Connection, None] = {}  # in the order in which they came

    @property
    def url(self) -> str:
        """The listener's URL from this machine, without a final slash; after `start`."""
        host, port = self._socket.getsockname()[:2] if self._socket else (self._host, self._port)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def bind(self) -> None:
        """Take the address, before `start`; who connects waits until then.

        Raises:
            TargetFailing: another program has it.
            ConfigError: an address that this host does not have, or may not use.
        """
        self._socket = _bind(self._host, self._port)

    def start(self, listening: Callable[[], None], taken: Callable[[TargetFailing], None]) -> None:
        """Listen, and answer from another thread.

        An address that another program has is waited for in that thread: during an upgrade it is the daemon
        before this one, and nobody's rotation must depend on being looked at.

        Args:
            listening: called once it listens, perhaps from that thread.
            taken: called when it has to wait for the address, with the reason.

        Raises:
            ConfigError: an address that this host does not have, or may not use.
        """
        if self._socket is None:
            try:
                self.bind()
            except TargetFailing as error:
                taken(error)
        began = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listening, began), name="admin", daemon=True
        )
        self._thread.start()
        if self._socket is not None:
            began.wait(_START)

    def stop(self) -> None:
        """Close every connection and listen no more."""
        self._stopping.set()
        loop, thread = self._loop, self._thread
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(_START)
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self._socket is not None:
            self._socket.close()

    def _run(self, listening: Callable[[], None], began: threading.Event) -> None:
        while self._socket is None:
            if self._stopping.wait(_RETRY):
                return
            with contextlib.suppress(TargetFailing, ConfigError):
                self._socket = _bind(self._host, self._port)
        self._loop = loop = asyncio.new_event_loop()
        try:
            server = loop.run_until_complete(
                loop.create_server(
                    lambda: _Connection(self, loop), sock=self._socket, backlog=_BACKLOG
                )
            )
            began.set()
            listening()
            if self._stopping.is_set():
                return
            loop.run_forever()
            server.close()
            for connection in list(self._open):
                connection.abort()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            began.set()
            loop.close()

    def admit(self, connection: _Connection) -> None:
        """Take a connection in; when there are too many, the one that has waited longest makes place."""
        if len(self._open) >= CONNECTIONS:
            first = next(iter(self._open))
            waiting = next((item for item in self._open if not item.being_answered), first)
            self.forget(waiting)
            waiting.abort()
        self._open[connection] = None

    def forget(self, connection: _Connection) -> None:
        """Let go of a connection that ended."""
        self._open.pop(connection, None)

    def request(self, head: bytes, connection: _Connection) -> None:
        """Answer one request, at once or when the answer is made."""
        found = understood(head, self._routes)
        if found.route is None:
            connection.answer(found.refusal or BROKEN, head=found.head)
        elif found.route in self._quick:
            connection.answer(_made(found.route), head=found.head)
        else:
            making = self._make(found.route)
            making.add_done_callback(lambda done: connection.answer(done.result(), head=found.head))

    def _make(self, route: Route) -> asyncio.Future[Answer]:
        """Have an answer made; whoever asks for the same meanwhile gets the same one."""
        making = self._making.get(route)
        if making is None:
            loop = asyncio.get_running_loop()
            making = loop.run_in_executor(self._workers, _made, route)
            self._making[route] = making
            making.add_done_callback(lambda _: self._making.pop(route, None))
        return making


def _made(route: Route) -> Answer:
    try:
        return route()
    except Exception as error:  # noqa: BLE001 - a fault in telling must not end the listener
        from rotator.logs import emit

        where = type(error).__name__
        emit("error", "admin.broken", reason=f"unexpected {where}; this is a fault of the program")
        return BROKEN


class _Connection(asyncio.Protocol):
    """One connection: a head within its time and size, one answer, the end."""

    def __init__(self, listener: AdminListener, loop: asyncio.AbstractEventLoop) -> None:
        self._listener, self._loop = listener, loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._data = b""
        self._asked = self._answered = self._ended = False

    @property
    def being_answered(self) -> bool:
        """True from the end of the request until the answer is made."""
        return self._asked and not self._answered

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the head."""
        self._transport = transport
        self._wait(HEAD_SECONDS, lambda: self.answer(TOO_LATE, head=False))
        self._listener.admit(self)

    def data_received(self, data: bytes) -> None:
        """Take more of the head; what comes after it is read and dropped."""
        if self._asked:
            return
        self._data += data
        end = self._data.find(END)
        if end > LIMIT or (end < 0 and len(self._data) > LIMIT):
            self._asked = True
            self.answer(TOO_LARGE, head=False)
        elif end >= 0:
            self._asked = True
            head, self._data = self._data[:end], b""
            self._wait(ANSWER_SECONDS, self.abort)
            self._listener.request(head, self)

    def eof_received(self) -> bool:
        """A client that has said all may still be waiting for its answer; one that has not, is not."""
        self._ended = True
        return self.being_answered

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget everything."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._listener.forget(self)

    def answer(self, answer: Answer, *, head: bool) -> None:
        """Send the one answer, then end."""
        if self._transport is None or self._answered or self._transport.is_closing():
            return
        self._asked = self._answered = True
        self._transport.write(rendered(answer, head=head))
        if answer.status in {400, 408, 431}:
            self._wait(_LINGER, self.abort)
        if self._ended:
            self._transport.close()  # nothing more can come, so nobody will close after us
            return
        with contextlib.suppress(OSError):
            self._transport.write_eof()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def _wait(self, seconds: float, then: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)


def _bind(host: str, port: int) -> socket.socket:
    return listen(host, port, backlog=_BACKLOG, option="admin.listen", who="the admin listener")
