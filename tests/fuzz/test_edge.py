"""Hostile input against the built-in HTTP server, in its real child process.

`make test` plays a bounded part with a fixed seed; `make fuzz` plays a million requests with a new one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.server import ServerProcess
from tests.fuzz.campaign import REQUESTS, Bounds, attack
from tests.fuzz.clients import Canary
from tests.fuzz.drive import Driver
from tests.fuzz.ground import BOUND, LATE, Held, at_rest, edge, learned, say, until
from tests.fuzz.shapes import Act, Exchange, Site
from tests.fuzz.wire import Known

GET = b"GET /web/jwks.json HTTP/1.1\r\nHost: x\r\n"
EXAMPLES = 20_000 if REQUESTS else 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The edge, in its child process."""
    with edge(tmp_path_factory.mktemp("edge")) as server:
        yield server


@pytest.fixture(scope="module")
def known(server: ServerProcess) -> Known:
    """Its honest answers."""
    return learned(server.address)


@pytest.mark.slow
def test_an_attack_harms_nobody(server: ServerProcess, known: Known) -> None:
    """No unknown answer, no hang, no growth, nothing smuggled; honest clients are served throughout."""
    pid = server.pid
    assert pid is not None
    tally = attack(
        server.address, pid, known, Site(), path="/web/jwks.json", bounds=Bounds(10.0), idlers=3
    )
    assert server.pid == pid
    assert server.restarts == 0
    assert set(tally.statuses) >= {200, 304, 400, 404, 405, 431}
    assert set(tally.statuses) & set(range(500, 600)) <= {
        503
    }  # of /readyz, for `empty` has no document


TOKENS = st.binary(min_size=1, max_size=12).map(lambda raw: bytes(33 + byte % 94 for byte in raw))
VALUES = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n"))
NAMES = st.one_of(
    st.sampled_from(
        [b"Content-Length", b"Transfer-Encoding", b"Connection", b"If-None-Match", b"Host"]
    ),
    TOKENS,
)
HEADERS = st.lists(
    st.tuples(NAMES, st.one_of(VALUES, st.sampled_from([b"0", b"5", b"chunked", b"close", b"*"]))),
    max_size=6,
)
LINES = st.tuples(
    st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS"]), TOKENS),
    st.one_of(
        st.sampled_from([b"/web/jwks.json", b"/all.json", b"/readyz"]),
        st.binary(max_size=30).map(lambda raw: b"/" + raw),
        TOKENS,
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b""]),
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Requests built of parts that are right, wrong, or both, cut into packets anywhere."""
    sent = b""
    for _ in range(draw(st.integers(1, 3))):
        end = draw(ENDS)
        lines = [b" ".join(draw(LINES)), *(b": ".join(header) for header in draw(HEADERS))]
        sent += end.join(lines) + end * 2 + draw(st.binary(max_size=20))
    cut = draw(st.integers(1, len(sent)))
    pieces = (sent[:cut], Act.WAIT, sent[cut:] or b"\r\n", Act.HALF_CLOSE)
    return Exchange("drawn", pieces, 1, sent.count(b"\n") + sent.count(b"\r") + 1)


@settings(
    max_examples=EXAMPLES,
    derandomize=not REQUESTS,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(exchange=exchanges())
def test_any_parts_of_requests_get_honest_answers(
    server: ServerProcess, known: Known, exchange: Exchange
) -> None:
    """Hypothesis draws requests, and shrinks those that get an answer which no honest request gets."""
    pid = server.pid
    tally = Driver(server.address, known).run([exchange])
    assert not tally.findings, tally
    assert server.pid == pid


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"),
        (b"Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n", b"abc"),
        (b"Transfer-Encoding : chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_framing_that_contradicts_itself_ends_the_connection(
    server: ServerProcess, method: bytes, framing: bytes, body: bytes
) -> None:
    """RFC 9112 §6.1, §6.3: one answer at most; what follows is never taken for a request."""
    follows = b"GET /smuggled/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head = method + b" /web/jwks.json HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n"
    said = say(server.address, head + body + follows)
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"key-set: smuggled" not in said


@pytest.mark.parametrize(
    ("asked", "follows"),
    [
        (GET + b"Connection: close\r\n\r\n", b"\r\n"),
        (GET + b"Connection: close\r\n\r\n", b"and more"),
        (GET + b"\r\n", b"no HTTP\r\n\r\n"),
        (GET.replace(b"1.1", b"1.0") + b"\r\n", b"\r\n"),
    ],
)
def test_an_answer_is_not_lost_to_what_follows_its_request(
    server: ServerProcess, asked: bytes, follows: bytes
) -> None:
    """Some clients send a line break too many (RFC 9112 §2.2); the answer to what came before is theirs."""
    said = say(server.address, asked + follows)
    assert said[:15] in (b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK")
    assert b'"kid": "web3"' in said


@pytest.mark.slow
def test_heads_that_never_end_take_little_memory(server: ServerProcess) -> None:
    """Two hundred clients each hold as much of a head as there is room for: the bound is 16 KiB for each."""
    pid = server.pid
    assert pid is not None
    assert at_rest(pid)
    before = Held.by(pid)
    socks = [socket.create_connection(server.address, timeout=BOUND) for _ in range(200)]
    try:
        with Canary(server.address) as canary:
            for sock in socks:
                sock.sendall(GET + b"X: " + b"a" * 15_000)
            assert until(lambda: Held.by(pid).files >= before.files + len(socks))
            assert until(lambda: canary.served > 20)
            assert Held.by(pid).rss - before.rss < 200 * 64 * 1024
        assert not canary.faults
        assert canary.late < LATE
    finally:
        for sock in socks:
            sock.close()
    assert until(lambda: Held.by(pid).files <= before.files)
