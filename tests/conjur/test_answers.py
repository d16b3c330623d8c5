"""What each failure of server and network becomes: error class, exit code, whether it is tried again, the hint."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import ConfigError, StoreDenied, StoreError, StoreUnavailable
from rotator.secret import Secret
from rotator.stores import find_backend
from rotator.testing.conjur import ConjurServer
from rotator_conjur.store import ConjurStore
from tests.conjur.answering import Reply, answering
from tests.conjur.places import RING, Ground
from tests.conjur.test_server import certificate
from tests.servers.conjur import place_policy


def failing(conjur: Ground, reply: Reply, *, only: str = "") -> StoreError:
    """Load and save against a server that answers a login and otherwise `reply`; return what is raised."""
    asked: list[str] = []

    def answer(method: str, path: str, _: Mapping[str, str]) -> Reply:
        if path.endswith("/authenticate"):
            return 200, {}, conjur.server._answers.logins.tokens.issue("host/rotator")
        if only and method != only:
            if path.startswith("/resources/"):
                return 200, {}, b'{"secrets": []}'
            return 404, {}, b""
        asked.append(path)
        return reply

    with answering(answer) as url:
        rings = conjur.store(url=url, attempts=2).rings("orders")
        if only:
            rings.load()
        with pytest.raises(StoreError) as caught:
            rings.save(b"one", replacing=None)
    conjur.scratch.joinpath("asked").write_text(str(len(asked)), encoding="ascii")
    assert caught.value.hint
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, StoreError)
    return caught.value


MATERIAL = Secret(b"the private key")

READS: dict[str, tuple[Reply, type[StoreError], str]] = {
    "401": ((401, {}, b""), StoreDenied, "refuses the token that it has just given"),
    "403": ((403, {}, b""), StoreDenied, "lacks the privilege `read` on the variable"),
    "404": ((404, {}, b""), StoreDenied, "is not declared in Conjur .*, or host/rotator has no"),
    "429": ((429, {}, b""), StoreUnavailable, "HTTP 429"),
    "500": ((500, {}, b""), StoreUnavailable, "HTTP 500"),
    "503": ((503, {}, b"starting"), StoreUnavailable, "HTTP 503"),
    "redirect": ((302, {"Location": "/x"}, b""), StoreUnavailable, "HTTP 302"),
    "garbage": ((200, {}, b"<html>portal</html>"), StoreUnavailable, "no Conjur says"),
    "other JSON": ((200, {}, b"[]"), StoreUnavailable, "no Conjur says"),
    "odd versions": ((200, {}, b'{"secrets": [{}]}'), StoreUnavailable, "no Conjur says"),
    "truncated": ((200, {"Content-Length": "99"}, b'{"secrets"'), StoreUnavailable, "no answer"),
    "endless": ((200, {}, b" " * (5 << 20)), StoreUnavailable, "longer than"),
}


@pytest.mark.parametrize("case", READS)
def test_reading(conjur: Ground, case: str) -> None:
    """No answer of these is "there is no ring"."""
    reply, error, message = READS[case]
    found = failing(conjur, reply)
    assert type(found) is error
    assert found.exit_code == (77 if error is StoreDenied else 69)
    with pytest.raises(error, match=message):
        raise found


WRITES: dict[str, tuple[Reply, type[StoreError], str, int]] = {
    "403": ((403, {}, b""), StoreDenied, "lacks the privilege `update`", 1),
    "404": ((404, {}, b"{}"), StoreDenied, "is not declared", 1),
    "405": ((405, {}, b"{}"), StoreDenied, "it is a follower, which takes no writes", 1),
    "413": ((413, {}, b""), StoreDenied, "takes no body of this size", 1),
    "422": ((422, {}, b"{}"), StoreDenied, "HTTP 422", 1),
    "500": ((500, {}, b""), StoreUnavailable, "cannot be read back", 2),
    "503": ((503, {}, b""), StoreUnavailable, "HTTP 503", 2),
    "said but not done": ((201, {}, b""), StoreUnavailable, "cannot be read back", 2),
}


@pytest.mark.parametrize("case", WRITES)
def test_writing(conjur: Ground, case: str) -> None:
    """What the server refuses is not tried again; what may have been a race or a hiccup is."""
    reply, error, message, times = WRITES[case]
    found = failing(conjur, reply, only="POST")
    assert type(found) is error
    with pytest.raises(error, match=message):
        raise found
    assert conjur.scratch.joinpath("asked").read_text(encoding="ascii") == str(times)


@pytest.mark.parametrize(("said", "again"), [("0", True), ("3600", False), ("soon", True)])
def test_retry_after(conjur: Ground, said: str, again: bool) -> None:
    """A server that asks for an hour is left to the next tick."""
    failing(conjur, (429, {"Retry-After": said}, b""))
    assert (conjur.scratch / "asked").read_text(encoding="ascii") == ("2" if again else "1")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((200, {}, b"no token"), StoreUnavailable),
        ((200, {}, b"\xff\xfe"), StoreUnavailable),
        ((200, {}, b""), StoreUnavailable),
        ((401, {}, b""), StoreDenied),
        ((404, {}, b""), StoreDenied),
        ((500, {}, b""), StoreUnavailable),
        ((429, {"Retry-After": "1"}, b""), StoreUnavailable),
    ],
)
def test_the_login(conjur: Ground, reply: Reply, error: type[StoreError]) -> None:
    """What comes in place of a token."""
    with answering(lambda *_: reply) as url, pytest.raises(error) as caught:
        conjur.store(url=url, attempts=1).rings("orders").load()
    assert caught.value.hint
    key = (conjur.scratch / "rotator.key").read_text(encoding="ascii")
    assert key not in "".join(traceback.format_exception(caught.value))


def test_nobody_listens(conjur: Ground) -> None:
    """A refused connection names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreUnavailable, match=f"no answer from {url}"):
            conjur.store(url=url, attempts=1).rings("orders").load()
    with pytest.raises(StoreUnavailable, match=r"no answer from http://no\.invalid"):
        conjur.store(url="http://no.invalid", attempts=1).rings("orders").load()


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"])
def test_a_server_that_hangs(conjur: Ground, sends: bytes) -> None:
    """Before an answer or in the midst of one: each call has one deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def hang() -> None:
            connection, _ = listener.accept()
            held.append(connection)
            connection.recv(1 << 16)
            connection.sendall(sends)

        thread = threading.Thread(target=hang, daemon=True)
        thread.start()
        store = conjur.store(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            attempts=1,
            connect_timeout="1s",
            read_timeout="1s",
        )
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"within 2 seconds"):
            store.rings("orders").load()
        assert time.monotonic() - began < 60
        thread.join()
        for one in held:
            one.close()


def test_tls(tmp_path: Path) -> None:
    """Only the certificates of `ca_file` are trusted, by the login too; nothing is told to anybody else."""
    pem = certificate(tmp_path)
    with ConjurServer(certificate=pem) as server:
        keys = server.load_policy("- !host rotator\n" + place_policy("rotator", ("orders",), ()))
        (tmp_path / "key").write_text(keys["host/rotator"], encoding="ascii")

        def store(**options: Any) -> ConjurStore:
            auth = {
                "method": "api-key",
                "login": "host/rotator",
                "api_key_file": str(tmp_path / "key"),
            }
            backend = find_backend("conjur")
            given = {"url": server.url, "account": "dev", "auth": auth, "attempts": 3, **options}
            opened = backend.open(backend.settings().model_validate(given))
            assert isinstance(opened, ConjurStore)
            return opened

        trusting = store(ca_file=str(pem))
        assert trusting.rings("orders").load() is None
        trusting.close()
        doubting = store()
        with pytest.raises(StoreUnavailable, match="no TLS connection") as caught:
            doubting.rings("orders").load()
        assert caught.value.lasting
        assert "ca_file" in caught.value.hint
        elsewhere = store(ca_file=str(pem), url=server.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(StoreUnavailable, match="no TLS connection"):
            elsewhere.rings("orders").load()
        odd = tmp_path / "odd.pem"
        odd.write_text("no certificate", encoding="ascii")
        with pytest.raises(ConfigError, match=r"odd\.pem cannot be read"):
            store(ca_file=str(odd)).rings("orders").load()


def test_tls_where_there_is_none(conjur: Ground) -> None:
    """`https://` to a port of plain HTTP: said in those words, and not tried again at once."""
    store = conjur.store(url=conjur.server.url.replace("http://", "https://"))
    with pytest.raises(StoreUnavailable, match="it does not speak TLS there") as caught:
        store.rings("orders").load()
    assert caught.value.lasting
    assert "plain http" in caught.value.hint


def test_no_key_leaves_by_an_error(conjur: Ground) -> None:
    """Neither the material nor the API key, whatever fails while it is under way."""
    material = conjur.store(attempts=1).material("orders")
    conjur.server.read_only = True
    with pytest.raises(StoreDenied, match="follower") as caught:
        material.put("slot-01", "kid", MATERIAL)
    assert "url" in caught.value.hint
    told = "".join(traceback.format_exception(caught.value))
    assert "the private key" not in told
    assert "dGhlIHByaXZhdGUga2V5" not in told


def test_the_log_names_calls_and_nothing_they_carry(
    conjur: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each step, with duration and outcome."""
    conjur.store().material("orders").put("slot-01", "kid", MATERIAL)
    line = capsys.readouterr().out
    assert "op=material.put" in line
    assert "outcome=ok" in line
    assert "duration_ms=" in line
    assert "private" not in line


def test_a_server_that_restarts_forgets_nobody(conjur: Ground) -> None:
    """Its connections are gone; the next call makes new ones, and tokens of before are refused once."""
    rings = conjur.store().rings("orders")
    rings.save(b"one", replacing=None)
    conjur.server.expire_tokens()
    found = rings.load()
    assert found is not None
    assert found.document == b"one"
    conjur.server.forget_everything()
    assert rings.load() is None
    assert conjur.server.versions(RING) == {}
