"""HTTP to one Conjur server: one pool of connections for all threads, one deadline for each call.

The SDK makes a new connection and a new TLS context for each call, reads no header, and lets exceptions of
three libraries out (docs/decisions/0013-conjur-calls.md). So its strategies log in, and the calls are made here.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from urllib.parse import quote, urlencode

from rotator.plugin import ConfigError, RotatorError, ServerTime, StoreUnavailable, server_time

if TYPE_CHECKING:
    import aiohttp

_T = TypeVar("_T")
_LIMIT: Final = 4 << 20  # bytes of an answer; a list of a thousand variables is far shorter
_CONNECTIONS: Final = 32
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; `body` may hold key material and is left out of the repr."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str]
    sent: float  # time.monotonic()

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked to wait (RFC 9110 §10.2.3); None if it said none."""
        said = self.headers.get("Retry-After", "")
        return float(said) if said.isdigit() else None


class Wire:
    """The connections to one server.

    Args:
        url: where the server is, without a slash at the end.
        ca_file: the certificates to trust instead of the system's.
        connect_timeout: seconds that a connection may take to be made.
        read_timeout: seconds that the whole answer may take after that.
    """

    def __init__(
        self, url: str, *, ca_file: Path | None, connect_timeout: float, read_timeout: float
    ) -> None:
        self.url = url
        self._ca_file = ca_file
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._sessions: dict[int, aiohttp.ClientSession] = {}  # by process: a fork has its own
        self._finalizer = weakref.finalize(self, _close_all, self._sessions)

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run a coroutine on the thread of the event loop, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(work(), _loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C ends the waiting: nobody reads the answer any more
            raise

    async def send(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; whatever the status, the answer is returned.

        Args:
            path: the parts of the path, not yet encoded.

        Raises:
            StoreUnavailable: there was no whole answer in time.
        """
        from yarl import URL

        address = f"{self.url}/{'/'.join(quote(part, safe='') for part in path)}"
        if query:
            address += f"?{urlencode(query, quote_via=quote)}"
        sent = time.monotonic()
        try:
            async with self._session().request(
                method,
                URL(address, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,  # the header of the login would go along
            ) as response:
                content = await self._content(response)
                return Answer(response.status, content, dict(response.headers), sent)
        except RotatorError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the HTTP library raises ends here
            raise self.failure(error) from None

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > _LIMIT:
                raise StoreUnavailable(
                    f"the answer of {self.url} is longer than {_LIMIT} bytes",
                    hint="is `url` that of a Conjur server?",
                    lasting=True,
                )
        return bytes(content)

    def witness(self, answer: Answer) -> ServerTime | None:
        """Return what an answer says of the time, None from a server of this machine."""
        return server_time(self.url, answer.headers.get("Date"), answer.sent)

    def failure(self, error: Exception) -> StoreUnavailable:
        """Return what a failure of the HTTP library means."""
        import aiohttp

        if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
            reason = getattr(error, "certificate_error", None) or error
            if any(sign in str(reason).upper().replace(" ", "_") for sign in _NOT_TLS):
                return StoreUnavailable(
                    f"no TLS connection to {self.url}: it does not speak TLS there",
                    hint="is the port in `url` that of https, and not of plain http?",
                    lasting=True,
                )
            return StoreUnavailable(
                f"no TLS connection to {self.url}: {_text(reason)}",
                hint="set `ca_file` to the certificates that issued the server's, and check the host name in `url`",
                lasting=isinstance(error, aiohttp.ClientConnectorCertificateError),
            )
        if isinstance(error, aiohttp.InvalidURL):
            return StoreUnavailable(f"{self.url} is no address", hint="correct `url`", lasting=True)
        if isinstance(error, TimeoutError):
            seconds = self._connect_timeout + self._read_timeout
            return StoreUnavailable(
                f"no answer from {self.url} within {seconds:g} seconds",
                hint="is the server reachable from here? `connect_timeout` and `read_timeout` bound each call",
            )
        return StoreUnavailable(
            f"no answer from {self.url}: {_text(error)}", hint="is the server up and reachable?"
        )

    def close(self) -> None:
        """Close every connection; harmless twice, and the next call opens new ones."""
        _close_all(self._sessions)

    def _session(self) -> aiohttp.ClientSession:
        found = self._sessions.get(os.getpid())
        if found is None:
            found = self._sessions[os.getpid()] = self._opened()
            _Shared.sessions.add(found)
        return found

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._context()),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "rotator"},
            timeout=aiohttp.ClientTimeout(
                total=self._connect_timeout + self._read_timeout, sock_connect=self._connect_timeout
            ),
        )

    def _context(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return True
        try:
            # With a file of one's own, nothing else is trusted; the SDK would add the system's.
            return ssl.create_default_context(
                cafile=None if self._ca_file is None else str(self._ca_file)
            )
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificates in {self._ca_file} cannot be read: {_text(error)}",
                hint="`ca_file` names a PEM file of certificates",
            ) from error


def _text(error: object) -> str:
    """Return an error in words; some have none, and some have too many."""
    beneath = getattr(error, "os_error", None)
    reason = getattr(beneath, "strerror", None)
    if isinstance(reason, str) and not reason.startswith("Connect call failed"):
        return reason[:1].lower() + reason[1:]
    if isinstance(beneath, OSError) and beneath.errno:
        return os.strerror(beneath.errno).lower()
    return str(error) or type(error).__name__


class _Shared:
    """The event loop of this process; all stores share it, and a fork begins with none."""

    lock = threading.Lock()
    loop: asyncio.AbstractEventLoop | None = None
    sessions: ClassVar[weakref.WeakSet[aiohttp.ClientSession]] = weakref.WeakSet()


def _loop() -> asyncio.AbstractEventLoop:
    with _Shared.lock:
        if _Shared.loop is None:
            _Shared.loop = asyncio.new_event_loop()
            threading.Thread(target=_Shared.loop.run_forever, name="conjur", daemon=True).start()
        return _Shared.loop


_inherited: list[object] = []  # loops of parents, kept from the garbage collector


def _after_fork() -> None:
    """Let go of what is the parent's, without a word to its event loop or over its connections."""
    for session in _Shared.sessions:
        connector = session.connector
        session.detach()
        if connector is not None:
            # Else its end would take the sockets out of the poll that both processes share.
            connector._closed = True  # noqa: SLF001
    _Shared.sessions = weakref.WeakSet()
    _inherited.append(_Shared.loop)
    _Shared.lock = threading.Lock()
    _Shared.loop = None


os.register_at_fork(after_in_child=_after_fork)


def _close_all(sessions: dict[int, aiohttp.ClientSession]) -> None:
    """Close the session of this process; those of a parent are not ours to close."""
    mine = sessions.pop(os.getpid(), None)
    loop = _Shared.loop
    if mine is None or loop is None:
        return
    closing = asyncio.run_coroutine_threadsafe(mine.close(), loop)
    try:
        running = asyncio.get_running_loop() is loop
    except RuntimeError:
        running = False
    if (
        not running
    ):  # else the garbage collector came by on the loop's own thread, which must not wait
        closing.result(5)
