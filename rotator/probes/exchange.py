"""One request to one address, bounded in time and size whatever the other side does."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from rotator.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    import ssl

    from urllib3.response import HTTPResponse

LIMIT: Final = 1 << 20
"""How many bytes of a body are read at most; no verifier wants a JWKS of that size."""

ACCEPT: Final = "application/json, application/jwk-set+json"
_PORTS: Final = {"http": 80, "https": 443}
_CONTEXT_LIFE: Final = 3600  # seconds
_CA_HINT: Final = "verifiers would refuse it too; for a private CA set SSL_CERT_FILE"


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL that a request needs."""

    text: str
    secure: bool
    host: str
    port: int
    target: str
    authority: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Return the parts of an http or https URL.

        Raises:
            ConfigError: not such a URL, a name that is not ASCII, or credentials in it.
        """
        try:
            split = urlsplit(text)
            port = split.port
        except ValueError as error:
            raise ConfigError(f"the probe {text!r} is not a URL: {error}") from error
        host = split.hostname or ""
        if split.scheme not in _PORTS or not host:
            raise ConfigError(f"the probe {text!r} is not an http:// or https:// URL with a host")
        if split.username is not None or split.password is not None:
            raise ConfigError(
                "a probe's URL has credentials in it", hint="a JWKS is public: leave them out"
            )
        if not host.isascii():
            raise ConfigError(
                f"the host of the probe {text!r} is not ASCII", hint="write its xn-- form"
            )
        default = _PORTS[split.scheme]
        bracketed = f"[{host}]" if ":" in host else host
        query = f"?{quote(split.query, safe=_SAFE)}" if split.query else ""
        return cls(
            text=text,
            secure=split.scheme == "https",
            host=host,
            port=port or default,
            target=quote(split.path or "/", safe=_SAFE) + query,
            authority=bracketed if port in (None, default) else f"{bracketed}:{port}",
        )


_SAFE: Final = "/%:@!$&'()*+,;=~-._?"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Fields and body are left out of the repr: they may hold a token.

    Attributes:
        headers: by lower-case name.
        sent: when the request began to be sent, by the monotonic clock.
        local: True when the peer is on this machine.
    """

    address: str
    status: int
    headers: Mapping[str, tuple[str, ...]] = field(repr=False)
    body: bytes = field(repr=False)
    sent: float
    local: bool


Address = tuple[socket.AddressFamily, Any]
"""An address family with its socket address."""


def connect(address: Address, deadline: float) -> socket.socket:
    """Return a connection to one address.

    Raises:
        OSError: it cannot be reached before the deadline.
    """
    connection = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        connection.settimeout(_left(deadline))
        connection.connect(address[1])
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. Headers and body are left out of the repr: they may hold what must not be shown.

    Attributes:
        headers: beside those that every request has.
        limit: how many bytes of the answer's body are read, but for one.
        ca_file: PEM of the CAs that a certificate is held against; those of the system when None.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = LIMIT
    ca_file: str | None = None


def get(
    url: Url,
    connection: socket.socket,
    deadline: float,
    *,
    accept: str = ACCEPT,
    limit: int = LIMIT,
) -> Answer:
    """Fetch a URL over an open connection; see `send`."""
    return send(url, connection, deadline, Request(headers={"Accept": accept}, limit=limit))


def send(url: Url, connection: socket.socket, deadline: float, request: Request) -> Answer:
    """Send a request over an open connection and return the whole answer; closes the connection.

    A redirect is an answer like any other. The body is at most one byte longer than the request's limit.

    Raises:
        StoreUnavailable: no whole answer before the deadline, or none that is HTTP; a certificate that
            does not hold.
    """
    import http.client
    import ssl

    # The package first: two threads that begin it with different parts of it block one another, and Python
    # ends that by giving one of them a half-made module (3.11). Targets are looked at by several threads.
    from urllib3 import exceptions

    what = url.text
    try:
        with contextlib.closing(connection):
            what = f"{url.text} at {connection.getpeername()[0]}"
            return _exchange(url, connection, deadline, request)
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message or "it does not verify"
        raise StoreUnavailable(
            f"{what}: its certificate does not hold: {reason}", hint=_CA_HINT
        ) from error
    except (OSError, exceptions.HTTPError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline:
            # The watchdog's shutdown shows as whatever the layers above make of an end of file.
            raise StoreUnavailable(f"{what}: it did not finish answering in time") from error
        raise StoreUnavailable(f"{what}: no HTTP answer: {_short(error)}") from error


def _exchange(url: Url, connection: socket.socket, deadline: float, request: Request) -> Answer:
    from urllib3 import connection as http1

    peer, local = str(connection.getpeername()[0]), _is_local(connection)
    secured: ssl.SSLSocket | None = None
    if url.secure:
        # Wrapped before any byte flows, so that the watchdog holds the socket during the handshake.
        context = _tls_context(int(time.monotonic() // _CONTEXT_LIFE), request.ca_file)
        connection = secured = context.wrap_socket(
            connection, server_hostname=url.host, do_handshake_on_connect=False
        )
    with contextlib.closing(connection), _watchdog(connection, deadline):
        if secured is not None:
            secured.do_handshake()
        http = http1.HTTPConnection(url.host, url.port, timeout=_left(deadline))
        http.sock = connection
        sent = time.monotonic()
        headers = _headers(url, request.headers)
        http.request(
            request.method, url.target, body=request.body, headers=headers, preload_content=False
        )
        with contextlib.closing(http.getresponse()) as response:
            body = _read_body(response, request.limit)
    if time.monotonic() >= deadline:
        # An answer without a length ends where the connection does, also where the watchdog ended it.
        raise TimeoutError
    fields = {name.lower(): tuple(response.headers.getlist(name)) for name in response.headers}
    return Answer(peer, response.status, fields, body, sent, local)


def _read_body(response: HTTPResponse, limit: int) -> bytes:
    body = bytearray()
    # To the very end: only a read that brings nothing shows that the body was cut short.
    while len(body) <= limit:
        piece = response.read(limit + 1 - len(body), decode_content=False)
        if not piece:
            break
        body += piece
    return bytes(body)


@functools.lru_cache(maxsize=8)
def _tls_context(_hour: int, ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies; made anew each hour, for a bundle of CAs is replaced at times."""
    import ssl

    return ssl.create_default_context(cafile=ca_file)


def _headers(url: Url, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "Host": url.authority,
        **more,
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "rotator",
    }


@contextlib.contextmanager
def _watchdog(connection: socket.socket, deadline: float) -> Iterator[None]:
    """End a connection at the deadline; socket timeouts alone start again with each byte."""

    def end() -> None:
        with contextlib.suppress(OSError):
            # Past the TLS layer, whose own shutdown is not for other threads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(_left(deadline), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _left(deadline: float) -> float:
    # Never zero, which would mean a socket that does not block.
    return max(0.001, deadline - time.monotonic())


def _is_local(connection: socket.socket) -> bool:
    """Tell whether the peer is this machine: such a connection comes from the very address it goes to."""
    peer, own = str(connection.getpeername()[0]), str(connection.getsockname()[0])
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return peer == own or address.is_loopback or (mapped is not None and mapped.is_loopback)


def _short(error: Exception) -> str:
    # What the parsers of HTTP say quotes what they could not read, and that may be a token.
    text = (str(error) if isinstance(error, OSError) else "") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
