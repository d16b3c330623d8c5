"""Material in KV: written once, really destroyed, and never mistaken for gone when it can come back."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from rotator.errors import ConfigError, StoreCorrupt, StoreUnavailable
from rotator.secret import Secret
from tests.servers.misdeeds import reset_after, reset_before
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, Bench, below

KID = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
ONE, TWO = Secret(b"material-one"), Secret(b"material-two")


def test_destroyed_without_a_trace(bench: Bench) -> None:
    """No version, no metadata; and the name can be used again when the kid comes back."""
    material = bench.store().material("orders")
    material.put(KID, KID, ONE)
    material.destroy(KID, KID)
    assert (
        bench.server.request("GET", f"secret/metadata/{bench.path(f'orders/material/{KID}')}")[0]
        == 404
    )
    material.put(KID, KID, TWO)
    assert material.get(KID, KID) == TWO


def test_a_crash_between_destroying_and_removing(bench: Bench) -> None:
    """The key is gone with the first call, and the next destroys what is left of the name."""
    with Proxy(bench.server.url) as proxy:
        material = bench.store(address=proxy.url, **QUICK).material("orders")
        material.put(KID, KID, ONE)
        with (
            proxy.misbehaving(reset_before, when=below("/metadata/")),
            pytest.raises(StoreUnavailable),
        ):
            material.destroy(KID, KID)
        assert material.get(KID, KID) is None
        with pytest.raises(StoreCorrupt, match="was destroyed"):
            material.put(KID, KID, ONE)
        material.destroy(KID, KID)
        material.put(KID, KID, ONE)


def test_deleted_material_is_not_gone(bench: Bench) -> None:
    """Somebody's `vault kv delete` can be undone, so it is a fault to mend; destroying it is final."""
    material = bench.store().material("orders")
    material.put(KID, KID, ONE)
    path = bench.path(f"orders/material/{KID}")
    bench.server.do("DELETE", f"secret/data/{path}")
    acts: list[Callable[[], object]] = [
        lambda: material.get(KID, KID),
        lambda: material.put(KID, KID, ONE),
    ]
    for act in acts:
        with pytest.raises(StoreCorrupt, match="was deleted") as refused:
            act()
        assert f"vault kv undelete -versions=1 -mount=secret {path}" in refused.value.hint
    bench.server.do("POST", f"secret/undelete/{path}", {"versions": [1]})
    assert material.get(KID, KID) == ONE
    bench.server.do("DELETE", f"secret/data/{path}")
    material.destroy(KID, KID)
    bench.server.do("POST", f"secret/undelete/{path}", {"versions": [1]})
    assert material.get(KID, KID) is None


def test_every_version_is_destroyed(bench: Bench) -> None:
    """Also those that somebody wrote over it by hand, readable or not."""
    material = bench.store().material("orders")
    material.put(KID, KID, ONE)
    path = bench.path(f"orders/material/{KID}")
    for number in range(3):
        bench.server.do("POST", f"secret/data/{path}", {"data": {"mine": number}})
    with pytest.raises(StoreCorrupt, match="is not material that rotator wrote"):
        material.get(KID, KID)
    material.destroy(KID, KID)
    for version in range(1, 5):
        assert bench.server.request("GET", f"secret/data/{path}?version={version}")[0] == 404


def test_material_of_another_key_set_stays(bench: Bench) -> None:
    """Copied to a wrong path, it is neither used nor destroyed, and not told."""
    store = bench.store()
    store.material("billing").put(KID, KID, ONE)
    copied = bench.server.do("GET", f"secret/data/{bench.path(f'billing/material/{KID}')}")["data"]
    path = bench.path(f"orders/material/{KID}")
    bench.server.do("POST", f"secret/data/{path}", {"data": copied["data"]})
    orders = store.material("orders")
    acts: list[Callable[[], object]] = [
        lambda: orders.get(KID, KID),
        lambda: orders.destroy(KID, KID),
    ]
    for act in acts:
        with pytest.raises(StoreCorrupt, match="does not hold the material of kid") as refused:
            act()
        assert "material-one" not in repr(refused.value) + str(refused.value.__context__)
    assert bench.server.request("GET", f"secret/data/{path}")[0] == 200


def test_a_lost_answer_is_found_again(bench: Bench) -> None:
    """Written or destroyed without our hearing of it: both can be done again."""
    with Proxy(bench.server.url) as proxy:
        material = bench.store(address=proxy.url, **QUICK).material("orders")
        for action in ("put", "destroy"):
            with proxy.misbehaving(reset_after, when=lambda item: item.method == "POST", times=1):
                material.put(KID, KID, ONE) if action == "put" else material.destroy(KID, KID)
        assert material.get(KID, KID) is None


@pytest.mark.parametrize("locator", ["../ring", "a/b", "", "..", "a..b", "x."])
def test_locators_that_are_none_of_ours(bench: Bench, locator: str) -> None:
    """A ring that names such was changed by somebody."""
    material = bench.store().material("orders")
    for act in (material.get, material.destroy):
        with pytest.raises(StoreCorrupt, match="none of the Vault store's"):
            act(locator, KID)


def test_no_call_is_logged_with_what_it_carried(bench: Bench) -> None:
    """One DEBUG line for each step: its name, how long, how it ended."""
    with capture_logs() as logged:
        material = bench.store().material("orders")
        material.put(KID, KID, ONE)
        material.get(KID, KID)
        material.destroy(KID, KID)
    ops = [entry["op"] for entry in logged if entry["event"] == "store.call"]
    assert ops == ["login.token", "material.put", "material.get", "material.destroy"]
    text = json.dumps(logged, default=str)
    for secret in (bench.server.token, "material-one", "bWF0ZXJpYWwtb25l"):
        assert secret not in text


# A key that somebody else keeps here, to be adopted


def test_fetch(bench: Bench) -> None:
    """By MOUNT/PATH as `vault kv get` has it, or by a PATH of the store's own mount; version 1 too."""
    server, store = bench.server, bench.store()
    name = bench.prefix.rpartition("/")[2]
    old, new = f"v1-{name}", f"team/v2-{name}"
    server.do("POST", f"sys/mounts/{old}", {"type": "kv", "options": {"version": "1"}})
    bench.engine(new)
    server.do("POST", f"{old}/jwt", {"pem": "one"})
    server.do("POST", f"{new}/data/jwt/key", {"data": {"pem": "two", "kid": "k"}})
    server.do("POST", f"secret/data/{bench.prefix}/live", {"data": {"pem": "three"}})
    server.do("POST", f"secret/data/secret/{name}", {"data": {"pem": "four"}})
    for address, found in {
        f"{old}/jwt": {"pem": "one"},
        f"/{new}/jwt/key": {"pem": "two", "kid": "k"},
        f"secret/{bench.prefix}/live": {"pem": "three"},
        f"{bench.prefix}/live": {"pem": "three"},
        f"secret/{name}": {"pem": "four"},
    }.items():
        secret = store.fetch(address)
        assert secret is not None, address
        assert json.loads(secret.reveal()) == found
    for address in (f"{old}/gone", f"{new}/gone", f"secret/{name}/gone", "gone/altogether"):
        assert store.fetch(address) is None
    server.do("DELETE", f"{new}/data/jwt/key")
    assert store.fetch(f"{new}/jwt/key") is None
    for address in ("", "/", "a/../b"):
        with pytest.raises(ConfigError, match="is no path of a KV secret"):
            store.fetch(address)
