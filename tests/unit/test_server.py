"""The built-in HTTP server, asked over real sockets: headers, conditions, faults, last good documents."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rotator.errors import StoreUnavailable
from rotator.publication import FilePublication, ServerPublication
from rotator.publication.sidecar import digest_of, sidecar_path
from rotator.server import ServerProcess, Site
from rotator.stores import Document, DocumentKind


def jwks(*kids: str) -> bytes:
    """Return a JWKS of Ed25519 keys that differ in their kid only."""
    keys = [
        {"kty": "OKP", "kid": kid, "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "x": "AAAA"}
        for kid in kids
    ]
    return json.dumps({"keys": keys}).encode()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, polling, with a bound."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


def next_look() -> None:
    """Let the millisecond pass in which the server does not look at a file again."""
    threading.Event().wait(0.002)


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class World:
    """A server of two key sets, and what publishes to it."""

    server: ServerProcess
    public: Path

    def publish(
        self,
        key_set: str,
        revision: int,
        *kids: str,
        max_age: int | None = 300,
        stale: int | None = 600,
    ) -> None:
        """Publish a document, whatever was there; from the next request on it is served."""
        body = jwks(*(kids or (f"{key_set}{revision}",)))
        target = FilePublication(self.file(key_set), key_set)
        self.public.mkdir(exist_ok=True)
        seen = target.look().document
        document = Document(body, key_set, revision, max_age=max_age, stale=stale)
        target.write(document, replacing=seen.token if seen else None)
        next_look()

    def file(self, key_set: str) -> Path:
        """Return where a key set is published."""
        return self.public / key_set / "jwks.json"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Send one request; header names are written with underscores."""
        place = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def revision(self, key_set: str = "web") -> str | None:
        """Return the revision that is served."""
        return self.ask(f"/{key_set}/jwks.json").headers["Rotator-Revision"]

    def send(self, data: bytes) -> bytes:
        """Send raw bytes and return everything until the server closes."""
        place = urlsplit(self.server.url)
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=60) as raw:
            raw.sendall(data)
            pieces = []
            while piece := raw.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)

    def restart(self) -> None:
        """Kill the child and wait until another one serves."""
        before = self.server.pid
        assert before is not None
        os.kill(before, 9)
        wait_until(lambda: self.server.ensure() and self.server.pid not in {None, before})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running server with nothing published yet."""
    public = tmp_path / "public"
    site = Site(public, ("web", "jobs"), default="web", combine={"/all.json": ("web", "jobs")})
    server = ServerProcess("127.0.0.1", 0, site)
    server.start()
    yield World(server, public)
    server.stop()


def test_a_document_comes_with_all_its_headers(world: World) -> None:
    world.publish("web", 3)
    reply = world.ask("/web/jwks.json")
    assert (reply.status, reply.body) == (200, jwks("web3"))
    headers = dict(reply.headers.items())
    date, modified = headers.pop("date"), headers.pop("last-modified")
    # The server tells the time once in a second: `Date` may be that much late.
    assert parsedate_to_datetime(modified) <= parsedate_to_datetime(date) + timedelta(seconds=1)
    assert headers == {
        "content-type": "application/jwk-set+json",
        "content-length": str(len(reply.body)),
        "etag": f'"{digest_of(reply.body)}"',
        "cache-control": "public, max-age=300, stale-while-revalidate=600, stale-if-error=600",
        "access-control-allow-origin": "*",
        "x-content-type-options": "nosniff",
        "server": "rotator",
        "rotator-key-set": "web",
        "rotator-revision": "3",
    }


@pytest.mark.parametrize(
    ("max_age", "stale", "expected"),
    [
        (60, 0, "public, max-age=60"),
        (60, None, "public, max-age=60"),
        (None, None, "public, max-age=0"),
        (2, 5, "public, max-age=2, stale-while-revalidate=5, stale-if-error=5"),
    ],
)
def test_cache_lifetimes_are_those_of_the_policy(
    world: World, max_age: int | None, stale: int | None, expected: str
) -> None:
    world.publish("web", 1, max_age=max_age, stale=stale)
    assert world.ask("/web/jwks.json").headers["Cache-Control"] == expected


def test_the_default_key_set_is_at_the_well_known_path_too(world: World) -> None:
    world.publish("web", 3)
    assert world.ask("/.well-known/jwks.json").body == jwks("web3")


def test_head_is_get_without_the_body(world: World) -> None:
    world.publish("web", 3)
    get, head = world.ask("/web/jwks.json"), world.ask("/web/jwks.json", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {n: v for n, v in head.headers.items() if n != "date"} == {
        n: v for n, v in get.headers.items() if n != "date"
    }


@pytest.mark.parametrize(
    ("template", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ("*", 304),
        ('"other", {etag}', 304),
        ('"other",W/{etag} , "third"', 304),
        ('"other"', 200),
        ("{bare}", 200),
        ("", 200),
        ('W/"', 200),
        (",,,", 200),
        ('"a,b", "c', 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(world: World, template: str, status: int, method: str) -> None:
    world.publish("web", 3)
    digest = digest_of(jwks("web3"))
    asked = template.format(etag=f'"{digest}"', bare=digest)
    reply = world.ask("/web/jwks.json", method, If_None_Match=asked)
    assert reply.status == status
    if status == 304:
        assert reply.body == b""
        assert reply.headers["ETag"] == f'"{digest}"'
        assert "max-age=300" in reply.headers["Cache-Control"]
        assert reply.headers["Rotator-Revision"] == "3"
        assert reply.headers["Content-Type"] is None


def test_if_none_match_in_several_lines(world: World) -> None:
    world.publish("web", 3)
    etag = f'"{digest_of(jwks("web3"))}"'
    request = (
        "GET /web/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f'If-None-Match: "other"\r\nIf-None-Match: {etag}\r\n\r\n'
    )
    assert world.send(request.encode()).startswith(b"HTTP/1.1 304 ")


def test_a_date_never_keeps_a_verifier_from_a_new_document(world: World) -> None:
    world.publish("web", 3)
    reply = world.ask("/web/jwks.json", If_Modified_Since="Fri, 31 Dec 2100 23:59:59 GMT")
    assert reply.status == 200


def test_no_document_yet_says_so_and_is_not_cached(world: World) -> None:
    for path in ("/web/jwks.json", "/.well-known/jwks.json"):
        reply = world.ask(path)
        assert (reply.status, json.loads(reply.body)) == (404, {"error": "no document yet"})
        assert reply.headers["Rotator-Document"] == "none"
        assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/web",
        "/web/",
        "/web/jwks.json/",
        "/web/jwks.json.meta.json",
        "/../etc/passwd",
        "/web/../jobs/jwks.json",
        "/web/%2e%2e/jobs/jwks.json",
        "//web/jwks.json",
        "/WEB/jwks.json",
        "/unknown/jwks.json",
        "/" + "a" * 5000,
    ],
)
def test_any_other_path_is_unknown(world: World, path: str) -> None:
    world.publish("web", 3)
    world.publish("jobs", 3)
    reply = world.ask(path)
    assert (reply.status, json.loads(reply.body)) == (404, {"error": "not found"})
    assert reply.headers["Rotator-Document"] is None


def test_a_query_changes_nothing(world: World) -> None:
    world.publish("web", 3)
    assert world.ask("/web/jwks.json?x=1").body == jwks("web3")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_only_get_and_head(world: World, method: str) -> None:
    world.publish("web", 3)
    for path in ("/web/jwks.json", "/healthz", "/readyz"):
        reply = world.ask(path, method)
        assert reply.status == 405
        assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert world.ask("/unknown", method).status == 404


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /web/jwks.json HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /web/jwks.json HTTP/1.1\r\nContent-Length: nine\r\n\r\n",
        b"GET /web/jwks.json HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /web/jwks.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /web/jwks.json HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_malformed_request_harms_nobody(world: World, request_bytes: bytes) -> None:
    world.publish("web", 3)
    before = world.server.pid
    try:
        said = world.send(request_bytes)
    except ConnectionError:  # closed with bytes unread: the kernel answers for the server
        said = b""
    assert said == b"" or said.startswith(b"HTTP/1.1 ")
    assert world.ask("/web/jwks.json").body == jwks("web3")
    assert world.server.pid == before


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", b"", 400),
        (b"1.1", b"Host: x\r\nHost: x\r\n", 400),
        (b"1.1", b"Host:\r\n", 200),
        (b"1.0", b"", 200),
        (b"1.0", b"Host: x\r\nHost: y\r\n", 400),
    ],
)
def test_one_host_and_no_more(world: World, version: bytes, hosts: bytes, status: int) -> None:
    """RFC 9112 §3.2: whoever says none, or several, may mean one thing to us and another to who is in between."""
    world.publish("web", 3)
    for path in (b"/web/jwks.json", b"/healthz"):
        request = b"GET " + path + b" HTTP/" + version + b"\r\n" + hosts
        said = world.send(request + b"Connection: close\r\n\r\n")
        assert said.split(b" ", 2)[1] == str(status).encode(), said


def test_pipelined_and_kept_alive_requests_are_answered_in_order(world: World) -> None:
    world.publish("web", 3)
    request = b"GET /web/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
    said = world.send(request * 3 + b"GET /healthz HTTP/1.0\r\n\r\n")
    assert said.count(jwks("web3")) == 3
    assert b'"alive": true' in said


@pytest.mark.slow
def test_an_idle_connection_is_closed_by_the_server(world: World) -> None:
    assert world.send(b"GET /web/jwks.json HTTP/1.1\r\nHo") == b""


def test_healthz_is_alive_without_any_document(world: World) -> None:
    assert world.ask("/healthz").status == 200
    assert world.ask("/healthz", "HEAD").body == b""


def test_readyz_names_who_lacks_a_document_and_stays_ready_on_the_last_good(world: World) -> None:
    world.publish("web", 1)
    reply = world.ask("/readyz")
    assert reply.status == 503
    assert json.loads(reply.body) == {
        "ready": False,
        "key_sets": 2,
        "lacking": 2,
        "without_document": ["/all.json", "jobs"],
    }
    world.publish("jobs", 1)
    assert world.ask("/readyz").status == 200
    world.file("jobs").unlink()
    world.file("web").write_bytes(b"")
    next_look()
    assert json.loads(world.ask("/readyz").body) == {"ready": True, "key_sets": 2}


def test_a_replaced_document_is_served_at_once(world: World) -> None:
    """But for the millisecond in which a file is not looked at again."""
    for revision in range(1, 20):
        world.publish("web", revision)
        assert world.ask("/web/jwks.json").body == jwks(f"web{revision}")


def private(body: bytes) -> bytes:
    """Return a JWKS with a private member in its key."""
    return body.replace(b'"x"', b'"d": "SECRET", "x"')


BAD_BODIES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda body: body[:-1],
    lambda body: body[: len(body) // 2],
    private,
    lambda _: b'{"keys": []}',
    lambda _: b"<html>",
    lambda body: body.replace(b"web", b"bew"),
    lambda body: body + b" " * (1 << 20),
]


@pytest.mark.parametrize("damage", BAD_BODIES)
def test_a_bad_file_is_never_served_the_last_good_one_is(
    world: World, damage: Callable[[bytes], bytes]
) -> None:
    world.publish("web", 3)
    assert world.revision() == "3"
    world.file("web").write_bytes(damage(jwks("web3")))
    next_look()
    for _ in range(2):
        reply = world.ask("/web/jwks.json")
        assert (reply.status, reply.body) == (200, jwks("web3"))


@pytest.mark.parametrize("damage", BAD_BODIES[:6])
def test_after_a_restart_a_bad_file_is_no_document_and_no_nothing(
    world: World, damage: Callable[[bytes], bytes]
) -> None:
    world.publish("web", 3)
    world.file("web").write_bytes(damage(jwks("web3")))
    world.restart()
    reply = world.ask("/web/jwks.json")
    assert reply.status == 503
    assert reply.headers["Rotator-Document"] == "unreadable"
    assert reply.headers["Cache-Control"] == "no-store"
    assert b"SECRET" not in reply.body
    assert str(world.public).encode() not in reply.body
    world.publish("web", 4)
    assert world.revision() == "4"


def test_after_a_restart_a_good_document_edited_by_hand_is_better_than_none(world: World) -> None:
    world.publish("web", 3)
    world.file("web").write_bytes(jwks("edited"))
    world.restart()
    assert world.ask("/web/jwks.json").body == jwks("edited")
    assert publication(world).look().note.startswith("drift:")


def test_the_last_good_document_survives_a_restart(world: World) -> None:
    world.publish("web", 3)
    world.restart()
    assert world.ask("/web/jwks.json").body == jwks("web3")
    assert world.revision() == "3"


def test_a_lower_revision_or_another_key_set_is_never_served(world: World) -> None:
    world.publish("web", 3)
    old = world.file("web").read_bytes(), sidecar_path(world.file("web")).read_bytes()
    world.publish("web", 4)
    assert world.revision() == "4"
    sidecar_path(world.file("web")).write_bytes(old[1])
    world.file("web").write_bytes(old[0])
    next_look()
    assert world.ask("/web/jwks.json").body == jwks("web4")
    world.publish("jobs", 9)
    for path in (sidecar_path(world.file("jobs")), world.file("jobs")):
        (world.public / "web" / path.name).write_bytes(path.read_bytes())
    next_look()
    assert world.ask("/web/jwks.json").body == jwks("web4")


def test_a_symbolic_link_is_not_followed(world: World, tmp_path: Path) -> None:
    world.publish("web", 3)
    secret = tmp_path / "secret.json"
    secret.write_bytes(jwks("stolen"))
    world.file("web").unlink()
    world.file("web").symlink_to(secret)
    assert world.ask("/web/jwks.json").status == 503


def test_a_combined_document_waits_for_all_its_key_sets_and_carries_each(world: World) -> None:
    world.publish("web", 3, max_age=60)
    assert world.ask("/all.json").status == 503
    world.publish("jobs", 7, stale=0)
    reply = world.ask("/all.json")
    kids = [key["kid"] for key in json.loads(reply.body)["keys"]]
    assert kids == ["web3", "jobs7"]
    assert reply.headers["Rotator-Key-Sets"] == "web=3, jobs=7"
    assert reply.headers["Rotator-Key-Set"] is None
    assert reply.headers["Cache-Control"] == "public, max-age=60"
    assert world.ask("/all.json", If_None_Match=reply.headers["ETag"]).status == 304
    world.publish("jobs", 8, "web3")  # a kid of the other key set
    assert world.ask("/all.json").body == reply.body
    world.publish("jobs", 9)
    assert world.ask("/all.json").headers["Rotator-Key-Sets"] == "web=3, jobs=9"


def publication(world: World, key_set: str = "web") -> ServerPublication:
    """Return the target that publishes at a world's server."""
    return ServerPublication(world.server.url, world.public, key_set)


def test_the_publication_looks_by_asking_the_server(world: World) -> None:
    target = publication(world)
    assert (target.name, target.kind) == ("server", DocumentKind.JWKS)
    assert target.writable
    assert target.independent
    assert target.look().document is None
    target.write(Document(jwks("a"), "web", 1, max_age=5, stale=6), replacing=None)
    sight = target.look()
    assert sight.document is not None
    assert sight.document.body == jwks("a")
    assert (sight.document.key_set, sight.document.revision) == ("web", 1)
    assert (sight.document.max_age, sight.document.stale) == (5, 6)
    assert (sight.server_time, sight.cache, sight.note) == (None, None, "")
    target.write(Document(jwks("b"), "web", 2), replacing=sight.document.token)
    after = target.look().document
    assert after is not None
    assert after.body == jwks("b")


def test_the_publication_shows_a_bad_file_as_drift_and_mends_it(world: World) -> None:
    target = publication(world)
    target.write(Document(jwks("a"), "web", 1), replacing=None)
    assert target.look().note == ""
    world.file("web").write_bytes(b"truncat")
    sight = target.look()
    assert sight.note.startswith("drift:")
    assert sight.document is not None
    assert sight.document.body == jwks("a")
    world.restart()
    sight = target.look()
    assert sight.note.startswith("drift:")
    assert sight.document is not None
    assert (sight.document.body, sight.document.revision) == (b"truncat", 1)
    target.write(Document(jwks("a"), "web", 1), replacing=sight.document.token)
    assert target.look().note == ""


def test_the_publication_shows_a_vanished_file_as_drift_and_mends_it(world: World) -> None:
    target = publication(world)
    target.write(Document(jwks("a"), "web", 1), replacing=None)
    assert target.look().note == ""
    world.file("web").unlink()
    sight = target.look()
    assert sight.note.startswith("drift:")
    assert sight.document is not None
    target.write(Document(jwks("a"), "web", 1), replacing=sight.document.token)
    assert target.look().note == ""


def test_no_answer_from_the_server_is_never_nothing(world: World) -> None:
    with pytest.raises(StoreUnavailable, match="404"):
        publication(world, "unknown").look()
    target = publication(world)
    world.server.stop()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        target.look()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
    ],
)
def test_a_stranger_at_the_port_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_all() -> None:
            with contextlib.suppress(OSError):  # until the listener is shut down
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(ConnectionError):
                        peer.recv(65536)
                        peer.sendall(answer)

        stranger = threading.Thread(target=answer_all)
        stranger.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(StoreUnavailable):
            ServerPublication(url, tmp_path / "public", "web", timeout=2).look()
        listener.shutdown(socket.SHUT_RDWR)
        stranger.join()
