"""The shapes of hostile requests, and how often each comes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from tests.fuzz.shapes import NESTED, SMUGGLED, Act, Exchange, Parts, Piece, Site, contradictions


class Attacker(Parts):
    """Makes exchanges, one after the other.

    Args:
        seed: the attack's number.
        site: what the server serves.
    """

    def __init__(self, seed: int | str, site: Site | None = None) -> None:
        super().__init__(seed, site or Site())
        self.kinds: tuple[tuple[Callable[[], Exchange], int], ...] = (
            (self.honest, 14),
            (self.mutated, 24),
            (self.garbage, 6),
            (self.conflict, 18),
            (self.framed, 10),
            (self.huge, 2),
            (self.target, 10),
            (self.truncated, 6),
            (self.dripped, 2),
            (self.flood, 1),
            (self.heading, 12),
        )

    def exchanges(self, requests: int) -> Iterator[Exchange]:
        """Yield exchanges until that many requests are in them."""
        makers, weights = zip(*self.kinds, strict=True)
        made = 0
        while made < requests:
            exchange = self.random.choices(makers, weights)[0]()
            if self.site.single:
                # Not even one, when a newer connection took the place of this one.
                most = min(exchange.most, 1)
                exchange = dataclasses.replace(exchange, requests=1, least=0, most=most)
            made += exchange.requests
            yield exchange

    def honest(self) -> Exchange:
        """Pipelined requests that are right: each must be answered, in order."""
        mark, count = self.mark(), self.random.randint(1, 6)
        lines = [b"X-Mark: " + mark, b"Content-Length: 0", b"Accept: */*;q=0", b"Range: bytes=0-1"]
        sent = b"".join(
            self.head(mark, None, *self.random.sample(lines, self.random.randint(0, 3)))
            for _ in range(count)
        )
        pieces = self.cut(sent + self.site.last)
        return Exchange("honest", pieces, count, count + 1, count + 1, mark)

    def mutated(self) -> Exchange:
        """A right request with some bytes changed, dropped, doubled, or put in."""
        mark = self.mark()
        data = bytearray(self.head(mark, None, b"X-Mark: " + mark, b'If-None-Match: "x"'))
        bad = b"\0\r\n\t :;,/%\\\x7f\x80\xff\"'{}0aA"
        for _ in range(self.random.randint(1, 5)):
            at = self.random.randrange(len(data))
            what = self.random.randrange(4)
            if what == 0:
                data[at] = self.random.choice(bad) if data else 0
            elif what == 1 and len(data) > 2:
                del data[at]
            elif what == 2:
                data[at:at] = data[at : at + 20]
            else:
                data[at:at] = bytes([self.random.choice(bad)]) * self.random.randint(1, 3)
        # No more than one answer for each end of a line, whatever it has become.
        most = bytes(data).count(b"\n") + 2
        # Not the mark: a mutation may have split it, or made it something that the server says.
        return Exchange("mutated", (*self.cut(bytes(data) + self.site.last), *self.end()), 1, most)

    def garbage(self) -> Exchange:
        """Something that is no HTTP."""
        start = self.random.choice(
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"SSH-2.0-OpenSSH_9.2\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
                b"\0\0\0\0",
                b"EHLO example.org\r\n",
                b"*1\r\n$4\r\nPING\r\n",
                b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + NESTED,
                b"\r\n\r\nPROXY UNKNOWN\r\n" + NESTED,
                b"",
            )
        )
        data = start + self.noise(300)
        most = data.count(b"\n") + 1
        return Exchange("garbage", (data or b"\r\n", *self.end()), 1, most)

    def conflict(self) -> Exchange:
        """Framing that two servers could read in two ways: one answer, and the end of the connection."""
        mark, method = (
            self.mark(),
            self.random.choice((b"GET", b"POST", b"HEAD", b"PUT", b"DELETE")),
        )
        body = b"0\r\n\r\n" + NESTED if self.random.random() < 0.5 else self.chunked(self.body())
        length = self.random.choice((0, 3, 4, 5, len(body), len(body) + 1, len(body) - len(NESTED)))
        lines = self.random.choice(contradictions(length, len(body)))
        sent = self.head(mark, method, *lines) + body + self.site.last
        return Exchange("conflict", self.cut(sent), 1, 1, mark=mark)

    def framed(self) -> Exchange:
        """A body that is framed well and holds a request: it is nobody's request."""
        mark, body = self.mark(), self.body()
        method = self.random.choice((b"GET", b"POST", b"PUT", b"PATCH", b"QUERY", b"OPTIONS"))
        how = self.random.randrange(5)
        if how == 0:
            head = self.head(mark, method, b"Content-Length: %d" % len(body))
        elif how == 1:
            head = self.head(mark, method, *[b"Content-Length: %d" % len(body)] * 2)
        elif how == 2:
            # No framing header at all but one that looks like it.
            odd = self.random.choice((b"Transfer_Encoding", b"Content_Length", b"X-Content-Length"))
            head = self.head(mark, method, odd + b": 4", b"Content-Length: %d" % len(body))
        else:
            head = self.head(mark, method, b"Transfer-Encoding: chunked")
            body = self.chunked(body)
        if how == 4:
            # A size that is none ends the connection.
            size = self.random.choice((b"", b"-1", b"0x5", b"g", b"5 5", b"f" * 17, b"\xff", b"+5"))
            body = size + b"\r\n" + body
        pieces = self.cut(head + body + self.site.last)
        return Exchange("framed", pieces, 1, 2, mark=mark)

    def huge(self) -> Exchange:
        """More than there is room for: refused, and forgotten."""
        mark, size = self.mark(), self.random.choice((9_000, 17_000, 70_000, 300_000))
        filler = self.random.choice((b"a", b"\xe4", b"%41", b"../", b" ", b"\t"))
        long = filler * (size // len(filler))
        what = self.random.randrange(8)
        if what == 0:
            sent = b"GET /" + long + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        elif what == 1:
            sent = self.head(mark, None, b"X: " + long)
        elif what == 2:
            sent = self.head(mark, None, *[b"X%d: y" % n for n in range(size // 40)])
        elif what == 3:
            sent = self.head(mark, None, b"If-None-Match: " + b'W/"x",' * (size // 7))
        elif what == 4:
            sent = self.head(mark, b"POST", b"Content-Length: %d" % size) + bytes(size)
        elif what == 5:
            sent = self.head(mark, b"POST", b"Transfer-Encoding: chunked")
            sent += b"1;" + b"x" * size + b"\r\na\r\n0\r\n\r\n"
        elif what == 6:
            sent = b"A" * size + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
        else:
            sent = b"\r\n" * (size // 2) + self.head(mark)
        return Exchange("huge", (sent + self.site.last,), 1, 2, mark=mark)

    def target(self) -> Exchange:
        """A request target that means another file, another host, or another line."""
        mark = self.mark()
        path = self.random.choice(self.site.paths)
        made = self.random.choice(
            (
                b"//" + mark + path,
                b"http://" + mark + path,
                b"http://u:p@[::1]:99999" + path,
                b"https:" + path,
                b"file:///etc/passwd",
                b"*",
                b"evil:443",
                b"/web/../web/jwks.json",
                b"/..%2f..%2fetc/passwd" + mark,
                b"/web%00/jwks.json",
                b"/%2e%2e/web/jwks.json",
                b"/web\\jwks.json",
                b"/web/jwks.json.meta.json",
                b"/web/jwks.json/",
                b"/WEB/jwks.json" + mark,
                path + b"%0d%0aX-Injected:%20" + mark,
                path + b"%0d%0a%0d%0a" + mark,
                path + b";" + mark,
                path + b"#" + mark,
                path + b"?a=%ff&" + mark,
                b"/%c0%ae%c0%ae/" + mark,
                b"/%ff%fe" + mark,
                b"/\xe4\xb8\xad" + mark,
                b"/%zz" + mark,
                b"/%",
                b"?" + mark,
                b"",
                b"/{" + mark + b"}<script>\"'",
                b"/a b",
            )
        )
        method = self.random.choice((b"GET", b"HEAD", b"CONNECT", b"OPTIONS", b"TRACE", mark))
        head = method + b" " + made + b" HTTP/1.1\r\nHost: " + mark + b"\r\n\r\n"
        return Exchange("target", (*self.cut(head + self.site.last), *self.end()), 1, 2, mark=mark)

    def heading(self) -> Exchange:
        """Headers that ask for more than the server gives."""
        mark = self.mark()
        lines = self.random.sample(
            (
                b"If-None-Match: \xff\xfe" + mark,
                b'If-None-Match: "' + mark + b'", *, W/"", ,,,',
                b"If-None-Match: *",
                b"If-Modified-Since: " + mark,
                b"If-Match: " + mark,
                b"Host: second." + mark,
                b"Range: bytes=0-0,1-1,2-2",
                b"Expect: 100-continue",
                b"Expect: " + mark,
                (
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
                ),
                b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
                b"Connection: close, keep-alive, " + mark,
                b"Connection: if-none-match, host",
                b"Keep-Alive: timeout=99999999, max=99999999",
                b"X-HTTP-Method-Override: DELETE",
                b"X-Original-URL: " + SMUGGLED,
                b"X-Rewrite-URL: " + SMUGGLED,
                b"X-Forwarded-Host: " + mark,
                b"X-Forwarded-For: " + mark,
                b"Forwarded: for=" + mark,
                b"Origin: https://" + mark,
                b"Access-Control-Request-Method: "
                + mark
                + b"\r\nAccess-Control-Request-Headers: x",
                b"Accept-Encoding: gzip, br, " + mark,
                b"Cookie: " + mark,
                b"Authorization: Bearer " + mark,
                b"TE: trailers, chunked",
                b"Trailer: Content-Length",
                b": " + mark,
                b"\xffX: " + mark,
                b"X\0Y: " + mark,
                b"X: a\0b" + mark,
                b" folded: " + mark,
                b"no colon " + mark,
                b"X: a\r\n\tfolded",
            ),
            self.random.randint(1, 5),
        )
        methods = (b"GET", b"GET", b"HEAD", b"OPTIONS", b"POST")
        sent = self.head(mark, self.random.choice(methods), *lines) + self.site.last
        return Exchange("heading", (*self.cut(sent), *self.end()), 1, 2, mark=mark)

    def truncated(self) -> Exchange:
        """A request that breaks off."""
        mark = self.mark()
        sent = self.head(mark, None, b"X-Mark: " + mark)
        sent = (
            self.head(mark) * self.random.randint(0, 2) + sent[: self.random.randrange(len(sent))]
        )
        how = self.random.choice((Act.HALF_CLOSE, Act.RESET, Act.CLOSE))
        return Exchange("truncated", (*self.cut(sent or b"G"), how), 1, 3, mark=mark)

    def dripped(self) -> Exchange:
        """A right request, some bytes at a time."""
        mark = self.mark()
        sent = self.head(mark) + self.site.last
        pieces: list[Piece] = []
        while sent:
            size = self.random.randint(1, 40)
            pieces += [sent[:size], Act.WAIT]
            sent = sent[size:]
        return Exchange("dripped", tuple(pieces[:-1]), 1, 2, 2, mark)

    def flood(self) -> Exchange:
        """Many requests at once, whose answers are read, or not."""
        mark, count = self.mark(), self.random.randint(10, 60)
        sent = self.head(mark, b"GET") * count
        if self.random.random() < 0.5:
            how = self.random.choice((Act.RESET, Act.CLOSE))
            return Exchange("flood", (sent, how), count, count, mark=mark)
        return Exchange("flood", (sent + self.site.last,), count, count + 1, count + 1, mark)
