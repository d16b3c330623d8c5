"""The fault proxy does what the tests believe of it."""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.campaign.processes import until
from tests.servers import misdeeds
from tests.servers.exchange import Answer, Request
from tests.servers.proxy import Proxy
from tests.servers_e2e.certificates import authority

BOUND = 60.0


class Counting(http.server.BaseHTTPRequestHandler):
    """Answers with how many requests it has seen, and with what was sent."""

    protocol_version = "HTTP/1.1"
    seen = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).seen += 1
        sent = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = f"{type(self).seen}:".encode() + sent
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that the base class looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[type[Counting]]:
    """Run a counting server; its address is in `url`."""
    handler = type("Handler", (Counting,), {"seen": 0})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    handler.url = f"http://127.0.0.1:{running.server_address[1]}"  # type: ignore[attr-defined]
    yield handler
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def proxy(server: type[Counting]) -> Iterator[Proxy]:
    """Run a proxy before it."""
    with Proxy(server.url, seed=7) as proxy:  # type: ignore[attr-defined]
        yield proxy


def ask(
    proxy: Proxy, body: bytes = b"", *, timeout: float = BOUND
) -> tuple[int, bytes, dict[str, str]]:
    """Ask once, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        connection.request("POST" if body else "GET", "/thing", body or None)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_passes_on(proxy: Proxy, server: type[Counting]) -> None:
    """Untouched, kept alive, and counted."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=BOUND)
    for number in (1, 2, 3):
        connection.request("POST", "/a?b=c%2F", b"x" * 70_000)
        assert connection.getresponse().read() == f"{number}:".encode() + b"x" * 70_000
    connection.request("POST", "/chunks", iter([b"one", b"two"]), encode_chunked=True)
    assert connection.getresponse().read() == b"4:onetwo"
    connection.close()
    assert proxy.connections == 1
    assert [item.path for item in proxy.seen] == ["/a?b=c%2F"] * 3 + ["/chunks"]
    assert server.seen == 4


def test_refused(proxy: Proxy, server: type[Counting]) -> None:
    """The kernel refuses, nobody else gets the port, and afterwards it listens again."""
    assert ask(proxy)[0] == 200
    with proxy.refusing():
        with pytest.raises(ConnectionRefusedError):
            ask(proxy)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", proxy.port))
    assert ask(proxy)[0] == 200
    assert server.seen == 2


@pytest.mark.parametrize("after", [False, True])
def test_resets(proxy: Proxy, server: type[Counting], *, after: bool) -> None:
    """Before the server saw it, or after it has committed."""
    deed = misdeeds.reset_after if after else misdeeds.reset_before
    with proxy.misbehaving(deed, times=1), pytest.raises(ConnectionResetError):
        ask(proxy)
    assert server.seen == int(after)
    assert ask(proxy)[0] == 200


@pytest.mark.parametrize("deed", [misdeeds.hang, misdeeds.hang_after, misdeeds.drip(5)])
def test_hangs_until_forgiven(proxy: Proxy, deed: object) -> None:
    """A client with a timeout gives up; one without is let go when the misdeed is over."""
    with proxy.misbehaving(deed) as rule:  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            ask(proxy, timeout=0.2)
        until(lambda: rule.hit == 1)  # it may hear of it after the client has gone
    assert ask(proxy)[0] == 200


def test_answers_of_its_own(proxy: Proxy, server: type[Counting]) -> None:
    """With and without the server's knowledge."""
    slow_down = misdeeds.answering(429, b"later", headers={"Retry-After": "1"})
    with proxy.misbehaving(slow_down):
        status, body, headers = ask(proxy)
    assert (status, body, headers["Retry-After"], server.seen) == (429, b"later", "1", 0)
    with proxy.misbehaving(misdeeds.answering(500, after=True)):
        assert ask(proxy)[:2] == (500, b"")
    assert server.seen == 1


def test_bad_bodies(proxy: Proxy) -> None:
    """Garbage, half of it, an old one, a byte at a time."""
    with proxy.misbehaving(misdeeds.garbage):
        status, body, _ = ask(proxy)
    assert status == 200
    assert len(body) >= 40
    with (
        proxy.misbehaving(misdeeds.truncated),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        ask(proxy, b"0123456789")
    first = ask(proxy)[1]
    number = len(proxy.seen) + 1
    assert ask(proxy)[1] != first
    with proxy.misbehaving(misdeeds.stale(number)):
        assert ask(proxy)[1] == first
    with proxy.misbehaving(misdeeds.drip(0.0001)):
        assert ask(proxy)[1] == b"6:"


def test_moves_the_date(proxy: Proxy) -> None:
    """An hour on."""
    before = parsedate_to_datetime(ask(proxy)[2]["Date"])
    with proxy.misbehaving(misdeeds.skewed(timedelta(hours=1))):
        after = parsedate_to_datetime(ask(proxy)[2]["Date"])
    assert timedelta(minutes=59) < after - before < timedelta(minutes=61)


def test_picks_its_requests(proxy: Proxy) -> None:
    """By what they are, by their number, and by chance, the same again with the same seed."""
    refuse = misdeeds.answering(503)

    def posted(request: Request) -> bool:
        return request.method == "POST"

    with proxy.misbehaving(refuse, when=posted, skip=1, times=1):
        assert [ask(proxy, body)[0] for body in (b"", b"1", b"2", b"3")] == [200, 200, 503, 200]
    heard: list[Answer] = []
    with proxy.misbehaving(misdeeds.telling(heard.append), when=posted):
        ask(proxy, b"1")
    assert heard[0].status == 200
    deeds = proxy.any_of([misdeeds.answering(500), misdeeds.answering(502)])
    with proxy.misbehaving(deeds, share=0.5):
        found = [ask(proxy)[0] for _ in range(30)]
    assert set(found) == {200, 500, 502}


def test_tls(server: type[Counting], tmp_path: Path) -> None:
    """With a certificate of its own authority, and no TLS at all where it was expected."""
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    url = server.url  # type: ignore[attr-defined]
    with Proxy(url, tls=ours.context) as proxy:

        def ask_safely(ca_file: Path) -> int:
            trusting = ssl.create_default_context(cafile=str(ca_file))
            connection = http.client.HTTPSConnection(
                "127.0.0.1", proxy.port, timeout=BOUND, context=trusting
            )
            try:
                connection.request("GET", "/")
                return connection.getresponse().status
            finally:
                connection.close()

        assert ask_safely(ours.ca_file) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            ask_safely(other.ca_file)
        with proxy.greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n"), pytest.raises(OSError):  # noqa: PT011 - a reset or an SSLError, as it comes
            ask_safely(ours.ca_file)
        assert ask_safely(ours.ca_file) == 200
        assert proxy.url.startswith("https://127.0.0.1:")
