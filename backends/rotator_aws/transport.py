"""HTTP for the SDK, bounded in time whatever the other side does.

botocore bounds each single read of a socket, so a server that sends one byte a second would hold a call for
hours. Here a watchdog ends the connection once a whole exchange has had its time. Requests reach this module
by botocore's `before-send` event, which is made for sending them by other means.

Imported only when a store is opened.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import botocore.awsrequest  # noqa: TID253  # see above
import botocore.httpsession  # noqa: TID253
from botocore.exceptions import ReadTimeoutError, ResponseStreamingError  # noqa: TID253
from botocore.utils import get_environ_proxies  # noqa: TID253
from urllib3.exceptions import HTTPError

from rotator_aws.watchdog import watchdog

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from urllib3.connection import HTTPConnection as _Connection
else:
    _Connection = object  # mixed into the SDK's connections, which are urllib3's

_MOST: Final = 2 << 20  # bytes of an object that are read; no document is longer than half of it
_CONNECTIONS: Final = 16  # kept open to one host; a busier moment opens more and closes them again
_LOCAL: Final = threading.local()


class _Exchange:
    """One request and its answer: ends its connections when the time is over."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        self._watched = watchdog().watching(seconds, self._end)

    def __enter__(self) -> Self:
        _LOCAL.exchange = self
        self._watched.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        _LOCAL.exchange = None
        self._watched.__exit__(None, None, None)
        with self._lock:
            for held in self._held:
                held.close()
            self._held.clear()

    def hold(self, connection: socket.socket) -> None:
        """Remember a connection by a descriptor of its own: wrapping it in TLS takes away the first."""
        held = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._held.append(held)
            if self.over:
                _shut(held)

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for held in self._held:
                _shut(held)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _hold(connection: socket.socket | None) -> None:
    exchange: _Exchange | None = getattr(_LOCAL, "exchange", None)
    if exchange is not None and connection is not None and connection.fileno() >= 0:
        exchange.hold(connection)


class _Watched(_Connection):
    """What makes a connection of the SDK known to the exchange that uses it."""

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _hold(connection)
        return connection

    def request(self, *arguments: Any, **keywords: Any) -> Any:
        _hold(self.sock)  # one that was kept open
        return super().request(*arguments, **keywords)


class _Http(_Watched, botocore.awsrequest.AWSHTTPConnection):
    pass


class _Https(_Watched, botocore.awsrequest.AWSHTTPSConnection):
    pass


class _HttpPool(botocore.awsrequest.AWSHTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(botocore.awsrequest.AWSHTTPSConnectionPool):
    ConnectionCls = _Https


class _Session(botocore.httpsession.URLLib3Session):
    """The SDK's connection pools to one host, with watched connections."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        self._manager.pool_classes_by_scheme = self._pool_classes_by_scheme


class Transport:
    """Sends the requests of every client of one store, over connections that it keeps open.

    Args:
        connect_timeout: seconds in which a connection must be made.
        read_timeout: seconds in which one call must be answered, whole.
        verify: a file of CA certificates, or True for those of the SDK.
    """

    def __init__(
        self, *, connect_timeout: float, read_timeout: float, verify: Path | str | bool
    ) -> None:
        self._timeouts = (connect_timeout, read_timeout)
        self._verify = str(verify) if isinstance(verify, Path) else verify
        self._lock = threading.Lock()
        self._sessions: dict[tuple[int, str, str], _Session] = {}

    @property
    def sent(self) -> float:
        """When this thread last began to send a request, by the monotonic clock."""
        return float(getattr(_LOCAL, "sent", time.monotonic()))

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Send one prepared request and return the whole answer; a handler of `before-send`.

        Raises:
            HTTPClientError: as botocore's own sessions do, which clients expect.
        """
        session = self._session(str(request.url))
        _LOCAL.sent = time.monotonic()
        with _Exchange(sum(self._timeouts)) as exchange:
            # The watchdog's shutdown shows as whatever the layers above make of an end of file, which
            # for an answer without a length is a whole answer.
            with _as_timeout(exchange, str(request.url)):
                response = session.send(request)
                if request.stream_output:
                    # Read here, where its time is bounded: whoever asked for it would wait for each byte.
                    response.raw = _whole(response.raw, str(request.url))
            if exchange.over:
                raise ReadTimeoutError(endpoint_url=request.url)
        return response

    def _session(self, url: str) -> _Session:
        parts = urlsplit(url)
        # A forked process has connections of its own: two that share one would read each other's answers.
        key = (os.getpid(), parts.scheme, parts.netloc)
        with self._lock:
            if key not in self._sessions:
                self._sessions = {k: v for k, v in self._sessions.items() if k[0] == key[0]}
                self._sessions[key] = _Session(
                    timeout=self._timeouts,
                    verify=self._verify,
                    proxies=get_environ_proxies(url),
                    max_pool_connections=_CONNECTIONS,
                    # As botocore's own: a body must not wait for the ACK of its headers.
                    socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
                )
            return self._sessions[key]

    def close(self) -> None:
        """Close the connections that are kept open."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for (owner, _, _), session in sessions.items():
            if owner == os.getpid():
                session.close()


class _Body(io.BytesIO):
    """The body of an answer that was read already, in the manner of urllib3's answers."""

    def stream(self, **_: object) -> Iterator[bytes]:
        """Yield what is left."""
        yield self.read()


def _whole(raw: Any, url: str) -> _Body:
    """Read a body, no more than a little above what any document has; the connection is then given up."""
    try:
        content = raw.read(_MOST, decode_content=False)
        if len(content) == _MOST:
            raw.close()
    except (OSError, HTTPError) as error:
        raise ResponseStreamingError(error=type(error).__name__, endpoint_url=url) from None
    return _Body(content)


@contextlib.contextmanager
def _as_timeout(exchange: _Exchange, url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if exchange.over:
            raise ReadTimeoutError(endpoint_url=url, error=error) from None
        raise
