"""What passes through `tests.servers.proxy`: requests, answers, and what an action can do between them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"}
"""Headers that belong to one connection and are not passed on."""

_NO_LINGER: Final = struct.pack("ii", 1, 0)  # close() sends a reset

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; `number` counts from one."""

    number: int
    method: str
    path: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """Return a header, empty when it is not there."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def key(self) -> tuple[str, str, str, bytes]:
        """What makes two requests ask for the same."""
        return self.method, self.path, self.header("X-Amz-Target"), self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def with_header(self, name: str, value: str) -> Answer:
        """Return the same with a header set."""
        kept = tuple(item for item in self.headers if item[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))

    def head(self, *, length: int | None = None) -> bytes:
        """Return the status line and headers as bytes; `length` lies about the body."""
        reason = http.client.responses.get(self.status, "")
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in HOP]
        lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Gone(Exception):
    """The connection to the client is over."""


class Between(Protocol):
    """What an exchange needs of the proxy."""

    def ask_server(self, request: Request) -> Answer:
        """Pass a request on and return the answer."""
        ...

    def forgiven(self, request: Request) -> bool:
        """True when the misdeed that a request fell under is over."""
        ...

    def earlier(self, request: Request, before: int) -> Answer | None:
        """Return the newest answer to the same question asked before the request of that number."""
        ...


class Exchange:
    """One request on its way: what an action works with."""

    def __init__(self, proxy: Between, client: socket.socket, request: Request) -> None:
        self.request = request
        self.proxy = proxy
        self._client = client
        self._answer: Answer | None = None

    def forward(self) -> Answer:
        """Let the server see the request, once however often this is called; return its answer."""
        if self._answer is None:
            self._answer = self.proxy.ask_server(self.request)
        return self._answer

    def send(self, answer: Answer) -> None:
        """Give the client an answer."""
        body = b"" if self.request.method == "HEAD" else answer.body
        self.send_bytes(answer.head() + body)

    def send_bytes(self, content: bytes) -> None:
        """Give the client bytes."""
        try:
            self._client.sendall(content)
        except OSError as error:
            raise Gone from error

    def close(self) -> None:
        """End the connection in order."""
        raise Gone

    def reset(self) -> None:
        """End the connection with a reset."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        raise Gone

    def idle(self, seconds: float) -> None:
        """Let time pass; ends the connection when the client went away or the misdeed is over.

        Raises:
            Gone: as said.
        """
        self._client.settimeout(seconds)
        try:
            if not self._client.recv(1):
                raise Gone
        except TimeoutError:
            if self.proxy.forgiven(self.request):
                raise Gone from None
        except OSError as error:
            raise Gone from error
        finally:
            with contextlib.suppress(OSError):
                self._client.settimeout(None)


def read_request(reader: Any) -> Request | None:
    """Read one request from a connection, not numbered yet; None at its end."""
    line = reader.readline(65537)
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = tuple(http.client.parse_headers(reader).items())
    known = {name.lower(): value for name, value in headers}
    if "chunked" in known.get("transfer-encoding", ""):
        body = b"".join(iter(lambda: _chunk(reader), b""))
    else:
        body = reader.read(int(known.get("content-length", "0")))
    return Request(0, method, path, headers, body)


def _chunk(reader: Any) -> bytes:
    size = int(reader.readline().split(b";")[0], 16)
    content: bytes = reader.read(size)
    reader.readline()
    return content
