"""The judge of the fuzzer: every kind of misdeed is found, and honest answers are none."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.fuzz.attacker import Attacker
from tests.fuzz.drive import Driver, judge
from tests.fuzz.shapes import Exchange, Site
from tests.fuzz.wire import Finding, Known

DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
OK = (
    b"HTTP/1.1 200 OK\r\nx: y\r\nrotator-key-set: web\r\ncontent-length: 4\r\n" + DATE + b"\r\nbody"
)
HEADED = OK.removesuffix(b"body")
FENCED = OK.replace(b"set: web", b"set: fence")
SMUGGLED = OK.replace(b"set: web", b"set: smuggled")
BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n" + DATE + b"connection: close\r\n\r\n"
METRICS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\na 1"
ASKED = Exchange("two", (b"...",), 2, most=2, least=2, mark=b"MARK")


@pytest.fixture
def known() -> Known:
    """What a small server says."""
    known = Known((b"text/plain",))
    for raw in (OK, HEADED, FENCED, SMUGGLED, BAD, METRICS):
        known.learn(raw)
    return known


@pytest.mark.parametrize(
    "said",
    [
        OK + OK,
        OK + FENCED,
        HEADED + OK,
        OK + HEADED,
        OK.replace(b"06 Nov 1994", b"07 Nov 1994") + BAD,
        OK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"x: y\r\n", b"X: y\r\nConnection: close\r\n")
        + OK,
        METRICS.replace(b": 3", b": 5") + b"23" + OK,
    ],
)
def test_honest_answers_pass(known: Known, said: bytes) -> None:
    assert len(judge(ASKED, said, known, orderly=True)) == 2


@pytest.mark.parametrize(
    "said",
    [
        OK,
        OK + OK + BAD,
        OK + SMUGGLED,
        FENCED + OK,
        OK + OK[:-1],
        OK + b"HTTP/1.1 200 OK\r\n",
        OK + OK + b"\r\n",
        OK + OK.replace(b"body", b"bodZ"),
        OK + OK.replace(b"x: y", b"x: y\r\nx-injected: y"),
        OK + OK.replace(b"x: y\r\n", b""),
        OK + OK.replace(b"200 OK", b"500 Internal Server Error"),
        OK + OK.replace(b"1994", b"MARK"),
        OK + OK.replace(b"date:", b"date: x\r\ndate:"),
        OK + BAD.replace(b"close", b"MARK"),
        OK + METRICS.replace(b"a 1", b"a MARK"),
        OK + METRICS.replace(b"Length: 3", b"Length: 6").replace(b"a 1", b"a MARK"),
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"body\r\n\r\n",
    ],
)
def test_every_misdeed_is_found(known: Known, said: bytes) -> None:
    with pytest.raises(Finding):
        judge(ASKED, said, known, orderly=True)


def test_what_a_reset_cut_off_is_no_finding(known: Known) -> None:
    """The kernel throws away what the client had not read yet."""
    assert len(judge(ASKED, OK + OK[:-1], known, orderly=False)) == 1


def test_a_server_that_neither_answers_nor_closes_is_found(known: Known) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        driver = Driver(silent.getsockname(), known, hang=0.3)
        tally = driver.run([Exchange("one", (b"GET",), 1, 1)])
    assert tally.ends == {"hung": 1}
    assert "neither answered nor closed" in str(tally)


def test_a_refused_connection_is_found(known: Known) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    assert Driver(address, known).run([Exchange("one", (b"GET",), 1, 1)]).findings


def test_a_server_that_echoes_is_found(known: Known) -> None:
    """Over real sockets: the request comes back in the body of each answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, contextlib.suppress(OSError):  # some of them reset the connection
                    peer.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n" + peer.recv(65536))

        threading.Thread(target=echo, daemon=True).start()
        tally = Driver(listener.getsockname(), known).run(Attacker(1).exchanges(30))
        listener.shutdown(socket.SHUT_RDWR)
    assert len(tally.findings) > 5


def test_a_seed_gives_the_same_attack() -> None:
    assert list(Attacker("7").exchanges(300)) == list(Attacker("7").exchanges(300))
    assert list(Attacker("7").exchanges(300)) != list(Attacker("8").exchanges(300))


def test_a_server_of_single_answers_is_asked_for_one() -> None:
    exchanges = list(Attacker("7", Site(single=True)).exchanges(300))
    assert {exchange.most for exchange in exchanges} == {1}
    assert sum(exchange.requests for exchange in exchanges) == len(exchanges)
