"""Documents in KV: exact text and fields, drift in either, removal by hand, and the fence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.delivery.flaws import flaw
from rotator.errors import ConfigError, Conflict, StoreUnavailable
from rotator.stores import Document, DocumentKind, DocumentStore, VersionToken
from rotator_vault.store import VaultStore
from tests.servers.misdeeds import reset_after, reset_before
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, Bench, below

NAME = "orders/signing"
BODY = json.dumps(
    {
        "format": "rotator.signing/1",
        "key_set": "orders",
        "revision": 7,
        "kid": "k-1",
        "alg": "ES256",
        "jwk": {"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"},
        "pem": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
        "document": "a member that is called as our own",
    },
    indent=1,
    ensure_ascii=False,
).encode()


@pytest.fixture
def documents(bench: Bench) -> DocumentStore:
    """The documents of a store in which nothing is."""
    return bench.store().documents()


def raw(bench: Bench) -> dict[str, Any]:
    """The fields at the document's path, as a consumer sees them."""
    found = bench.server.do("GET", f"secret/data/{bench.path(NAME)}")
    return dict(found["data"]["data"])


def by_hand(bench: Bench, **fields: Any) -> None:
    """Change fields as `vault kv patch` does."""
    body = {"data": raw(bench) | fields}
    bench.server.do("POST", f"secret/data/{bench.path(NAME)}", body)


def present(documents: DocumentStore) -> Document:
    """The document, which must be there."""
    found = documents.read(NAME)
    assert found is not None
    return found


def test_the_members_of_a_document_are_fields(bench: Bench, documents: DocumentStore) -> None:
    """So `vault kv get -field=pem` and a template's `.Data.data.pem` work; the text is whole beside them."""
    documents.write(NAME, Document(BODY, "orders", 7, max_age=300, stale=60), replacing=None)
    found = raw(bench)
    assert found["pem"] == json.loads(BODY)["pem"]
    assert found["jwk"] == json.loads(BODY)["jwk"]
    assert found["document"].encode() == BODY
    read = present(documents)
    assert (read.body, read.key_set, read.revision) == (BODY, "orders", 7)
    assert (read.max_age, read.stale) == (300, 60)


@pytest.mark.parametrize(
    "change",
    [
        {"pem": "mine"},
        {"kid": "k-2"},
        {"jwk": {"kty": "EC"}},
        {"document": BODY.decode() + " "},
        {"document": "{}"},
        {"more": 1},
    ],
    ids=["pem", "kid", "jwk", "a blank", "text", "another field"],
)
def test_drift_is_seen_and_mended(
    bench: Bench, documents: DocumentStore, change: dict[str, Any]
) -> None:
    """Whatever was changed, the body is another one, of the same revision; and it can be replaced."""
    document = Document(BODY, "orders", 7)
    documents.write(NAME, document, replacing=None)
    by_hand(bench, **change)
    drifted = present(documents)
    assert drifted.body != BODY
    assert (drifted.key_set, drifted.revision) == ("orders", 7)
    documents.write(NAME, document, replacing=drifted.token)
    assert present(documents).body == BODY


def test_a_patched_field_is_named(bench: Bench, documents: DocumentStore) -> None:
    """`vault kv patch … kid=hacked`: what was changed is said, not how the store wrote it down."""
    written = json.loads(BODY) | {"activated_at": "2026-01-01T00:00:00Z"}
    written["jwk"] |= {"kid": "k-1", "alg": "ES256"}
    del written["document"]
    body = json.dumps(written, separators=(",", ":")).encode()
    documents.write(NAME, Document(body, "orders", 7), replacing=None)
    for fields, said in (
        ({"alg": "none"}, "its alg was changed"),
        ({"kid": "hacked"}, "its kid was changed"),
    ):
        by_hand(bench, **fields)
        assert said in flaw(present(documents), DocumentKind.SIGNING)


@pytest.mark.parametrize(
    "data", [{}, {"pem": "mine"}, {"document": "{}"}, {"rotator": {"revision": 3}}]
)
def test_what_rotator_did_not_write(
    bench: Bench, documents: DocumentStore, data: dict[str, Any]
) -> None:
    """It has no key set and no revision; the body is all that is there; whoever names it may replace it."""
    bench.server.do("POST", f"secret/data/{bench.path(NAME)}", {"data": data})
    found = present(documents)
    assert (found.key_set, found.revision, json.loads(found.body)) == (None, None, data)
    with pytest.raises(Conflict):
        documents.write(NAME, Document(BODY, "orders", 7), replacing=None)
    documents.write(NAME, Document(BODY, "orders", 7), replacing=found.token)
    assert present(documents).body == BODY


@pytest.mark.parametrize("way", ["delete", "destroy"])
def test_deleted_by_hand_is_written_again(bench: Bench, documents: DocumentStore, way: str) -> None:
    """The numbers go on, and a first write names the last of them."""
    documents.write(NAME, Document(BODY, "orders", 7), replacing=None)
    seen = present(documents).token
    path = bench.path(NAME)
    if way == "delete":
        bench.server.do("DELETE", f"secret/data/{path}")
    else:
        bench.server.do("POST", f"secret/destroy/{path}", {"versions": [1]})
    assert documents.read(NAME) is None
    with pytest.raises(Conflict):
        documents.write(NAME, Document(BODY, "orders", 7), replacing=seen)
    documents.write(NAME, Document(BODY, "orders", 7), replacing=None)
    assert present(documents).token == VersionToken("2")


def test_no_earlier_version_is_left(bench: Bench, documents: DocumentStore) -> None:
    """Each holds a private key that may have been destroyed since; who may read the latest may read all."""
    for revision in range(1, 5):
        token = None if revision == 1 else present(documents).token
        documents.write(NAME, Document(BODY, "orders", revision), replacing=token)
    path = f"secret/data/{bench.path(NAME)}"
    seen = [bench.server.request("GET", f"{path}?version={number}")[0] for number in range(1, 5)]
    assert seen == [404, 404, 404, 200]


def test_what_could_not_be_destroyed_is_later(bench: Bench) -> None:
    """The document is written; the next write destroys what is left."""
    with Proxy(bench.server.url) as proxy:
        documents = bench.store(address=proxy.url, **QUICK).documents()
        documents.write(NAME, Document(BODY, "orders", 1), replacing=None)
        with (
            proxy.misbehaving(reset_before, when=below("/destroy/")),
            pytest.raises(StoreUnavailable),
        ):
            documents.write(NAME, Document(BODY, "orders", 2), replacing=VersionToken("1"))
        assert present(documents).revision == 2
        documents.write(NAME, Document(BODY, "orders", 3), replacing=VersionToken("2"))
    assert bench.server.request("GET", f"secret/data/{bench.path(NAME)}?version=1")[0] == 404


def test_deleting_leaves_no_version(bench: Bench, documents: DocumentStore) -> None:
    """A signing document holds a private key: nothing of it can be undeleted."""
    documents.write(NAME, Document(BODY, "orders", 7), replacing=None)
    documents.write(NAME, Document(BODY, "orders", 8), replacing=present(documents).token)
    documents.delete(NAME)
    assert bench.server.request("GET", f"secret/metadata/{bench.path(NAME)}")[0] == 404


def test_a_lost_answer_is_found_again(bench: Bench) -> None:
    """The write was carried out: the second try finds it, and is no Conflict with itself."""
    with Proxy(bench.server.url) as proxy:
        documents = bench.store(address=proxy.url, **QUICK).documents()
        for revision, replacing in ((7, None), (8, VersionToken("1"))):
            with proxy.misbehaving(reset_after, when=below("/data/"), skip=1, times=1):
                documents.write(NAME, Document(BODY, "orders", revision), replacing=replacing)
            assert present(documents).revision == revision


@pytest.mark.parametrize(
    "name",
    ["orders", "orders/", "orders/ring", "orders/material", "orders/a/b", "../x/y", "orders/.."],
)
def test_names_that_are_taken_or_none(documents: DocumentStore, name: str) -> None:
    """A document never takes the place of the ring or of material."""
    for act in (
        documents.read,
        documents.delete,
        lambda name: documents.write(name, Document(b"", "orders", 1), replacing=None),
    ):
        with pytest.raises(ConfigError, match="cannot hold"):
            act(name)


def test_two_prefixes_are_two_stores(bench: Bench) -> None:
    """One engine may be shared."""
    here: VaultStore = bench.store()
    there = bench.store(prefix=f"{bench.prefix}/deeper/one")
    here.documents().write(NAME, Document(BODY, "orders", 7), replacing=None)
    assert there.documents().read(NAME) is None
