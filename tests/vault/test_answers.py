"""What each answer and each failure of the connection means: class, exit code, words, and how often it is tried."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from rotator.errors import RotatorError, StoreDenied, StoreUnavailable
from rotator.stores import RingStore
from tests.servers.exchange import Answer, Exchange
from tests.servers.misdeeds import answering, drip, garbage, hang, reset_before, truncated
from tests.servers.proxy import Action, Proxy
from tests.servers_e2e.certificates import authority
from tests.vault.bench import HURRIED, QUICK, RING, Bench, reply, until

ERRORS: dict[str, list[str]] = {"errors": []}

CASES: list[tuple[str, Action, str, str, int]] = [
    # what, what happens, what is said, the hint, how many tries of two
    ("standby behind", reply(412, ERRORS), "not caught up", "standby", 2),
    ("rate limit", reply(429, {"errors": ["quota"]}), "asks for fewer calls", "quota", 2),
    ("dr secondary", reply(472, ERRORS), "answered 472", "disaster-recovery", 1),
    ("performance standby", reply(473, ERRORS), "answered 473", "active node", 1),
    ("internal error", reply(500, {"errors": ["1 error"]}), "answered 500", "its log", 2),
    ("not initialised", reply(501, ERRORS), "not initialised", "vault operator init", 1),
    ("bad gateway", answering(502, b"<html>"), "answered 502", "load balancer", 2),
    ("sealed", reply(503, {"errors": ["Vault is sealed"]}), "sealed", "vault operator unseal", 2),
    ("gateway timeout", answering(504, b""), "answered 504", "load balancer", 2),
    ("method refused", reply(405, {"errors": ["x"]}), "answered 405", "its log", 1),
    ("too large", answering(413, b""), "no value of this size", "max_request_size", 1),
    ("page", answering(200, b"<html>login</html>"), "is not Vault", "login page", 2),
    ("garbage", garbage, "is not Vault", "proxy", 2),
    ("truncated", truncated, "the connection broke", "tried again", 2),
    ("reset", reset_before, "the connection broke", "tried again", 2),
    ("hang", hang, "did not finish answering in time", "read_timeout", 2),
    ("a byte at a time", drip(0.05), "did not finish answering in time", "read_timeout", 2),
    ("teapot", reply(418, ERRORS), "answered 418", "its log", 2),
    ("bad request", reply(400, {"errors": ["odd"]}), "answered 400", "audit log", 1),
    (
        "upgrading",
        reply(400, {"errors": ["Upgrading from non-versioned to versioned data."]}),
        "being upgraded",
        "seconds",
        2,
    ),
]


@pytest.mark.parametrize(
    ("action", "said", "hint", "tries"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_no_usable_answer(bench: Bench, action: Action, said: str, hint: str, tries: int) -> None:
    """The store is unavailable (69), in words; what will not pass by itself is not tried again."""
    hurried = "in time" in said
    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **(HURRIED if hurried else QUICK)).rings("orders")
        with proxy.misbehaving(action) as rule:
            with pytest.raises(StoreUnavailable) as failed:
                rings.load()
            until(lambda: rule.hit == tries)  # a proxy that stood still sees them after we gave up
        assert rule.hit == tries
        assert said in failed.value.message
        assert hint in failed.value.hint
        assert failed.value.exit_code == 69
        for error in chain(failed.value):
            assert isinstance(error, RotatorError), "an SDK's exception holds the token"
        until(lambda: over(rings, hurried=hurried))


def over(rings: RingStore, *, hurried: bool) -> bool:
    """Tell whether all is well again; who is in a hurry may meet a moment in which the server stands still."""
    try:
        return rings.load() is None
    except StoreUnavailable:
        if hurried:
            return False
        raise


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_retry_after_is_heeded(bench: Bench) -> None:
    """A short one is waited for; a long one is left to the next tick."""
    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **QUICK).rings("orders")
        short = reply(429, {"errors": ["quota"]}, **{"Retry-After": "1"})
        started = time.monotonic()
        with proxy.misbehaving(short, times=1):
            assert rings.load() is None
        assert time.monotonic() - started >= 0.9
        long = reply(429, {"errors": ["quota"]}, **{"Retry-After": "3600"})
        with proxy.misbehaving(long) as rule, pytest.raises(StoreUnavailable) as failed:
            rings.load()
        assert (rule.hit, failed.value.retry_after) == (1, 3600)


def test_a_real_quota(bench: Bench) -> None:
    """Vault's own rate limit answers as the table above has it."""
    name = bench.prefix.rpartition("/")[2]
    quota = {"rate": 0.001, "interval": "1h", "path": "secret/"}
    bench.server.do("POST", f"sys/quotas/rate-limit/{name}", quota)
    try:
        rings = bench.store(**QUICK).rings("orders")
        assert rings.load() is None
        with pytest.raises(StoreUnavailable, match="fewer calls"):
            rings.load()
    finally:
        bench.server.do("DELETE", f"sys/quotas/rate-limit/{name}")


def test_refused_and_unknown(bench: Bench) -> None:
    """A port on which nobody listens, a name that is none."""
    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **QUICK).rings("orders")
        with proxy.refusing(), pytest.raises(StoreUnavailable, match="connection refused"):
            rings.load()
        assert rings.load() is None
    rings = bench.store(address="http://vault.invalid:8200", **QUICK).rings("orders")
    with pytest.raises(StoreUnavailable, match="its name does not resolve"):
        rings.load()


def test_tls(bench: Bench) -> None:
    """The authority named is trusted, and no other; a server without TLS is told from one with a wrong name."""
    right, wrong = authority(bench.home, "right"), authority(bench.home, "wrong")
    with Proxy(bench.server.url, tls=right.context) as proxy:
        address = proxy.url.replace("http://", "https://")

        def load(**options: Any) -> None:
            bench.store(**{"address": address, **QUICK, **options}).rings("orders").load()

        load(ca_file=str(right.ca_file))
        for options, said in (
            ({"ca_file": str(wrong.ca_file)}, "no authority that is trusted here"),
            ({}, "no authority that is trusted here"),
            (
                {
                    "ca_file": str(right.ca_file),
                    "address": address.replace("127.0.0.1", "127.1"),
                },
                "its certificate is for another",
            ),
            ({"ca_file": str(bench.home / "gone")}, "could not find"),
            ({"address": bench.server.url.replace("http://", "https://")}, "TLS"),
        ):
            with pytest.raises(StoreUnavailable, match=said) as failed:
                load(**options)
            assert failed.value.lasting, failed.value
            assert "ca_file" in failed.value.hint


def redirect(location: str) -> Action:
    """Answer as a standby that does not forward."""

    def act(exchange: Exchange) -> None:
        target = location + exchange.request.path
        exchange.send(Answer(307, (("Location", target),)))

    return act


def test_a_standby_that_redirects(bench: Bench) -> None:
    """307 is followed to the active node with method, body and token; once."""
    with Proxy(bench.server.url) as active, Proxy(bench.server.url) as standby:
        store = bench.store(address=standby.url, **QUICK)
        with standby.misbehaving(redirect(active.url)):
            store.rings("orders").save(RING, replacing=None)
            found = store.rings("orders").load()
            assert found is not None
            assert store._engine.names(bench.prefix) == ("orders/",)
        assert {request.header("X-Vault-Token") for request in active.seen} == {bench.server.token}
        with (
            standby.misbehaving(redirect(standby.url)),
            pytest.raises(StoreUnavailable, match="answered 307"),
        ):
            store.rings("orders").load()


def test_no_redirect_leads_away_from_tls(bench: Bench) -> None:
    """The token would travel in the clear."""
    trusted = authority(bench.home, "standby")
    with Proxy(bench.server.url) as plain, Proxy(bench.server.url, tls=trusted.context) as standby:
        address = standby.url.replace("http://", "https://")
        store = bench.store(address=address, ca_file=str(trusted.ca_file), **QUICK)
        with standby.misbehaving(redirect(plain.url)), pytest.raises(StoreUnavailable) as failed:
            store.rings("orders").load()
        assert "away from TLS" in failed.value.message
        assert plain.seen == []


def test_denied_names_path_and_capability(bench: Bench) -> None:
    """77, with the line that the policy lacks."""
    read = f'path "secret/data/{bench.prefix}/*" {{ capabilities = ["read"] }}'
    token = bench.secret("token", bench.token(read))
    store = bench.store(auth={"method": "token", "token_file": str(token)})
    ring = store.rings("orders")
    assert ring.load() is None
    with pytest.raises(StoreDenied, match="does not permit writing") as refused:
        ring.save(RING, replacing=None)
    path = f"secret/data/{bench.path()}"
    assert f'path "{path}" {{ capabilities = ["create", "read", "update"] }}' in refused.value.hint
    assert refused.value.exit_code == 77
    with pytest.raises(StoreDenied, match="does not permit removing secret/metadata/"):
        store.documents().delete("orders/signing")
