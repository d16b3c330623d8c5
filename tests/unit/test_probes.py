"""Probes by URL against real servers on loopback, honest and not."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import ipaddress
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rotator.errors import ConfigError, StoreDenied, StoreUnavailable
from rotator.observed import Answered
from rotator.probes import UrlProbe
from rotator.probes.exchange import Answer, Url, _tls_context
from rotator.probes.freshness import freshness, http_date
from rotator.probes.view import merge, view_of
from rotator.stores import Document, DocumentKind, Sight, Target

NOW = dt.datetime(2026, 3, 1, 12, 0, 0, tzinfo=dt.UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"
KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "use": "sig",
}
Handler = Callable[[socket.socket], None]


def jwks(*kids: str) -> bytes:
    """A JWKS with some keys."""
    return json.dumps({"keys": [{**KEY, "kid": kid} for kid in kids]}).encode()


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer as bytes."""
    fields = {
        "Content-Length": str(len(body)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def read_request(connection: socket.socket) -> bytes:
    """Read up to the end of a request's header."""
    request = b""
    while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
        request += piece
    return request


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Handler:
    """A handler that gives one answer, whole."""

    def handle(connection: socket.socket) -> None:
        request = read_request(connection)
        if requests is not None:
            requests.append(request)
        for answer in answers:
            connection.sendall(answer)

    return handle


@contextlib.contextmanager
def serving(
    handler: Handler, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve connections in threads until the block ends; yields the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        threads: list[threading.Thread] = []

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), contextlib.closing(connection):
                if tls is None:
                    handler(connection)
                else:
                    with tls.wrap_socket(connection, server_side=True) as secured:
                        handler(secured)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(30)
                    threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(30)
            for thread in threads:
                thread.join(30)


def look(handler: Handler, *, timeout: float = 10.0) -> Sight:
    """Look once at a server with one handler."""
    with serving(handler) as port:
        return UrlProbe(f"http://127.0.0.1:{port}/web/jwks.json", "web", timeout=timeout).look()


def test_it_is_a_target() -> None:
    """Name, kind and nature, as the core reads them; it refuses to be written."""
    target: Target = UrlProbe("https://issuer.example/jwks.json", "web")
    assert target.name == "probe:https://issuer.example/jwks.json"
    assert target.kind is DocumentKind.JWKS
    assert not target.writable
    assert target.independent
    with pytest.raises(StoreDenied, match="only looked at"):
        target.write(Document(b"", "web", 1), replacing=None)


def test_a_jwks_is_a_document() -> None:
    """Its bytes, and whose it is where the server says so; a server on this machine is no witness."""
    body = jwks("a", "b")
    headers = {"Rotator_Key_Set": "web", "Rotator_Revision": "17", "Date": DATE}
    sight = look(answering(reply(body, Cache_Control="public, max-age=300", **headers)))
    kids = ("a", "b")
    assert sight == Sight(
        Document(body, "web", 17),
        cache=dt.timedelta(seconds=300),
        answers=(Answered("127.0.0.1", kids, 17),),
    )
    sight = look(answering(reply(body)))
    assert sight == Sight(Document(body, None, None), answers=(Answered("127.0.0.1", kids),))


@pytest.mark.parametrize(
    "headers",
    [{"Rotator_Key_Set": "Not A Name", "Rotator_Revision": "-1"}, {"Rotator_Revision": "9" * 30}],
)
def test_names_that_cannot_be_ours_are_none(headers: dict[str, str]) -> None:
    """A probe need not be served by us."""
    assert look(answering(reply(jwks("a"), **headers))).document == Document(jwks("a"), None, None)


def test_what_is_sent() -> None:
    """A plain GET as verifiers send it."""
    requests: list[bytes] = []
    with serving(answering(reply(jwks("a")), requests=requests)) as port:
        UrlProbe(f"http://localhost:{port}/a b/ü?q=1#top", "web").look()
        expected = (
            "GET /a%20b/%C3%BC?q=1 HTTP/1.1",
            f"Host: localhost:{port}",
            "Accept: application/json, application/jwk-set+json",
            "Accept-Encoding: identity",
            "Connection: close",
            "User-Agent: rotator",
        )
    assert requests == ["\r\n".join((*expected, "", "")).encode()]


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_nothing(status: str) -> None:
    """Not found and gone are answers; "no document yet" of our own server is one of them."""
    answer = reply(
        b'{"error":"no document yet"}', status, Rotator_Document="none", Cache_Control="no-store"
    )
    none = (Answered("127.0.0.1", None),)
    assert look(answering(answer)) == Sight(None, cache=dt.timedelta(0), answers=none)
    assert look(answering(reply(b"<html>", status))) == Sight(None, answers=none)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            reply(b"", "301 Moved Permanently", Location="/x?token=1"),
            r"301, a redirect to '/x': many",
        ),
        (reply(jwks("a"), "308 Permanent Redirect"), "308, a redirect"),
        (reply(jwks("a"), "203 Non-Authoritative"), "answered 203"),
        (reply(b"", "204 No Content"), "answered 204"),
        (reply(b"", "304 Not Modified"), "answered 304"),
        (reply(b"", "403 Forbidden"), "answered 403: .*may not list"),
        (reply(b"", "429 Too Many Requests"), "answered 429"),
        (reply(b"oops", "500 Internal Server Error"), "answered 500"),
        (reply(b"", "503 Service Unavailable"), "answered 503"),
        (reply(b"<!doctype html>", Content_Type="text/html"), r"15 bytes \(text/html\) .*not JSON"),
        (reply(b""), "not JSON"),
        (reply(b"\xef\xbb\xbf" + jwks("a")), "not JSON"),
        (reply(jwks("a").decode().encode("utf-16")), "not JSON"),
        (reply(jwks("a")[:-3]), "not JSON"),
        (reply(b"[" * 100_000), "nested too deeply"),
        (reply(b"[]"), "no object with a list"),
        (reply(b'{"keys": {}}'), "no object with a list"),
        (reply(b'{"keys": [1]}'), "is no object"),
        (reply(b" " * (1 << 20) + jwks("a")), "longer than 1048576 bytes"),
        (reply(gzip.compress(jwks("a")), Content_Encoding="gzip"), "coded as 'gzip' though nobody"),
        (reply(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"), "coded as 'gzip'"),
        (reply(jwks("a"), Content_Length="9999"), "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP answer"),
        (b"", "no HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "no HTTP answer"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_anything_else_is_no_answer(answer: bytes, said: str) -> None:
    """What a verifier could not use either; the message says what was seen, at which address."""
    with pytest.raises(StoreUnavailable, match=said) as caught:
        look(answering(answer))
    assert str(caught.value).startswith("http://127.0.0.1:")


def test_the_body_is_never_quoted() -> None:
    """Whatever is served there by mistake does not get into a log."""
    with pytest.raises(StoreUnavailable) as caught:
        look(answering(reply(b"-----BEGIN PRIVATE KEY-----")))
    assert "PRIVATE" not in str(caught.value)


def drip(head: bytes, piece: bytes, stop: threading.Event) -> Handler:
    """Send a piece again and again, slowly enough for each read to succeed."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while not stop.wait(0.05):
            connection.sendall(piece)

    return handle


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b""),
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + jwks("a"), b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + jwks("a"), b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "status line", "header", "until close", "length", "chunked", "100 for ever"],
)
def test_a_look_is_bounded_as_a_whole(head: bytes, piece: bytes) -> None:
    """One byte at a time restarts every socket timeout, but not ours; a JWKS cut by us is no JWKS."""
    stop = threading.Event()
    start = time.monotonic()
    with serving(drip(head, piece, stop)) as port:
        probe = UrlProbe(f"http://127.0.0.1:{port}/", "web", timeout=0.7)
        try:
            with pytest.raises(StoreUnavailable, match=r"in time|timed out|no HTTP answer"):
                probe.look()
            took = time.monotonic() - start
        finally:
            stop.set()
    assert took < 60  # it would never end


def test_a_tls_handshake_that_never_ends_is_bounded() -> None:
    """The watchdog holds the socket before the first byte."""
    stop = threading.Event()

    def handle(connection: socket.socket) -> None:
        connection.recv(1)
        stop.wait(30)

    with serving(handle) as port:
        try:
            with pytest.raises(StoreUnavailable, match=r"in time|timed out"):
                UrlProbe(f"https://127.0.0.1:{port}/", "web", timeout=0.5).look()
        finally:
            stop.set()


def test_nobody_listens() -> None:
    """A refused connection says nothing about the JWKS."""
    with socket.socket() as held:  # the port is taken, so that nobody comes to listen at it
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(StoreUnavailable, match=r"key set web: no connection to 127\.0\.0\.1"):
            UrlProbe(f"http://127.0.0.1:{port}/", "web").look()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300])
def test_a_name_that_does_not_resolve(host: str) -> None:
    """Nor does that."""
    with pytest.raises(StoreUnavailable, match="resolve"):
        UrlProbe(f"http://{host}/", "web").look()


def test_a_resolver_that_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library's resolver takes no timeout, so it is left behind."""
    release = threading.Event()

    def hang(*_args: object, **_options: object) -> list[object]:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(StoreUnavailable, match="not resolved in time"):
            UrlProbe("http://issuer.example/", "web", timeout=0.2).look()
    finally:
        release.set()


def test_garbage_of_every_kind_is_a_store_error() -> None:
    """Bytes that look like HTTP here and there: nothing but our own error comes out."""
    dice = random.Random(7)  # the same garbage each time
    pieces = [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"200", b"\r\n", b"\n", b": ", b"Content-Length: ", b"-5",
        b"99999999999999999999999", b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffffff\r\n", b"0",
        b"Age: x\r\n", b"Date: Foo, 99 Bar 99999 99:99:99 GMT\r\n", b"Expires: 0\r\n", b"\x00\xff\r\n",
        b'Cache-Control: max-age="\r\n', b"Content-Encoding: br\r\n", jwks("a"), b"1, 2\r\n", b"=", b",",
    ]  # fmt: skip
    answers = [b"".join(dice.choices(pieces, k=dice.randint(1, 12))) for _ in range(250)]
    pending = iter(answers)

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(next(pending))

    outcomes: list[Sight | None] = []
    with serving(handle) as port:
        probe = UrlProbe(f"http://127.0.0.1:{port}/", "web", timeout=5)
        for _ in answers:
            try:
                outcomes.append(probe.look())
            except StoreUnavailable:
                outcomes.append(None)
    assert len(outcomes) == len(answers)


@pytest.mark.parametrize(
    "url",
    [
        "", "jwks.json", "ftp://host/", "http://", "http:///x", "https://user@host/", "https://u:p@host/",
        "http://host:99999/", "http://[::1/", "https://münchen.example/",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_a_fault_of_the_configuration(url: str) -> None:
    """Refused when it is configured, without printing credentials."""
    with pytest.raises(ConfigError) as caught:
        UrlProbe(url, "web")
    assert "u:p" not in str(caught.value)


def test_private_members_and_doubles_are_remarked() -> None:
    """Somebody serves what must never be served: said, and still an answer."""
    body = json.dumps({"keys": [{**KEY, "kid": "a", "d": "x"}, {**KEY, "kid": "a"}]}).encode()
    note = look(answering(reply(body))).note
    assert note == "PRIVATE key members are served here: revoke these keys; a kid is served twice"


# --- caches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": ["public"]}, None),
        ({"cache-control": ["max-age=300"]}, 300),
        ({"cache-control": ["Public, MAX-AGE = 300"]}, 300),
        ({"cache-control": ['max-age="300"']}, 300),
        ({"cache-control": ["max-age=300, s-maxage=60"]}, 300),
        ({"cache-control": ["max-age=300, s-maxage=900"]}, 900),
        (
            {"cache-control": ["max-age=300, stale-while-revalidate=60, stale-if-error=21600"]},
            21900,
        ),
        ({"cache-control": ["max-age=300, stale-while-revalidate=60"]}, 360),
        ({"cache-control": ["stale-if-error=60"]}, 60),
        ({"cache-control": ["max-age=10, max-age=20"]}, 20),
        ({"cache-control": ["max-age=20", "max-age=10"]}, 20),
        ({"cache-control": ["no-store, max-age=300"]}, 0),
        ({"cache-control": ["no-cache, stale-if-error=60"]}, 0),
        ({"cache-control": ['no-cache="Set-Cookie, X", max-age=300']}, 300),
        ({"cache-control": ['private="max-age=9", max-age=300']}, 300),
        ({"cache-control": ['ext="a\\"b, max-age=9", max-age=300']}, 300),
        ({"cache-control": ['ext="never closed, max-age=300']}, 300),
        ({"cache-control": ["max-age=99999999999999999999"]}, 2**31),
        ({"cache-control": ["max-age=0"]}, 0),
        ({"cache-control": ["max-age=-1"], "date": [DATE]}, None),
        ({"cache-control": [",,=, max-age=5,"]}, 5),
        ({"expires": ["Sun, 01 Mar 2026 13:00:00 GMT"], "date": [DATE]}, 3600),
        ({"expires": ["Sun, 01 Mar 2026 13:00:00 GMT"]}, 3600),
        ({"expires": ["Sun, 01 Mar 2026 11:00:00 GMT"], "date": [DATE]}, 0),
        ({"expires": ["0"], "date": [DATE]}, 0),
        ({"expires": ["Sun, 01 Mar 2026 13:00:00 GMT"], "cache-control": ["max-age=5"]}, 5),
        ({"expires": ["Sun, 01 Mar 2026 13:00:00 GMT"], "cache-control": ["s-maxage=5"]}, 3600),
        ({"last-modified": ["Sat, 28 Feb 2026 12:00:00 GMT"], "date": [DATE]}, 8640),
        ({"last-modified": ["Sat, 28 Feb 2026 12:00:00 GMT"], "cache-control": ["max-age=5"]}, 5),
        ({"last-modified": ["Sun, 01 Mar 2027 12:00:00 GMT"], "date": [DATE]}, 0),
        ({"cache-control": ["max-age=60"], "cdn-cache-control": ["max-age=600"]}, 600),
        ({"cache-control": ["no-store"], "cdn-cache-control": ["max-age=600"]}, 600),
        ({"cache-control": ["max-age=60"], "age": ["59"]}, 60),
        ({"cache-control": ["max-age=60"], "age": ["7200"]}, 7200),
        ({"age": ["7200"]}, 7200),
    ],
)
def test_the_longest_time_that_a_cache_may_go_on(
    headers: dict[str, list[str]], seconds: int | None
) -> None:
    """Each row as RFC 9111 has it; where caches differ, the longest."""
    expected = None if seconds is None else dt.timedelta(seconds=seconds)
    assert freshness(headers, NOW).lifetime == expected


@pytest.mark.parametrize(
    ("headers", "note"),
    [
        ({"cache-control": ["max-age=five"]}, "unreadable max-age 'five'"),
        ({"cache-control": ["max-age"]}, "unreadable max-age ''"),
        ({"age": ["x" * 99]}, f"unreadable Age '{'x' * 40}'"),
        ({"age": ["7, 9"], "cache-control": ["max-age=60"]}, "Age 7 s"),
        (
            {"age": ["61"], "cache-control": ["max-age=60"]},
            "a cache served it longer than it was told to",
        ),
        (
            {"last-modified": ["Sat, 28 Feb 2026 12:00:00 GMT"], "date": [DATE]},
            "no lifetime is sent; caches may guess 8640 s",
        ),
    ],
)
def test_what_is_odd_about_caches_is_noted(headers: dict[str, list[str]], note: str) -> None:
    """For `status`, where a person wonders why promotion waits."""
    assert note in freshness(headers, NOW).notes


def test_lifetime_and_age_reach_the_sight() -> None:
    """Through a real answer, with a field sent twice."""
    answer = (
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAge: 37\r\n"
        b"Cache-Control: stale-if-error=100\r\n\r\n" + jwks("a")
    )
    sight = look(answering(answer))
    assert (sight.cache, sight.note) == (dt.timedelta(seconds=160), "Age 37 s")


@pytest.mark.parametrize(
    "value", ["", "x", "0", "Foo, 99 Bar 99999 99:99:99 GMT", "Sun, 01 Mar 10000 00:00:00 GMT"]
)
def test_a_malformed_date_is_none(value: str) -> None:
    """Whatever the parser makes of it."""
    assert http_date({"date": [value]}, "date") is None


@pytest.mark.parametrize(
    "value",
    [DATE, "Sunday, 01-Mar-26 12:00:00 GMT", "Sun Mar  1 12:00:00 2026", DATE[:-3] + "-0000"],
)
def test_dates_in_every_spelling(value: str) -> None:
    """RFC 9110 §5.6.7 has three; all are UTC."""
    assert http_date({"date": [value]}, "date") == NOW


# --- witness of the clock -----------------------------------------------------------------------------


def answer(
    body: bytes, *, local: bool = False, address: str = "192.0.2.1", **headers: str
) -> Answer:
    """What an exchange with a server elsewhere brings."""
    fields = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    return Answer(address, 200, fields, body, time.monotonic() - 2, local)


def test_a_server_elsewhere_is_a_witness() -> None:
    """`Date` and `Age` together are now; the round trip lasts until the look ends."""
    probe = UrlProbe("https://issuer.example/", "web")
    witness = probe._sight([answer(jwks("a"), date=DATE, age="60")]).server_time
    assert witness is not None
    assert witness.date == NOW + dt.timedelta(seconds=60)
    assert dt.timedelta(seconds=2) <= witness.round_trip < dt.timedelta(seconds=30)


def test_no_witness_without_a_date_or_on_this_machine() -> None:
    """The first address that can testify does."""
    probe = UrlProbe("https://issuer.example/", "web")
    assert probe._sight([answer(jwks("a"))]).server_time is None
    assert probe._sight([answer(jwks("a"), date="x")]).server_time is None
    assert probe._sight([answer(jwks("a"), date=DATE, local=True)]).server_time is None
    both = [answer(jwks("a"), date=DATE, local=True), answer(jwks("a"), date=DATE)]
    assert probe._sight(both).server_time is not None


def own_address() -> str | None:
    """An address of this machine that is not loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(sock.getsockname()[0])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "own"])
def test_every_address_of_this_machine_is_known_as_such(host: str) -> None:
    """Loopback or not: its clock is ours."""
    address = own_address() if host == "own" else host
    if address is None or (":" in address and not has_ipv6()):
        pytest.skip(f"this machine has no such address: {host}")
    bracketed = f"[{address}]" if ":" in address else address
    with serving(answering(reply(jwks("a"), Date=DATE)), address) as port:
        sight = UrlProbe(f"http://{bracketed}:{port}/", "web").look()
    assert sight.document is not None
    assert sight.server_time is None


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# --- several addresses --------------------------------------------------------------------------------


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses, as a DNS server would say."""

    def lookup(_host: str, port: int, **_options: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def look_at_both(first: bytes, second: bytes) -> Sight:
    """Look at a name with two addresses, each with a server of its own on one port."""
    with serving(answering(first)) as port, serving(answering(second), "127.0.0.2", port):
        return UrlProbe(f"http://jwks.test:{port}/", "web", all_addresses=True).look()


def test_only_keys_at_every_address_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kid that one address lacks looks missing; so does one with another key; the longest cache counts."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    other = json.dumps(
        {"keys": [{**KEY, "kid": "b"}, {**KEY, "kid": "c", "x": "AA"}, {**KEY, "kid": "d"}]}
    )
    sight = look_at_both(
        reply(
            jwks("a", "b", "c"),
            Rotator_Key_Set="web",
            Rotator_Revision="4",
            Cache_Control="max-age=60",
        ),
        reply(
            other.encode(), Rotator_Key_Set="web", Rotator_Revision="5", Cache_Control="max-age=600"
        ),
    )
    assert sight.document is not None
    assert [key["kid"] for key in json.loads(sight.document.body)["keys"]] == ["b"]
    assert (sight.document.key_set, sight.document.revision) == ("web", 5)
    assert sight.cache == dt.timedelta(seconds=600)
    assert "addresses differ" in sight.note


def test_addresses_that_agree_show_the_very_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written anew without need."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    cached = reply(jwks("a"), Age="34")
    assert look_at_both(reply(jwks("a")), cached) == Sight(
        Document(jwks("a"), None, None),
        cache=dt.timedelta(seconds=34),
        note="Age 34 s; a cache served it longer than it was told to",
        answers=(
            Answered("127.0.0.1", ("a",)),
            Answered("127.0.0.2", ("a",), age=dt.timedelta(seconds=34)),
        ),
    )


def test_nothing_only_when_every_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds a document makes it no first run; one that holds none makes every key missing."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    none = reply(b"", "404 Not Found")
    assert look_at_both(none, none) == Sight(
        None, answers=(Answered("127.0.0.1", None), Answered("127.0.0.2", None))
    )
    for pair in ((none, reply(jwks("a"))), (reply(jwks("a")), none)):
        document = look_at_both(*pair).document
        assert document is not None
        assert json.loads(document.body) == {"keys": []}


def test_every_address_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is down, or that fails, is no answer of the whole."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.2 answered 500"):
        look_at_both(reply(jwks("a")), reply(b"", "500 Oops"))
    with serving(answering(reply(jwks("a")))) as port:
        url = f"http://jwks.test:{port}/"
        with pytest.raises(StoreUnavailable, match=r"no connection to 127\.0\.0\.2.*IPv6 included"):
            UrlProbe(url, "web", all_addresses=True).look()
        # Without `all_addresses`, one that can be reached is enough, as it is for a verifier.
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        assert UrlProbe(url, "web").look().document is not None


def test_different_key_sets_at_one_name_have_no_name() -> None:
    """The core then treats it as nobody's."""
    views = [
        view_of("u", answer(jwks("a"), rotator_key_set="web")),
        view_of("u", answer(jwks("a"), rotator_key_set="api")),
    ]
    merged = merge(views)
    assert merged.key_set is None
    assert "different key sets: api, web" in merged.notes[0]


# --- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ssl.SSLContext]]:
    """Return a maker of server contexts; what it makes is trusted unless `trusted` is False."""
    _tls_context.cache_clear()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))

    def make(*names: str, trusted: bool = True, days: int = 1) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = dt.datetime.now(dt.UTC)
        alternatives: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=9))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "server.pem").write_bytes(private + pem)
        if trusted:
            bundle.write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        return context

    yield make
    _tls_context.cache_clear()


def test_https_by_name_and_by_number(
    tls: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate's name is the URL's, whatever address is connected to; SNI and Host are right."""
    context = tls("jwks.test", "127.0.0.1")
    names: list[str | None] = []

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    requests: list[bytes] = []
    handler = answering(reply(jwks("a")), requests=requests)
    with (
        serving(handler, tls=context) as port,
        serving(handler, "127.0.0.2", port, tls=context),
    ):
        assert UrlProbe(f"https://127.0.0.1:{port}/", "web").look().document is not None
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        probe = UrlProbe(f"https://jwks.test:{port}/", "web", all_addresses=True)
        assert probe.look().document == Document(jwks("a"), None, None)
    assert names == [None, "jwks.test", "jwks.test"]
    assert [request.split(b"\r\n")[1] for request in requests] == [
        f"Host: {host}:{port}".encode() for host in ("127.0.0.1", "jwks.test", "jwks.test")
    ]


@pytest.mark.parametrize(
    ("names", "options"),
    [(["other.test"], {}), (["jwks.test"], {"trusted": False}), (["jwks.test"], {"days": -1})],
    ids=["another name", "unknown CA", "expired"],
)
def test_a_certificate_that_does_not_hold_is_no_answer(
    tls: Callable[..., ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    options: dict[str, int],
) -> None:
    """Verifiers would refuse it too."""
    resolve_to(monkeypatch, "127.0.0.1")
    with (
        serving(answering(reply(jwks("a"))), tls=tls(*names, **options)) as port,
        pytest.raises(StoreUnavailable, match=r"its certificate does not hold.*SSL_CERT_FILE"),
    ):
        UrlProbe(f"https://jwks.test:{port}/", "web").look()


def test_plain_http_where_tls_was_expected(tls: Callable[..., ssl.SSLContext]) -> None:
    """And the other way round: no answer, no hang."""
    with serving(answering(reply(jwks("a")))) as port, pytest.raises(StoreUnavailable):
        UrlProbe(f"https://127.0.0.1:{port}/", "web", timeout=0.5).look()
    with serving(answering(), tls=tls("127.0.0.1")) as port, pytest.raises(StoreUnavailable):
        UrlProbe(f"http://127.0.0.1:{port}/", "web", timeout=5).look()


def test_a_dripping_body_over_tls_is_bounded(tls: Callable[..., ssl.SSLContext]) -> None:
    """The watchdog ends the connection below the TLS layer."""
    stop = threading.Event()
    handler = drip(b"HTTP/1.1 200 OK\r\n\r\n" + jwks("a"), b" ", stop)
    with serving(handler, tls=tls("127.0.0.1")) as port:
        try:
            with pytest.raises(StoreUnavailable, match="in time"):
                UrlProbe(f"https://127.0.0.1:{port}/", "web", timeout=0.7).look()
        finally:
            stop.set()


# --- the rest -------------------------------------------------------------------------------------------


def test_authority_and_target_of_urls() -> None:
    """Default ports stay out of Host; IPv6 keeps its brackets."""
    parsed = Url.parse("https://[2001:db8::1]:443")
    assert (parsed.authority, parsed.target, parsed.port) == ("[2001:db8::1]", "/", 443)
    assert Url.parse("http://Host.Example:8080/x").authority == "host.example:8080"


def test_configuring_a_probe_loads_no_http_library() -> None:
    """It is loaded by the first look, so that commands that look at nothing start fast."""
    program = (
        "import sys\nfrom rotator.probes import UrlProbe\nUrlProbe('https://a.example/', 'web')\n"
        "print({'urllib3', 'ssl', 'http.client', 'email'} & set(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert output.stdout == "set()\n"
