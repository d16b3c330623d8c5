"""The admin listener: what it answers, and what it bears. Real sockets on the loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from rotator.admin import AdminListener, AdminSite, Answer, listener
from rotator.admin.exchange import LIMIT, said, understood
from rotator.daemon.state import DaemonState
from rotator.errors import ConfigError, StoreUnavailable, TargetFailing
from rotator.metrics import Meter
from rotator.metrics.figures import KeySetFigures
from rotator.metrics.surroundings import Surroundings
from rotator.settings import Settings, load_settings

BOUND = 20.0  # seconds; only a test that fails waits so long
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def plain(text: str) -> Callable[[], Answer]:
    return lambda: Answer(200, "text/plain", text.encode())


def unexpected(error: TargetFailing) -> None:
    raise AssertionError(str(error))


@contextmanager
def listening(**routes: Callable[[], Answer]) -> Iterator[AdminListener]:
    """A listener with a quick `/healthz` and more routes by name."""
    found = {"/healthz": plain("well\n"), **{f"/{name}": route for name, route in routes.items()}}
    made = AdminListener("127.0.0.1", 0, found, frozenset({"/healthz"}))
    made.start(lambda: None, unexpected)
    try:
        yield made
    finally:
        made.stop()


def connect(made: AdminListener) -> socket.socket:
    host, _, port = made.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), BOUND)


def exchange(made: AdminListener, data: bytes) -> bytes:
    """Send bytes, and return all that comes back until the end."""
    with connect(made) as connection:
        connection.sendall(data)
        return all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def get(path: str, method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_get_and_head() -> None:
    """The content with the one, only its length with the other; then the connection ends."""
    with listening(big=plain("x" * 3_000_000)) as made:
        answer = exchange(made, get("/healthz"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nwell\n")
        assert b"Cache-Control: no-store" in answer
        head = exchange(made, get("/healthz?verbose", "HEAD"))
        assert b"Content-Length: 5\r\n" in head
        assert head.endswith(b"\r\n\r\n")
        assert len(exchange(made, get("/big"))) > 3_000_000
        assert status(exchange(made, get("http://elsewhere/healthz"))) == 200
        assert status(exchange(made, b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (get("/nothing"), 404),
        (get("/healthz/"), 404),
        (get("/healthz%00"), 404),
        (get("/healthz", "POST", "Content-Length: 1"), 405),
        (get("*", "OPTIONS"), 405),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"get /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET /h\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (get("/healthz", "GET", "X: " + "y" * LIMIT), 431),
        (b"x" * (LIMIT + 1), 431),
    ],
)
def test_what_is_no_request(request_: bytes, expected: int) -> None:
    """Each gets its status, and nothing of it comes back."""
    with listening() as made:
        answer = exchange(made, request_)
        assert status(answer) == expected
        assert b"folded" not in answer
        assert (b"Allow: GET, HEAD" in answer) == (expected == 405)
        assert status(exchange(made, get("/healthz"))) == 200


def test_one_answer_per_connection() -> None:
    """A second request, or what a body might smuggle, is never looked at."""
    with listening() as made:
        twice = exchange(made, get("/healthz") + get("/healthz"))
        body = get("/healthz", "GET", "Content-Length: 40", "Transfer-Encoding: chunked")
        hidden = exchange(made, body + b"0\r\n\r\n" + get("/healthz"))
        assert twice.count(b"HTTP/1.1 ") == hidden.count(b"HTTP/1.1 ") == 1


def test_a_client_that_only_stops_sending_gets_its_answer() -> None:
    """Half-closed is not gone; but half a request and then the end is."""
    with listening(page=plain("page")) as made:
        for data, expected in ((get("/page"), 200), (b"GET /page HT", 0)):
            with connect(made) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                assert status(all_of(connection)) == expected
                # The other end is still open here, and the listener has let go all the same.
                ended = time.monotonic() + BOUND
                while made._open and time.monotonic() < ended:
                    threading.Event().wait(0.01)
                assert not made._open


def test_a_slow_head_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that keep coming do not keep a connection."""
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    with listening() as made, connect(made) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        assert status(all_of(connection)) == 408


def test_idle_connections_keep_no_health_check_out() -> None:
    """However many there are; the oldest of them make place."""
    with listening() as made, ExitStack() as stack:
        idle = [stack.enter_context(connect(made)) for _ in range(3 * listener.CONNECTIONS)]
        for connection in idle[::7]:
            connection.sendall(b"GET /healthz HT")
        assert status(exchange(made, get("/healthz"))) == 200
        assert len(made._open) <= listener.CONNECTIONS


def test_a_page_that_hangs_holds_up_itself_only() -> None:
    """Whoever asks for it meanwhile shares one making of it; health is told at once."""
    going_on, made_count = threading.Event(), []

    def slow() -> Answer:
        made_count.append(1)
        going_on.wait(BOUND)
        return Answer(200, "text/plain", b"late")

    with listening(slow=slow, other=plain("other")) as made, ExitStack() as stack:
        waiting = [stack.enter_context(connect(made)) for _ in range(5)]
        for connection in waiting:
            connection.sendall(get("/slow"))
        began = time.monotonic()
        assert status(exchange(made, get("/healthz"))) == 200
        assert status(exchange(made, get("/other"))) == 200
        assert time.monotonic() - began < BOUND / 2
        going_on.set()
        assert all(all_of(connection).endswith(b"late") for connection in waiting)
    assert len(made_count) == 1


def test_a_fault_in_telling_is_a_503() -> None:
    """And the listener lives on; what went wrong is for the log."""

    def broken() -> Answer:
        raise RuntimeError("secret words")

    with listening(broken=broken) as made:
        answer = exchange(made, get("/broken"))
        assert status(answer) == 503
        assert b"secret" not in answer
        assert status(exchange(made, get("/healthz"))) == 200


def test_addresses() -> None:
    """One that is taken is waited for; one that this host has not is refused."""
    said_so: list[TargetFailing] = []
    began = threading.Event()
    with listening() as first:
        port = int(first.url.rpartition(":")[2])
        second = AdminListener("127.0.0.1", port, {"/second": plain("second")})
        second.start(began.set, said_so.append)
        assert f"127.0.0.1:{port}: another program does" in said_so[0].message
        assert not began.is_set()
    try:
        assert began.wait(BOUND)
        assert status(exchange(second, get("/second"))) == 200
    finally:
        second.stop()
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1:1"):
        AdminListener("192.0.2.1", 1, {}).start(lambda: None, unexpected)


def test_it_ends_while_it_waits_for_its_address() -> None:
    """Nothing is left behind."""
    with listening() as first:
        second = AdminListener("127.0.0.1", int(first.url.rpartition(":")[2]), {})
        second.start(lambda: None, lambda _: None)
        second.stop()
        assert second._thread is not None
        assert not second._thread.is_alive()


@settings(max_examples=300, deadline=None)
@given(strategies.binary(max_size=200) | strategies.text(max_size=200).map(str.encode))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    """The reader of a head raises nothing, and only a whole request reaches a route."""
    routes = {"/a": plain("")}
    for head in (data, b"GET /a HTTP/1.1\r\n" + data, b"GET " + data + b" HTTP/1.0"):
        found = understood(head, routes)
        assert (found.route is None) != (found.refusal is None)


# --- the pages ---------------------------------------------------------------------------------------------------


def configured(path: Path, *names: str, algorithm: str = "ES256", server: bool = False) -> Settings:
    """Settings with key sets that publish to files."""
    path.mkdir(exist_ok=True)
    hmac = algorithm.startswith("HS")
    deliver: list[dict[str, str]] = [{"to": "files"}]
    key_sets = {}
    for name in names:
        deliver = [{"to": "files", "path": f"signing/{name}"}]
        if hmac:
            deliver.append({"to": "files", "path": f"v/{name}", "document": "verification"})
        key_sets[name] = {
            "algorithm": algorithm,
            "policy": {"token_ttl": "15m", "signer_lag": "5m"},
            "deliver": deliver,
            **({} if hmac else {"publish": [{"to": "file", "path": f"jwks/{name}.json"}]}),
        }
    document: dict[str, Any] = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "store"}},
        "key_sets": key_sets,
        **({"server": {"listen": "127.0.0.1:0"}} if server else {}),
    }
    (path / "rotator.json").write_text(json.dumps(document))
    return load_settings(path / "rotator.json", {})


class Pages:
    """An admin site over a meter and a state that the test fills."""

    def __init__(self, found: Settings) -> None:
        self.meter, self.state = Meter(lambda: NOW), DaemonState(NOW)
        self.server: tuple[bool, int] | None = None
        around = Surroundings("1", lambda: self.state.reload, lambda: self.server)
        self.site = AdminSite(
            lambda: found,
            self.meter,
            around,
            reload=lambda: self.state.reload,
            beat=lambda: self.state.beat,
        )

    def tried(self, name: str, *, publishes: bool) -> None:
        """As a tick leaves it: one that could be made, or one that could not."""
        if publishes:
            self.meter._key_sets[name] = KeySetFigures(name, "ES256", publishes=True)
        else:
            self.meter.could_not(name, StoreUnavailable("down"), "ES256")

    def ready(self) -> tuple[int, Any]:
        answer = self.site.readiness()
        return answer.status, json.loads(answer.body)


JWKS = b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","use":"sig","alg":"EdDSA"}]}'


def test_ready_when_there_is_a_jwks_to_serve(tmp_path: Path) -> None:
    """Not before the first tick; from then on whatever becomes of the store."""
    pages = Pages(configured(tmp_path, "web"))
    code, body = pages.ready()
    assert (code, body["ready"], body["without_document"]) == (503, False, ["web"])
    pages.tried("web", publishes=False)
    assert pages.ready()[0] == 503
    pages.tried("web", publishes=True)
    assert pages.ready()[0] == 200
    pages.tried("web", publishes=False)  # the store is down; the keys are known
    code, body = pages.ready()
    assert (code, body["failing"]) == (200, 1)


@pytest.mark.parametrize("server", [False, True])
def test_ready_on_the_last_good_document(tmp_path: Path, server: bool) -> None:
    """A restart while the store is down; but a file that is no JWKS is not served, and counts for nothing."""
    found = configured(tmp_path, "web", server=server)
    file = found.public_dir / "web" / "jwks.json" if server else tmp_path / "jwks" / "web.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(JWKS[:-9])
    pages = Pages(found)
    assert pages.ready()[0] == 503
    file.write_bytes(JWKS)
    assert pages.ready()[0] == 200


def test_one_bad_key_set_makes_nobody_unready(tmp_path: Path) -> None:
    """Once it was tried: it is named."""
    pages = Pages(configured(tmp_path, "web", "new"))
    pages.tried("web", publishes=True)
    assert pages.ready()[0] == 503, "the first round is not over"
    pages.tried("new", publishes=False)
    code, body = pages.ready()
    assert (code, body["lacking"], body["without_document"]) == (200, 1, ["new"])


def test_hmac_is_ready_when_it_was_tried(tmp_path: Path) -> None:
    """There is no JWKS to wait for."""
    pages = Pages(configured(tmp_path, "jobs", algorithm="HS256"))
    assert pages.ready()[0] == 503
    pages.tried("jobs", publishes=True)
    assert pages.ready()[0] == 200


def test_a_refused_configuration_and_a_dead_server_are_named(tmp_path: Path) -> None:
    """The first leaves it ready, the second does not."""
    pages = Pages(configured(tmp_path, "web"))
    pages.tried("web", publishes=True)
    pages.state.reload = replace(
        pages.state.reload, error="rotator.yaml:3: unknown key", refusals=1
    )
    code, body = pages.ready()
    assert code == 200
    assert "unknown key" in body["configuration"]
    text = pages.site.metrics().body
    assert b"rotator_config_last_reload_successful 0.0" in text
    assert b'rotator_config_reloads_total{result="refused"} 1.0' in text
    assert b"process_resident_memory_bytes" in text
    pages.server = (False, 3)
    assert pages.ready()[0] == 503
    assert b"rotator_server_up 0.0" in pages.site.metrics().body


def test_alive_while_the_main_loop_comes_round(tmp_path: Path) -> None:
    """A loop that hangs is what a restart is for; one that has not begun yet is not hanging."""
    pages = Pages(configured(tmp_path, "web"))
    assert pages.site.health().status == 200
    pages.state.beat = time.monotonic() - 60
    assert pages.site.health().status == 200
    pages.state.beat = time.monotonic() - 120
    assert pages.site.health() == said(
        503, {"alive": False, "reason": "the main loop has not come round for 120 s"}
    )
