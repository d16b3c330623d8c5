"""Granian as this program runs it: on a socket that the parent bound, answering where the request arrives.

An RSGI application of granian's is a coroutine in an event loop of Python: each request crosses from
granian's thread into the loop's and back, with a system call on either way, which is half of its cost.
Ours never waits for anything. So granian's thread, which holds the interpreter's lock by then anyway, calls
it on the spot (measured: 28 → 16 µs of CPU per request).
"""

from __future__ import annotations

import inspect
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rotator.server.app import App

if TYPE_CHECKING:
    from granian.server.embed import Server

BACKLOG: Final = 1024
_HEADER_TIMEOUT: Final = 10_000  # milliseconds for a request's head, and for an idle connection
_HEADER_BYTES: Final = 16_384
_UNREAD: Final = 10_000  # milliseconds that an answer may lie unread at a client's full door


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a child serves.

    Attributes:
        listener: the number of a listening socket.
        unix: whether that is a Unix socket.
        connections: how many at a time; more wait in the backlog.
        cert_file: PEM of the certificate and what lies between it and the root; None without TLS.
        key_file: PEM of its private key.
    """

    listener: int
    unix: bool
    connections: int
    cert_file: Path | None = None
    key_file: Path | None = None


def granian_server(app: App, terms: Terms) -> Server:
    """Return granian, ready to `serve()`.

    Raises:
        OSError, ssl.SSLError: certificate and key cannot be read, or do not belong together.
    """
    from granian import net
    from granian.constants import HTTPModes, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server import embed

    # Takes (fd, is_uds, backlog), since granian 2.5; its stubs leave that out.
    make_holder: Any = net.SocketHolder  # type: ignore[attr-defined]

    class Inherited(embed.Server):
        """A restart loses no connection, and port 0 works."""

        def _init_shared_socket(self) -> None:
            self._ssp = None
            self._shd = make_holder(terms.listener, terms.unix, BACKLOG)

    _answer_in_place(embed, app)
    if not terms.unix:
        _drop_who_does_not_read(terms.listener)
    return Inherited(
        app,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=terms.connections,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_TIMEOUT,
            max_buffer_size=_HEADER_BYTES,
            # Never pipeline_flush: what follows a request in one packet and is none (a stray CRLF is
            # enough) then takes the answer of the request before it along (tests/fuzz).
        ),
        ssl_cert=_as_it_is(terms.cert_file),
        ssl_key=_as_it_is(terms.key_file),
        ssl_protocol_min=SSLProtocols.tls12,
        log_enabled=False,
    )


class _AsItIs(type(Path())):  # type: ignore[misc]
    """A path that granian does not resolve: what lies in memory has a name only below `/proc/self/fd`."""

    def resolve(self, strict: bool = False) -> Path:  # noqa: ARG002 - pathlib's signature
        """Return this."""
        return self


def _as_it_is(path: Path | None) -> Path | None:
    return None if path is None else _AsItIs(path)


def _drop_who_does_not_read(listener: int) -> None:
    """Bound how long a client may leave its answers unread: enough of them would take every connection.

    Granian bounds only the reading of requests. Connections inherit this from the listening socket (tcp(7),
    Linux; elsewhere there is no such bound).
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with socket.socket(fileno=os.dup(listener)) as shared:
            shared.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)


def _answer_in_place(embed: Any, app: App) -> None:
    """Have granian call the application where a request arrives, if this granian is built as we know it.

    One that is built differently schedules `App.__rsgi__` by itself: dearer, and right as well.
    """
    from granian._granian import CallbackScheduler

    answer = app.answer

    def schedule(watcher: Any) -> None:
        try:
            answer(watcher.scope, watcher.proto)
        except BaseException as error:  # noqa: BLE001 - granian answers 500 and goes on
            watcher.err(error)
            return
        watcher.done()

    class InPlace(CallbackScheduler):
        """Granian's scheduler, without a loop."""

        __slots__ = ()

        def __init__(self, *_arguments: Any) -> None:
            super().__init__()
            self._schedule_fn = schedule

    known = getattr(embed, "_new_cbscheduler", None)
    if known is None or list(inspect.signature(known).parameters) != ["loop", "cb", "impl_asyncio"]:
        return

    def new_scheduler(loop: Any, cb: Any, impl_asyncio: bool = False) -> Any:  # noqa: ARG001 - its signature
        return InPlace(loop, cb, None, None, None)

    embed._new_cbscheduler = new_scheduler  # noqa: SLF001 - the one place where granian lets itself be told
