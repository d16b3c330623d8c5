"""Hostile requests, made from a seed: the same number gives the same attack.

`SMUGGLED` is asked for only where no server that reads HTTP/1.1 strictly sees a request: in bodies, behind
framing that contradicts itself, in headers that a proxy might obey. An answer to it is always a finding.
`FENCE` comes last and ends the connection, so that everything before it has been answered by then.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Final

SMUGGLED: Final = b"/smuggled/jwks.json"
FENCE: Final = b"/fence/jwks.json"
PATHS: Final = (
    b"/web/jwks.json",
    b"/jobs/jwks.json",
    b"/empty/jwks.json",
    b"/.well-known/jwks.json",
    b"/all.json",
    b"/healthz",
    b"/readyz",
    b"/nothing/here",
)


class Act(enum.Enum):
    """What a client does between two writes."""

    HALF_CLOSE = "half-close"
    RESET = "reset"
    WAIT = "wait"
    CLOSE = "close"


Piece = bytes | Act


@dataclass(frozen=True, slots=True)
class Exchange:
    """One connection's worth of requests.

    Attributes:
        kind: the name of the shape.
        pieces: what is written and done, in order.
        requests: how many requests it counts for; the fence does not count.
        most: the most answers it may get.
        least: the fewest it must get before an orderly end.
        mark: bytes in the request that the server never says by itself.
    """

    kind: str
    pieces: tuple[Piece, ...]
    requests: int
    most: int
    least: int = 0
    mark: bytes = b""

    @property
    def sent(self) -> bytes:
        """All bytes that are written."""
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))


@dataclass(frozen=True, slots=True)
class Site:
    """What is known to be served, for requests that are nearly right.

    Attributes:
        paths: paths that may be asked for.
        fence: the one that is asked for last, and nowhere else.
        single: whether each connection ends after one answer.
    """

    paths: tuple[bytes, ...] = PATHS
    fence: bytes = FENCE
    single: bool = False

    @property
    def last(self) -> bytes:
        """The request that ends a connection."""
        return b"GET " + self.fence + b" HTTP/1.1\r\nHost: fence\r\nConnection: close\r\n\r\n"


NESTED: Final = b"GET " + SMUGGLED + b" HTTP/1.1\r\nHost: nested\r\n\r\n"


class Parts:
    """What requests are made of, drawn from a seed."""

    def __init__(self, seed: int | str, site: Site) -> None:
        self.random = random.Random(seed)
        self.site = site

    def mark(self) -> bytes:
        """Bytes that nothing else holds."""
        return b"Zq%08xqZ" % self.random.getrandbits(32)

    def head(self, mark: bytes, method: bytes | None = None, *more: bytes) -> bytes:
        """An honest request's head, with further header lines."""
        method = method or self.random.choices((b"GET", b"HEAD"), (4, 1))[0]
        path = self.random.choice(self.site.paths)
        if self.random.random() < 0.3:
            path += b"?" + mark
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + mark, *more]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def body(self) -> bytes:
        """A body with a request in it."""
        return self.noise(12) + b"\r\n\r\n" * self.random.randint(0, 1) + NESTED

    def noise(self, most: int) -> bytes:
        """Some random bytes."""
        return self.random.randbytes(self.random.randint(0, most))

    def chunked(self, body: bytes) -> bytes:
        """A body in chunks, as RFC 9112 §7.1 wants it."""
        out = b""
        while body:
            size = self.random.randint(1, len(body))
            extension = self.random.choice((b"", b"", b";a=b", b';q="x"'))
            out += b"%x" % size + extension + b"\r\n" + body[:size] + b"\r\n"
            body = body[size:]
        trailer = self.random.choice((b"", b"", b"X-Trailer: y\r\n", b"Content-Length: 9\r\n"))
        return out + b"0\r\n" + trailer + b"\r\n"

    def cut(self, data: bytes) -> tuple[Piece, ...]:
        """The same bytes in one piece or, now and then, in several packets."""
        if self.random.random() < 0.9 or len(data) < 2:
            return (data,)
        at = self.random.randint(1, len(data) - 1)
        return (data[:at], Act.WAIT, data[at:])

    def end(self) -> tuple[Piece, ...]:
        """Mostly wait for the server's end; at times be the first."""
        acts = (Act.HALF_CLOSE, Act.RESET, Act.CLOSE)
        return (self.random.choice(acts),) if self.random.random() < 0.1 else ()


def contradictions(length: int, whole: int) -> tuple[tuple[bytes, ...], ...]:
    """Headers that frame a body in more than one way, or in none that RFC 9112 §6 knows.

    Args:
        length: what Content-Length says.
        whole: how long the body is.
    """
    te, cl = b"Transfer-Encoding: chunked", b"Content-Length: %d" % length
    return (
        (cl, te),
        (te, cl),
        (cl, te, te),
        (te, b"Content-Length: %d" % whole),
        (cl, b"transfer-encoding: CHUNKED"),
        (cl, b"Transfer-Encoding: identity, chunked"),
        (cl, b"Transfer-Encoding:chunked"),
        (cl, b"Transfer-Encoding:\tchunked"),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: xchunked", cl),
        (b"Transfer-Encoding: \x0bchunked", cl),
        (b"Transfer-Encoding: chunked\0", cl),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding : chunked", cl),
        (b" Transfer-Encoding: chunked", cl),
        (b"Transfer-Encoding:\r\n chunked", cl),
        (b"X: y\rTransfer-Encoding: chunked", cl),
        (cl, b"Content-Length: %d" % (length + 1)),
        (b"Content-Length: %d, %d" % (length, length),),
        (b"Content-Length: +%d" % length,),
        (b"Content-Length: -%d" % (length + 1),),
        (b"Content-Length: 0x%x" % length,),
        (b"Content-Length: %d " % length + b"\x0c",),
        (b"Content-Length: 1e1",),
        (b"Content-Length: 18446744073709551616",),
        (b"Content-Length:",),
        (b"Content-Length : %d" % length,),
    )
