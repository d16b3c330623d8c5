"""The ring in KV version 2: what vanished is never nothing, and what was lost on the way is found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.errors import ConfigError, Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.stores import Version
from tests.servers.misdeeds import reset_after, reset_before
from tests.servers.proxy import Proxy
from tests.vault.bench import NEXT, QUICK, RING, Bench, below


def stored(bench: Bench, path: str = "orders/ring") -> Any:
    """What lies at a path, as root sees it."""
    return bench.server.do("GET", f"secret/data/{bench.path(path)}")["data"]["data"]


def test_people_can_read_it(bench: Bench) -> None:
    """The ring is one field, its exact text; the version is that of the KV secret."""
    rings = bench.store().rings("orders")
    assert rings.save(RING, replacing=None) == "1"
    assert rings.save(NEXT, replacing=Version("1")) == "2"
    assert stored(bench)["ring"].encode() == NEXT
    assert stored(bench)["key_set"] == "orders"
    assert rings.place == f"secret/{bench.path()} of Vault at {bench.server.url}"


def test_bytes_that_are_no_text(bench: Bench) -> None:
    """Nothing is lost of them either."""
    rings = bench.store().rings("orders")
    rings.save(b"\xff\x00\xfe", replacing=None)
    found = rings.load()
    assert found is not None
    assert found.document == b"\xff\x00\xfe"


def test_deleted_is_not_nothing(bench: Bench) -> None:
    """A ring that somebody deleted stops everything, and can be undeleted as the hint says."""
    rings = bench.store().rings("orders")
    rings.save(RING, replacing=None)
    bench.server.do("DELETE", f"secret/data/{bench.path()}")
    with pytest.raises(StoreCorrupt, match=r"version 1 of the ring at .* was deleted") as stopped:
        rings.load()
    assert f"vault kv undelete -versions=1 -mount=secret {bench.path()}" in stopped.value.hint
    with pytest.raises(Conflict):
        rings.save(NEXT, replacing=None)
    bench.server.do("POST", f"secret/undelete/{bench.path()}", {"versions": [1]})
    found = rings.load()
    assert found is not None
    assert found.document == RING


def test_destroyed_is_not_nothing(bench: Bench) -> None:
    """Nor is one that was destroyed; an older version can be taken."""
    rings = bench.store().rings("orders")
    rings.save(RING, replacing=None)
    bench.server.do("POST", f"secret/destroy/{bench.path()}", {"versions": [1]})
    with pytest.raises(StoreCorrupt, match="was destroyed") as stopped:
        rings.load()
    assert "vault kv rollback" in stopped.value.hint
    with pytest.raises(Conflict):
        rings.save(NEXT, replacing=None)


def test_metadata_made_before_the_first_ring(bench: Bench) -> None:
    """An operator may guard the path first: that is still nothing, and every save passes the guard."""
    bench.server.do("POST", f"secret/metadata/{bench.path()}", {"cas_required": True})
    rings = bench.store().rings("orders")
    assert rings.load() is None
    rings.save(RING, replacing=None)
    rings.save(NEXT, replacing=Version("1"))


@pytest.mark.parametrize(
    "data", [{}, {"ring": 7}, {"ring": "{}", "key_set": "billing"}, {"value": "mine"}]
)
def test_something_else_in_its_place(bench: Bench, data: dict[str, Any]) -> None:
    """What somebody else put there, or a copy of another key set's ring, is not trusted."""
    bench.server.do("POST", f"secret/data/{bench.path()}", {"data": data})
    with pytest.raises(StoreCorrupt, match="does not hold a ring of key set 'orders'"):
        bench.store().rings("orders").load()


def test_missing_engine_is_not_nothing(bench: Bench) -> None:
    """A mount that is not there is a Vault that was emptied, or the wrong one."""
    rings = bench.store(mount="nowhere").rings("orders")
    with pytest.raises(StoreUnavailable, match="no secrets engine at 'nowhere'") as stopped:
        rings.load()
    assert "vault secrets enable -path=nowhere -version=2 kv" in stopped.value.hint
    with pytest.raises(StoreUnavailable, match="no secrets engine at 'nowhere'"):
        rings.save(RING, replacing=None)


@pytest.mark.parametrize(
    "engine", [{"type": "kv", "options": {"version": "1"}}, {"type": "transit"}]
)
def test_an_engine_that_cannot_compare(bench: Bench, engine: dict[str, Any]) -> None:
    """Version 1 answers "not there" to any path and takes any write: it is asked first, and refused."""
    mount = f"other-{bench.prefix[-6:]}"
    bench.server.do("POST", f"sys/mounts/{mount}", engine)
    rings = bench.store(mount=mount).rings("orders")
    for act in (rings.load, lambda: rings.save(RING, replacing=None)):
        with pytest.raises(ConfigError, match="not KV version 2"):
            act()
    if engine["type"] == "kv":
        assert bench.server.request("GET", f"{mount}/data/{bench.path()}")[0] == 404


def test_a_token_of_another_vault(bench: Bench) -> None:
    """As after a restart that lost everything: a login problem, never "no ring"."""
    auth = {"method": "token", "token_file": str(bench.secret("token", "hvs.of-another-vault"))}
    with pytest.raises(StoreDenied, match="does not accept the token in the file") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "of another Vault" in refused.value.hint


def test_a_lost_answer_is_found_again(bench: Bench) -> None:
    """The save was carried out and the connection broke: the retry finds its own mark."""
    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **QUICK).rings("orders")
        with proxy.misbehaving(reset_after, when=lambda request: request.method == "POST", times=1):
            assert rings.save(RING, replacing=None) == "1"
        with proxy.misbehaving(
            reset_before, when=lambda request: request.method == "POST", times=1
        ):
            assert rings.save(NEXT, replacing=Version("1")) == "2"
    assert stored(bench)["ring"].encode() == NEXT


def test_a_lost_answer_after_which_others_went_on(bench: Bench) -> None:
    """The save is told from the later one by its own version; a save that was not ours is a Conflict."""
    other = bench.store().rings("orders")

    def overtaken(exchange: Any) -> None:
        exchange.forward()
        other.save(NEXT, replacing=Version("1"))
        exchange.reset()

    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **QUICK).rings("orders")
        with proxy.misbehaving(overtaken, when=lambda request: request.method == "POST", times=1):
            assert rings.save(RING, replacing=None) == "1"
        with pytest.raises(Conflict):
            rings.save(RING, replacing=Version("1"))
    assert stored(bench)["ring"].encode() == NEXT


def test_the_same_bytes_of_another_are_a_conflict(bench: Bench) -> None:
    """Two replicas may write the very same ring; only one of them saved it."""
    bench.store().rings("orders").save(RING, replacing=None)
    with pytest.raises(Conflict):
        bench.store().rings("orders").save(RING, replacing=None)


def test_restarted_empty_with_the_same_token(bench: Bench) -> None:
    """Then the answer is "no path", which is true; that it was there before is for the tick to know."""
    rings = bench.store().rings("orders")
    rings.save(RING, replacing=None)
    bench.server.do("DELETE", f"secret/metadata/{bench.path()}")
    assert rings.load() is None
    with pytest.raises(Conflict):
        rings.save(NEXT, replacing=Version("1"))


@pytest.mark.parametrize("name", ["a..b", "a.", "Upper", "", "../x", "a/b"])
def test_names_that_no_path_can_have(bench: Bench, name: str) -> None:
    """Vault refuses two dots in a row anywhere, and strips a dot at the end."""
    for part in (bench.store().rings, bench.store().material):
        with pytest.raises(ConfigError, match="cannot hold a key set named"):
            part(name)


def test_a_page_in_the_place_of_an_answer(bench: Bench) -> None:
    """A 404 that is not Vault's says nothing about a ring."""
    from tests.servers.misdeeds import answering

    with Proxy(bench.server.url) as proxy:
        rings = bench.store(address=proxy.url, **QUICK).rings("orders")
        for page in (
            b"<html>not found</html>",
            b"[]",
            b"",
            json.dumps({"errors": ["what?"]}).encode(),
        ):
            with (
                proxy.misbehaving(answering(404, page), when=below("/data/")),
                pytest.raises(StoreUnavailable),
            ):
                rings.load()
