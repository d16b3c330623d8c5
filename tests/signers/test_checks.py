"""Signer checks against issuers and commands of every kind, honest and not; and what is made of a token."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from rotator.algorithms import ALGORITHMS, kind_of
from rotator.errors import ConfigError, StoreDenied, StoreUnavailable
from rotator.keys import Keys
from rotator.observed import Observed, Sighting
from rotator.policy import RotationPolicy
from rotator.reconcile.look import look_at
from rotator.ring import Entry, Key, KeyRing, Phase
from rotator.rules import retire
from rotator.secret import Secret
from rotator.signers.command import CommandCheck
from rotator.signers.judge import KID_ONLY, drifts, expected, whose
from rotator.signers.names import command_name, url_name
from rotator.signers.token import LIMIT, find_token
from rotator.signers.url import UrlCheck
from rotator.situation import Situation
from rotator.step import Reason
from rotator.stores import Document, DocumentKind
from tests.unit.test_probes import answering, reply, serving

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=5)
MAKER = Keys()


def made(algorithm: str = "ES256", phase: Phase = Phase.ACTIVE) -> tuple[Key, Secret]:
    """Return a key of the ring with its material."""
    new = MAKER.make(
        kind_of(algorithm, 2048 if "S" in algorithm[1:2] and algorithm[0] in "RP" else None)
    )
    kind = new.kind
    key = Key(
        new.kid, kind.algorithm, kind.size, phase, "l", NOW, new.public, new.check, activated_at=NOW
    )
    return key, new.material


def token(key: Key, material: Secret, **header: str) -> str:
    """Return a token as PyJWT signs it."""
    jwk = jwt.PyJWK(MAKER.private_jwk(key, material))
    given = {"kid": key.kid, **header}
    return jwt.encode({"sub": "hush"}, jwk.key, key.algorithm, headers=given)


def ring(*keys: Key, **more: Any) -> KeyRing:
    return KeyRing("web", 7, keys, **more)


# --- whose key it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512", "EdDSA"])
def test_tokens_of_every_kind_of_key(algorithm: str) -> None:
    """As PyJWT signs them; `EdDSA` is the name in the header."""
    assert algorithm in ALGORITHMS
    key, material = made(algorithm)
    other, _ = made(algorithm, Phase.RETIRING)
    good = token(key, material)
    assert whose(Secret(good.encode()), ring(other, key), MAKER) == ((key.kid,), (), "")
    bad = good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8)
    found = whose(Secret(bad.encode()), ring(key), MAKER)
    assert found.kids == ()
    assert "is signed by none of this ring's keys" in found.note


def test_a_symmetric_key_is_known_by_its_kid_alone() -> None:
    """Verifying would need the secret; that is said."""
    key, material = made("HS256")
    assert whose(Secret(token(key, material).encode()), ring(key), MAKER) == (
        (key.kid,),
        (),
        KID_ONLY,
    )


def test_a_kid_and_an_alg_that_lie() -> None:
    """Drift, with whose signature it really is."""
    key, _ = made()
    other, material = made(phase=Phase.RETIRING)
    lie = Secret(token(other, material, kid=key.kid).encode())
    found = whose(lie, ring(key, other), MAKER)
    assert (found.kids, found.strangers) == ((), (key.kid, other.kid))
    assert f"is signed by {other.kid}" in found.note
    rsa, secret = made("RS256")
    wrong = Secret(token(replace(rsa, algorithm="PS256"), secret).encode())
    assert "says alg PS256, not RS256" in whose(wrong, ring(rsa), MAKER).note
    odd = Secret(token(key, made()[1], kid="<b>\"'").encode())
    assert whose(odd, ring(key), MAKER).strangers == ("(unprintable)",)


# --- when it is drift -------------------------------------------------------------------------------------

POLICY = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=2)
)
KEYS = {
    phase: replace(made()[0], kid=phase.value, phase=phase)
    for phase in (Phase.ACTIVE, Phase.RETIRING, Phase.PENDING, Phase.REVOKED)
}
RING = ring(*KEYS.values(), history=(Entry(NOW, "key.destroyed", "gone"),))


def sees(*kids: str, stranger: str = "", answered: bool = True, **more: Any) -> Sighting:
    strangers = (stranger,) if stranger else ()
    kind = DocumentKind.SIGNING
    return Sighting(kind, answered, filled=True, ours=True, kids=kids, strangers=strangers, **more)


@pytest.mark.parametrize(
    ("seen", "minutes", "said"),
    [
        (sees("active"), 60, ""),
        (sees("retiring"), 1, ""),
        (sees("retiring"), 2, "it signs with retiring (previous) instead of active"),
        (sees("pending"), 1, "it signs with pending (next) instead of active"),
        (sees("revoked"), 1, "it signs with revoked (revoked) instead of active"),
        (sees(stranger="x"), 1, "it signs with x, which is not known to key set web"),
        (sees(stranger="gone"), 1, "it signs with gone, which has ended to key set web"),
        (sees(stranger="a", note="drift: a token with kid a"), 1, "it gave a token with kid a"),
        (sees(answered=False), 60, ""),
    ],
)
def test_when_it_is_drift(seen: Sighting, minutes: int, said: str) -> None:
    """The previous key is lawful for `signer_lag`, no other key ever is."""
    observed = Observed({"signer:x": seen}, holding=frozenset({"signer:x"}))
    found = list(drifts(RING, POLICY, NOW + timedelta(minutes=minutes), observed))
    assert [drift.reason.startswith(said) for drift in found] == ([True] if said else [])
    watched = Observed(watched={"signer:x": seen})
    assert list(drifts(RING, POLICY, NOW + timedelta(minutes=minutes), watched)) == found


def test_each_previous_key_is_lawful_from_its_own_replacement() -> None:
    """A later promotion, by a revocation say, gives no new time to a signer that is late already."""
    at = NOW - timedelta(minutes=2)
    held = ring(KEYS[Phase.ACTIVE], replace(KEYS[Phase.RETIRING], retiring_at=at))
    (drift,) = drifts(held, POLICY, NOW, Observed(watched={"a": sees("retiring")}))
    assert drift.reason.endswith(f"replaced {at:%Y-%m-%dT%H:%M:%SZ}, and signer_lag is 2m")
    early = NOW - timedelta(seconds=1)
    assert not list(drifts(held, POLICY, early, Observed(watched={"a": sees("retiring")})))


def test_a_held_signer_is_overdue_after_signer_lag_only() -> None:
    """Its time is its own; a target that rotator writes to is late after two resyncs, as ever."""
    policy = replace(POLICY, signer_lag=timedelta(hours=1))
    held = ring(KEYS[Phase.ACTIVE], replace(KEYS[Phase.RETIRING], retiring_at=NOW))
    now = NOW + timedelta(minutes=30)
    for holding, late in ((frozenset({"signer:x"}), False), (frozenset[str](), True)):
        seen = Observed({"signer:x": sees("retiring")}, holding=holding)
        (step,) = retire(Situation(held, policy, now, seen))
        assert (step.reason, step.blocked) == (Reason.NOT_SUPERSEDED, late)


def test_a_suspicious_clock_makes_nobody_late() -> None:
    """What does not hang on a date is told all the same."""
    late = Observed(watched={"a": sees("retiring"), "b": sees("revoked")}, suspicious="odd")
    assert [drift.name for drift in drifts(RING, POLICY, NOW + timedelta(days=1), late)] == ["b"]


def test_when_an_answer_is_expected() -> None:
    """Not before every signer must have had its first key."""
    assert not expected(RING, POLICY, NOW)
    begun = replace(RING, first_activated_at=NOW)
    assert not expected(begun, POLICY, NOW + timedelta(minutes=1))
    assert expected(begun, POLICY, NOW + timedelta(minutes=2))


# --- finding the token ------------------------------------------------------------------------------------

KEY, MATERIAL = made()
TOKEN = token(KEY, MATERIAL)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (TOKEN, None),
        (f"\n{TOKEN}\r\n", None),
        (json.dumps(TOKEN), None),
        (json.dumps({"access_token": TOKEN}), None),
        (json.dumps({"access_token": "opaque", "id_token": TOKEN}), None),
        (json.dumps({"token": TOKEN}), None),
        (json.dumps({"data": {"jwt": TOKEN}}), "data.jwt"),
    ],
)
def test_where_a_token_may_be(body: str, field: str | None) -> None:
    """The whole answer, a usual member, or the one that is named."""
    assert find_token(body.encode(), "it", field) == Secret(TOKEN.encode())


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"", None, "neither the whole answer"),
        (b"<html>hush</html>", None, "neither the whole answer"),
        (b"\xff\xfe", None, "not ASCII"),
        (b"[" * 30_000, None, "neither the whole answer"),
        (json.dumps({"access_token": "hush"}).encode(), None, "neither the whole answer"),
        (json.dumps({"access_token": "hush"}).encode(), "access_token", "no compact JWS"),
        (TOKEN.encode(), "data", "no token at data"),
        (b"a.b.c.d.e", None, "neither the whole answer"),
        (f"{_part({'alg': 'ES256'})}.e30.hush".encode(), None, "no `kid` and `alg`"),
        (f"{_part({'alg': 'ES256', 'kid': 7})}.e30.hush".encode(), None, "no `kid` and `alg`"),
        (f"{_part({'alg': 'A', 'kid': 'x' * 999})}.e30.hush".encode(), None, "no `kid`"),
        (f"{_part([])}.e30.hush".encode(), None, "no `kid` and `alg`"),
        (b"hush.hush.hush", None, "no `kid` and `alg`"),
        (b"x" * (LIMIT + 1), None, f"more than {LIMIT} bytes"),
    ],
)
def test_what_is_no_token(body: bytes, field: str | None, said: str) -> None:
    """Said without a word of what was answered."""
    with pytest.raises(StoreUnavailable, match="gave no token") as caught:
        find_token(body, "it", field)
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


# --- by URL -----------------------------------------------------------------------------------------------


def asked(handler: Callable[[Any], None], path: str = "/", **more: Any) -> UrlCheck:
    with serving(handler) as port:
        check = UrlCheck(f"http://127.0.0.1:{port}{path}", every=EVERY, **more)
        sight = check.look()
    assert sight.document is None
    assert sight.token == Secret(TOKEN.encode())
    assert TOKEN not in repr(sight)
    return check


def test_by_url() -> None:
    """From the body, a member, or a header; a query is sent and never shown."""
    requests: list[bytes] = []
    check = asked(answering(reply(TOKEN.encode()), requests=requests), "/token?secret=hush")
    assert b"GET /token?secret=hush HTTP/1.1" in requests[0]
    assert "hush" not in check.name
    asked(answering(reply(json.dumps({"a": {"b": TOKEN}}).encode())), field="a.b")
    asked(answering(reply(b"", X_Token=TOKEN)), header="x-token")
    asked(
        answering(reply(b"", "204 No Content", Authorization=f"Bearer {TOKEN}")),
        header="Authorization",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(b"hush", "401 Unauthorized"), "answered 401"),
        (reply(b"hush", "302 Found", Location="https://x/?code=hush"), "answered 302"),
        (reply(b"hush", "500 Oops"), "answered 500"),
        (reply(b"hush"), "gave no token"),
        (reply(b"x" * (LIMIT + 1)), f"more than {LIMIT} bytes"),
        (b"hush\r\n\r\n", "no HTTP answer"),
    ],
)
def test_a_url_that_gives_no_token(answer: bytes, said: str) -> None:
    """No answer, which says nothing; neither query nor body is quoted."""
    with serving(answering(answer)) as port:
        check = UrlCheck(f"http://127.0.0.1:{port}/?secret=hush", every=EVERY)
        with pytest.raises(StoreUnavailable) as caught:
            check.look()
        seen = look_at(check, ring(KEY), MAKER, Clock())
    assert said in str(caught.value)
    assert "hush" not in f"{caught.value} {caught.value.hint} {seen}"
    assert not seen.sighting.answered


def test_an_issuer_that_hangs() -> None:
    """It is given up at the timeout, byte by byte or silent."""
    done = threading.Event()

    def hang(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        done.wait(60)

    with serving(hang) as port:
        check = UrlCheck(f"http://127.0.0.1:{port}/", every=EVERY, timeout=0.2)
        with pytest.raises(StoreUnavailable, match="in time"):
            check.look()
        done.set()
    with pytest.raises(StoreUnavailable, match="no connection"):
        check.look()


class Clock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> timedelta:
        return timedelta(0)


def test_the_token_is_gone_once_it_was_judged() -> None:
    """What a look leaves behind has kids in it, and nothing else of the token."""
    with serving(answering(reply(TOKEN.encode()))) as port:
        check = UrlCheck(f"http://127.0.0.1:{port}/", every=EVERY, holds=True)
        seen = look_at(check, ring(KEY), MAKER, Clock())
    assert seen.sighting.kids == (KEY.kid,)
    assert seen.document is None
    assert TOKEN.rpartition(".")[2] not in repr(seen)
    with pytest.raises(StoreDenied, match="only looked at"):
        check.write(Document(b"", "web", 1), replacing=None)
    with pytest.raises(ConfigError):
        UrlCheck("http://a:hush@x/", every=EVERY)


def test_names() -> None:
    """Stable, and without what may be a credential."""
    assert url_name("https://x.example/t") == "signer:https://x.example/t"
    assert url_name("https://x/t?a=1#f").startswith("signer:https://x/t#")
    assert url_name("https://x/t?a=1") != url_name("https://x/t?a=2")
    assert command_name(("/bin/t",)) == "signer:/bin/t"
    assert command_name(("/bin/t", "a", "b")) != command_name(("/bin/t", "a b"))


# --- by command -------------------------------------------------------------------------------------------


def shell(script: str, timeout: float = 60.0, field: str | None = None) -> CommandCheck:
    return CommandCheck(("/bin/sh", "-c", script), every=EVERY, timeout=timeout, field=field)


def test_by_command() -> None:
    """What it prints is the answer; what it prints to stderr is nobody's."""
    assert shell(f"echo hush >&2; echo {TOKEN}").look().token == Secret(TOKEN.encode())
    printed = json.dumps({"a": TOKEN})
    assert shell(f"echo '{printed}'", field="a").look().token == Secret(TOKEN.encode())
    assert shell(f"exec 2>&-; printf {TOKEN}; (sleep 60 &)").look().token == Secret(TOKEN.encode())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"echo {TOKEN}; exit 3", "ended with status 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("yes hush", f"more than {LIMIT} bytes"),
        ("echo hush", "gave no token"),
        ("exec >&-; sleep 60", "did not end within 0.3 s"),
        ("trap '' TERM HUP; sleep 60", "did not end within 0.3 s"),
    ],
)
def test_a_command_that_gives_no_token(script: str, said: str) -> None:
    """Each ends, and is told without what it printed."""
    timeout = 0.3 if "sleep" in script else 60.0
    with pytest.raises(StoreUnavailable) as caught:
        shell(script, timeout).look()
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_command_that_is_missing() -> None:
    """Named by its program, without its arguments."""
    check = CommandCheck(("/nowhere/token", "hush"), every=EVERY)
    with pytest.raises(
        StoreUnavailable, match="/nowhere/token cannot be run: No such file"
    ) as caught:
        check.look()
    assert "hush" not in str(caught.value)


def test_all_that_a_command_started_ends_with_it(tmp_path: Path) -> None:
    """A child that outlived its parent is killed too."""
    pid = tmp_path / "pid"
    script = f"sh -c 'echo $$ >{pid}.new; mv {pid}.new {pid}; sleep 60' & while [ ! -e {pid} ]; do :; done; echo {TOKEN}"
    shell(script).look()
    child = int(pid.read_text())
    bound = time.monotonic() + 60
    while _lives(child):
        assert time.monotonic() < bound
        threading.Event().wait(0.01)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone by now
        return False
