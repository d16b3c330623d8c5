"""How long a login lasts: renewal, replacement, one login for many, and its end."""

from __future__ import annotations

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

import rotator_vault.identity
import rotator_vault.logins
from rotator.errors import StoreDenied, StoreUnavailable
from rotator_vault.store import VaultStore
from tests.servers.misdeeds import answering, reset_before
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, RING, Bench, below, granted, logins, reply, until
from tests.vault.roles import approle, revoke, secret_id


class Clock:
    """The monotonic clock of the login, which stands unless it is moved on by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        self._began = time.monotonic()
        for module in (rotator_vault.identity, rotator_vault.logins):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        """The time."""
        return self._began + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock to move."""
    return Clock(monkeypatch)


def logged_in(bench: Bench, address: str | None = None, **role: Any) -> VaultStore:
    """A store that logs in by a role of its own."""
    mount, role_id = approle(bench, **role)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    return bench.store(address=address or bench.server.url, auth=auth, **QUICK)


def token_of(store: VaultStore) -> str:
    """The token in force."""
    return store._identity.token().reveal().decode()


def looked_up(bench: Bench, token: str) -> dict[str, Any] | None:
    """What root sees of a token; None when there is no such token any more."""
    status, answer = bench.server.request("POST", "auth/token/lookup", {"token": token})
    return None if status == 403 else dict(answer["data"])


def test_renewed_after_two_thirds(bench: Bench, clock: Clock) -> None:
    """The same token lives on; before that time nothing is asked."""
    store = logged_in(bench, token_ttl="60s", token_max_ttl="1h")
    ring = store.rings("orders")
    with capture_logs() as logged:
        ring.load()
        token = token_of(store)
        clock.ahead = 39
        ring.load()
        assert list(logins(logged)) == ["login.approle"]
        clock.ahead = 41
        ring.load()
    assert list(logins(logged)) == ["login.approle", "login.refresh"]
    assert token_of(store) == token
    found = looked_up(bench, token)
    assert found is not None
    assert found.get("last_renewal_time")


def test_near_its_greatest_age_it_is_replaced(bench: Bench) -> None:
    """For real: renewing then gives less and less, and before nothing is left there is another login."""
    for _ in range(10):
        with Proxy(bench.server.url) as proxy:
            store = logged_in(bench, proxy.url, token_ttl="2s", token_explicit_max_ttl="3s")
            longest = used_until_replaced(store)
            asked = {request.path.rpartition("/")[2] for request in proxy.seen}
        if longest < 0.4:
            break  # else this machine stood still while the token ended, and nothing is shown
    assert "renew-self" in asked
    assert "lookup-self" not in asked, "nothing was ever refused"


def used_until_replaced(store: VaultStore) -> float:
    """Use a store until it has another token; return the longest time between two uses, in seconds."""
    ring, uses, tokens = store.rings("orders"), [time.monotonic()], set[str]()

    def replaced() -> bool:
        assert ring.load() is None
        tokens.add(token_of(store))
        uses.append(time.monotonic())
        return len(tokens) > 1

    until(replaced)
    return max(after - before for before, after in itertools.pairwise(uses))


def test_batch_tokens_are_replaced(bench: Bench, clock: Clock) -> None:
    """They cannot be renewed, nor revoked: closing does not try."""
    store = logged_in(bench, token_ttl="60s", token_type="batch")
    ring = store.rings("orders")
    with capture_logs() as logged:
        ring.load()
        clock.ahead = 41
        ring.load()
        store.close()
    assert list(logins(logged)) == ["login.approle", "login.approle", "login.refresh"]


def test_a_token_that_expired_is_replaced(bench: Bench) -> None:
    """For real: Vault ends it after a second, and the next call logs in again, once."""
    store = logged_in(bench, token_ttl="1s", token_max_ttl="1s")
    ring = store.rings("orders")
    ring.save(RING, replacing=None)
    first = token_of(store)
    until(lambda: looked_up(bench, first) is None)
    store._identity._lease = None  # as a process that slept would not know
    assert ring.load() is not None
    assert token_of(store) != first


def test_a_revoked_token_is_replaced_once(bench: Bench) -> None:
    """Credentials revoked in mid-run: one 403, one login, and the call is repeated."""
    with Proxy(bench.server.url) as proxy:
        store = logged_in(bench, proxy.url)
        store.rings("orders").save(RING, replacing=None)
        revoke(bench, store)
        before = len(proxy.seen)
        with capture_logs() as logged:
            assert store.rings("orders").load() is not None
        assert list(logins(logged)) == ["login.approle"]
        paths = [request.path.rpartition("/")[2] for request in proxy.seen[before:]]
        assert paths == ["ring", "login", "ring"]


@pytest.mark.usefixtures("clock")  # for how long a refusal is remembered
def test_a_revoked_role_is_said(bench: Bench) -> None:
    """No login any more: denied, with the method; and not asked again by each of a thousand key sets."""
    with Proxy(bench.server.url) as proxy:
        store = logged_in(bench, proxy.url)
        store.rings("orders").load()
        mount = proxy.seen[0].path.split("/")[3]
        bench.server.do("DELETE", f"auth/{mount}/role/rotator")
        revoke(bench, store)
        before = len(proxy.seen)
        for number in range(20):
            with pytest.raises(StoreDenied, match="refuses the login by approle"):
                store.rings(f"set-{number}").load()
        assert sum("/login" in request.path for request in proxy.seen[before:]) <= 2


def test_a_missing_capability_is_no_reason_to_log_in(bench: Bench, clock: Clock) -> None:
    """Unless the token is a minute old, and its role may have been given more since."""
    store = logged_in(bench)
    store.rings("orders").load()
    elsewhere = bench.store(
        prefix=f"{bench.prefix}-other",
        auth=store._identity._logins._auth.model_dump(exclude_none=True),
    )
    with capture_logs() as logged:
        for _ in range(3):
            with pytest.raises(StoreDenied, match="does not permit reading") as refused:
                elsewhere.rings("orders").load()
        assert f'path "secret/data/{bench.prefix}-other/orders/ring"' in refused.value.hint
        assert list(logins(logged)) == ["login.approle"]
        clock.ahead = 61
        with pytest.raises(StoreDenied):
            elsewhere.rings("orders").load()
    assert list(logins(logged)) == ["login.approle", "login.approle"]


def test_many_threads_log_in_once(bench: Bench) -> None:
    """Cold, and after the token died under all of them."""
    store = logged_in(bench)
    for _ in range(2):
        with capture_logs() as logged, ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda n: store.rings(f"set-{n}").load(), range(64)))
        assert found == [None] * 64
        assert list(logins(logged)) == ["login.approle"]
        revoke(bench, store)


def test_vault_down_at_renewal(bench: Bench, clock: Clock) -> None:
    """A token that is good for a while yet is used, and renewed later."""
    with Proxy(bench.server.url) as proxy:
        store = logged_in(bench, proxy.url, token_ttl="60s", token_max_ttl="1h")
        ring = store.rings("orders")
        ring.load()
        clock.ahead = 41
        with proxy.misbehaving(reset_before, when=below("renew-self")) as rule:
            ring.load()
            ring.load()
            assert rule.hit == 1
            clock.ahead = 61
            with pytest.raises(StoreUnavailable):
                ring.load()
        ring.load()


def test_renewal_refused(bench: Bench, clock: Clock) -> None:
    """Then the store logs in again."""
    with Proxy(bench.server.url) as proxy:
        store = logged_in(bench, proxy.url, token_ttl="60s")
        store.rings("orders").load()
        clock.ahead = 41
        with (
            proxy.misbehaving(
                answering(403, b'{"errors":["permission denied"]}'), when=below("renew")
            ),
            capture_logs() as logged,
        ):
            store.rings("orders").load()
    assert list(logins(logged)) == ["login.approle", "login.refresh"]


def test_somebody_elses_token_is_looked_up_when_it_is_used_for_long(
    bench: Bench, clock: Clock
) -> None:
    """A command of a second asks nothing; a daemon learns how long the token lasts, and renews it."""
    policy = f'path "secret/data/{bench.prefix}/*" {{ capabilities = ["read"] }}'
    token = bench.token(policy, ttl="300s")
    store = bench.store(auth={"method": "token", "token_file": str(bench.secret("token", token))})
    ring = store.rings("orders")
    with Proxy(bench.server.url):
        with capture_logs() as logged:
            ring.load()
            assert list(logins(logged)) == ["login.token"]
            clock.ahead = 61
            ring.load()
            clock.ahead = 61 + 150
            ring.load()
            assert list(logins(logged)) == ["login.token", "login.refresh"]
            clock.ahead = 61 + 201
            ring.load()
        assert list(logins(logged)) == ["login.token", "login.refresh", "login.refresh"]
    found = looked_up(bench, token)
    assert found is not None
    assert found.get("last_renewal_time")
    store.close()
    assert looked_up(bench, token) is not None, "it is not ours to end"


def test_closing_ends_our_own_login(bench: Bench) -> None:
    """Else each run of a timer would leave a token behind."""
    store = logged_in(bench)
    store.rings("orders").load()
    token = token_of(store)
    store.close()
    until(lambda: looked_up(bench, token) is None)  # closing does not wait long for the answer
    assert store.rings("orders").load() is None, "a closed store opens again when it is used"


def test_a_fork_does_not_end_the_login_of_its_parent(bench: Bench) -> None:
    """Nor does it share a connection with it."""
    store = logged_in(bench)
    store.rings("orders").save(RING, replacing=None)
    token = token_of(store)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if store.rings("orders").load() is not None else 2
            store.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert looked_up(bench, token) is not None
    assert store.rings("orders").load() is not None


def test_a_login_that_grants_nothing(bench: Bench) -> None:
    """A second factor is asked for: the answer has no token."""
    with Proxy(bench.server.url) as proxy:
        store = logged_in(bench, proxy.url)
        asked = granted("", client_token="", mfa_requirement={"mfa_request_id": "x"})
        with (
            proxy.misbehaving(reply(200, asked), when=below("/login")),
            pytest.raises(StoreDenied, match="answers without a token") as refused,
        ):
            store.rings("orders").load()
    assert "second factor" in refused.value.hint
