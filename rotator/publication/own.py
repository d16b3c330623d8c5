"""One request to this host's own server: TCP or a Unix socket, with TLS or without.

Its certificate names the host that verifiers call it, not this address, and is not checked: at the other
end is our own socket on this machine, and what is asked for is public.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from rotator.atomic import LIMIT

UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered; the body is cut off one byte above the limit for documents."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(url: str, path: str, *, timeout: float) -> Answer:
    """Send a GET on a connection of its own: ten thousand key sets must not hold as many connections.

    Args:
        url: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
        path: what to ask for.
        timeout: seconds for the connection, and for each read.

    Raises:
        OSError, http.client.HTTPException: no answer, or none that can be read.
    """
    connection = _connection(url, timeout)
    try:
        headers = {"Accept": "application/jwk-set+json", "Connection": "close"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(LIMIT + 1)
        length = response.getheader("Content-Length", "")
        if length.isdecimal() and len(body) < min(int(length), LIMIT + 1):
            raise http.client.IncompleteRead(body, int(length) - len(body))
        return Answer(response.status, response.headers, body)
    finally:
        connection.close()


def _connection(url: str, timeout: float) -> http.client.HTTPConnection:
    if url.startswith(UNIX):
        return _UnixConnection(url.removeprefix(UNIX), timeout)
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout, context=context
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise
