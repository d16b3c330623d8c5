"""What `check` says of a store: each finding for its own reason, and nothing written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from rotator.errors import ConfigError
from rotator.inspection import Finding, Role, Scope
from rotator_vault.store import VaultStore
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, RING, Bench, below, reply

ORDERS = Scope("orders")


def found(store: VaultStore, scopes: Sequence[Scope] = (ORDERS,)) -> tuple[Finding, ...]:
    """The findings."""
    return store.inspect(scopes).findings


def one(findings: Sequence[Finding], text: str) -> Finding:
    """The one finding with a text in it."""
    fitting = [item for item in findings if text in item.text]
    assert len(fitting) == 1, [item.text for item in findings]
    return fitting[0]


def limited(bench: Bench, **options: Any) -> VaultStore:
    """A store whose token has the rotator's policy."""
    token = bench.token(bench.store().policy(Role.ROTATOR, [ORDERS]), **options)
    path = bench.secret(f"token-{len(bench.opened)}", token)
    return bench.store(auth={"method": "token", "token_file": str(path)})


def test_all_is_well(bench: Bench) -> None:
    """Server, identity, engine, capabilities, ring; no server on this machine witnesses a clock."""
    store = limited(bench, ttl="1h", display_name="rota")
    store.rings("orders").save(RING, replacing=None)
    bench.server.do("POST", f"secret/metadata/{bench.path()}", {"cas_required": True})
    report = store.inspect([ORDERS, Scope("billing", ring=False)])
    assert report.server_time is None
    texts = [item.text for item in report.findings if item.level == "ok"]
    assert [text.split(" ")[0] for text in texts] == ["version", "logged", "KV", "has", "one"]
    assert "1.21" in texts[0]
    assert "token-rota" in texts[1]
    assert "expires in" in texts[1]
    assert {item.level for item in report.findings} == {"ok"}


def test_nothing_is_written(bench: Bench) -> None:
    """Not even where nothing is."""
    with Proxy(bench.server.url) as proxy:
        bench.store(address=proxy.url).inspect([ORDERS])
        written = {item.path for item in proxy.seen if item.method not in {"GET", "LIST"}}
    assert written == {"/v1/sys/capabilities-self"}


def test_a_root_token_and_no_audit_log(bench: Bench) -> None:
    """Advice, each with what to type."""
    findings = found(bench.store())
    assert "`rotator policy` prints that of the role rotator" in one(findings, "root token").hint
    assert "vault audit enable" in one(findings, "no audit log").hint


def test_a_token_of_short_life(bench: Bench) -> None:
    """It may die between two looks of a daemon."""
    finding = one(found(limited(bench, ttl="5m")), "may die between two looks")
    assert finding.level == "advice"
    assert "resync" in finding.hint


def test_a_ring_without_a_guard(bench: Bench) -> None:
    """A stray `vault kv put` could replace it."""
    store = bench.store()
    store.rings("orders").save(RING, replacing=None)
    finding = one(found(store), "can be overwritten by hand")
    assert finding.level == "advice"
    assert f"-cas-required=true {bench.path()}" in finding.hint


@pytest.mark.parametrize(
    ("way", "hint"), [("delete", "undelete -versions=1"), ("destroy", "rollback")]
)
def test_a_ring_that_was_deleted(bench: Bench, way: str, hint: str) -> None:
    """A fault, 65, with the way back."""
    store = bench.store()
    store.rings("orders").save(RING, replacing=None)
    if way == "delete":
        bench.server.do("DELETE", f"secret/data/{bench.path()}")
    else:
        bench.server.do("POST", f"secret/destroy/{bench.path()}", {"versions": [1]})
    finding = next(item for item in found(store) if item.level == "fault")
    assert (finding.exit_code, hint in finding.hint) == (65, True)


def test_a_ring_that_will_be_deleted(bench: Bench) -> None:
    """`delete_version_after` at its path is a clock that runs."""
    bench.server.do("POST", f"secret/metadata/{bench.path()}", {"delete_version_after": "48h"})
    store = bench.store()
    store.rings("orders").save(RING, replacing=None)
    finding = one(found(store), "will be deleted at")
    assert (finding.level, finding.exit_code) == ("fault", 65)
    assert "-delete-version-after=0s" in finding.hint


def test_settings_of_the_engine(bench: Bench) -> None:
    """Too few versions is advice; an engine that deletes by itself is a fault."""
    mount = f"kv-{bench.prefix[-6:]}"
    bench.engine(mount)
    config = {"max_versions": 1, "delete_version_after": "24h", "cas_required": True}
    bench.server.do("POST", f"{mount}/config", config)
    findings = found(bench.store(mount=mount))
    assert one(findings, "keeps 1 of").level == "advice"
    finding = one(findings, "deletes what was not written for 24h")
    assert (finding.level, finding.exit_code) == ("fault", 78)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mount": "nowhere"}, 69),
        ({"address": "http://127.0.0.1:1"}, 69),
        ({"auth": {"method": "token", "token_env": "NO_SUCH_VARIABLE"}}, 77),
    ],
    ids=["no engine", "no server", "no login"],
)
def test_what_stops_the_inspection(bench: Bench, options: dict[str, Any], code: int) -> None:
    """One fault says why, with its exit code."""
    faults = [item for item in found(bench.store(**QUICK, **options)) if item.level == "fault"]
    assert [item.exit_code for item in faults] == [code]
    assert faults[0].hint


@pytest.mark.parametrize("mount", ["secret/data", "secret/deep/er", "cubbyhole"])
def test_a_mount_that_is_none(bench: Bench, mount: str) -> None:
    """Refused by `check`, by the first read of what is not there, and before anything is written."""
    store = bench.store(mount=mount)
    fault = next(item for item in found(store) if item.level == "fault")
    assert fault.exit_code == 78
    assert ("write `mount: secret`" in fault.hint) == (mount != "cubbyhole")
    assert "enable-versioning" not in fault.hint
    with pytest.raises(ConfigError):
        bench.store(mount=mount).rings("orders").load()
    with pytest.raises(ConfigError):
        bench.store(mount=mount).rings("orders").save(RING, replacing=None)
    assert bench.server.request("GET", f"secret/metadata/data/{bench.path()}")[0] == 404


def test_a_mount_that_goes_too_deep_where_something_lies(bench: Bench) -> None:
    """What an earlier version wrote there is read, and nothing is written beside it: it could not be destroyed."""
    lies = {"data": {"x": "y"}}
    bench.server.do("POST", f"secret/data/data/{bench.path()}", lies)
    engine = bench.store(mount="secret/data")._engine
    assert engine.read(bench.path()) is not None
    with pytest.raises(ConfigError, match="it is mounted at 'secret'"):
        engine.write(bench.path(), {}, cas=1, needs="update")


def test_a_token_that_is_none_is_told_once(bench: Bench) -> None:
    """However many looks it stops."""
    auth = {"method": "token", "token_file": str(bench.secret("t", "hvs.of-another-vault"))}
    store = bench.store(auth=auth)
    findings = store.inspect([ORDERS, Scope("billing"), Scope("web")]).findings
    (fault,) = [item for item in findings if item.level == "fault"]
    assert "does not accept the token" in fault.text
    assert fault.exit_code == 77


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        (429, "ok", "a standby"),
        (472, "fault", "disaster-recovery"),
        (473, "advice", "performance standby"),
        (501, "fault", "not initialised"),
        (503, "fault", "sealed"),
        (404, "fault", "does not say what it is"),
    ],
)
def test_the_state_of_a_node(bench: Bench, status: int, level: str, text: str) -> None:
    """As `sys/health` has it; what is no fault goes on."""
    body = {"initialized": True, "version": "1.21.1"}
    with Proxy(bench.server.url) as proxy:
        store = bench.store(address=proxy.url, **QUICK)
        with proxy.misbehaving(reply(status, body), when=below("sys/health")):
            findings = found(store)
        assert one(findings, text).level == level
        assert any("KV version 2" in item.text for item in findings) == (level != "fault")


def test_the_node_is_asked_in_the_root_namespace(bench: Bench) -> None:
    """There is no `sys/health` in any other; everything else is asked in the namespace."""
    with Proxy(bench.server.url) as proxy:
        bench.store(address=proxy.url, namespace="team").inspect([ORDERS])
        named = {item.path: item.header("X-Vault-Namespace") for item in proxy.seen}
    assert named.pop("/v1/sys/health") == ""
    assert set(named.values()) == {"team"}


def test_a_namespace_that_has_no_effect(bench: Bench) -> None:
    """The free edition of Vault takes no notice of it; OpenBao has them, and Enterprise."""
    assert one(found(bench.store(namespace="team")), "has no namespaces").level == "advice"
    bodies = ({"version": "2.4.1"}, {"version": "1.21.1+ent", "enterprise": True})
    with Proxy(bench.server.url) as proxy:
        store = bench.store(address=proxy.url, namespace="team")
        for body in bodies:
            with proxy.misbehaving(reply(200, body), when=below("sys/health")):
                findings = found(store)
            assert not [item for item in findings if "namespaces" in item.text]
    assert not [item for item in found(bench.store()) if "namespaces" in item.text]


def test_an_identity_without_the_default_policy(bench: Bench) -> None:
    """What it may not ask is said, and is no fault."""
    policy = (
        f'path "secret/data/{bench.prefix}/*" {{ capabilities = ["read", "create", "update"] }}'
    )
    token = bench.token(policy, no_default_policy=True)
    auth = {"method": "token", "token_file": str(bench.secret("t", token))}
    findings = found(bench.store(auth=auth))
    assert one(findings, "may not look itself up").level == "advice"
    assert one(findings, "may not ask for its own capabilities").level == "advice"
    assert not [item for item in findings if item.level == "fault"]


def test_the_clock_of_a_server_elsewhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `Date` is the witness; how long the answer took is told with it."""
    import rotator.calls

    monkeypatch.setattr(rotator.calls, "_is_here", lambda _host, _port: False)
    store = bench.store()
    store.rings("orders").save(RING, replacing=None)
    for look in (
        lambda: store.inspect([ORDERS]).server_time,
        lambda: getattr(store.rings("orders").load(), "server_time", None),
    ):
        began = time.monotonic()
        said = look()
        assert said is not None
        assert timedelta(0) < said.round_trip <= timedelta(seconds=time.monotonic() - began)


def test_many_key_sets(bench: Bench) -> None:
    """Their capabilities are asked for in few calls, and the missing ones counted."""
    token = bench.token(None)
    with Proxy(bench.server.url) as proxy:
        auth = {"method": "token", "token_file": str(bench.secret("t", token))}
        store = bench.store(address=proxy.url, auth=auth)
        scopes = [Scope(f"set-{number}", ring=True) for number in range(60)]
        findings = store.inspect(scopes).findings
        asked = sum(item.path.endswith("capabilities-self") for item in proxy.seen)
    assert asked == 2
    assert one(findings, "more paths").exit_code == 77
