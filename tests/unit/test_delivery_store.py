"""A document in a store as a target: what counts as drift, and a store that cannot be opened or keeps none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.algorithms import kind_of
from rotator.assemble import Assembly
from rotator.delivery.flaws import flaw
from rotator.delivery.store import StoreDocument
from rotator.documents import jwks_document, signing_document, verification_document
from rotator.errors import BackendMissing, ConfigError, Conflict, StoreCorrupt, StoreUnavailable
from rotator.keys import Keys
from rotator.policy import RotationPolicy
from rotator.ring import Key, KeyRing, Phase
from rotator.settings import load_settings
from rotator.stores import (
    Document,
    DocumentKind,
    DocumentStore,
    MaterialStore,
    RingStore,
    Store,
    find_backend,
)
from tests.cli.bench import Bench

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIGNING, VERIFICATION, JWKS = (
    DocumentKind.SIGNING,
    DocumentKind.VERIFICATION,
    DocumentKind.JWKS,
)


def documents_of(algorithm: str) -> dict[DocumentKind, Document]:
    """Return the documents of a key set whose only key is active."""
    keys, kind = Keys(), kind_of(algorithm)
    made = keys.make(kind)
    key = Key(
        made.kid,
        kind.algorithm,
        kind.size,
        Phase.ACTIVE,
        "here",
        NOW,
        public=made.public,
        check=made.check,
        activated_at=NOW,
    )
    ring = KeyRing("web", revision=7, keys=(key,))
    found = {SIGNING: signing_document(ring, key, made.material, keys)}
    if kind.symmetric:
        return found | {VERIFICATION: verification_document(ring, [(key, made.material)], keys)}
    policy = RotationPolicy(kind, timedelta(hours=1), timedelta(minutes=5))
    return found | {JWKS: jwks_document(ring, policy)}


def edited(document: Document, change: Callable[[dict[str, Any]], object]) -> Document:
    """Return a document that somebody changed by hand, and wrote as we would."""
    members = json.loads(document.body)
    change(members)
    return replace(document, body=json.dumps(members, separators=(",", ":")).encode())


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "ES512", "EdDSA", "HS256"])
def test_what_we_write_is_whole(algorithm: str) -> None:
    """No document of ours is ever taken for drift."""
    for kind, document in documents_of(algorithm).items():
        assert flaw(document, kind) == ""


def with_pem(pem: object) -> Callable[[dict[str, Any]], object]:
    """Return an edit that replaces the PEM."""
    return lambda members: members.update(pem=pem)


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
def test_every_private_number_counts(algorithm: str) -> None:
    """Whichever of them is changed in the JWK, or in the PEM, the two differ."""
    document = documents_of(algorithm)[SIGNING]
    jwk = json.loads(document.body)["jwk"]
    other = json.loads(documents_of(algorithm)[SIGNING].body)
    for name in {"d", "p", "q", "dp", "dq", "qi"} & set(jwk):

        def swap(members: dict[str, Any], name: str = name) -> None:
            members["jwk"][name] = other["jwk"][name]

        assert "PEM" in flaw(edited(document, swap), SIGNING)
    for pem in (
        other["pem"],
        "",
        None,
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
    ):
        assert "PEM" in flaw(edited(document, with_pem(pem)), SIGNING)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (SIGNING, lambda found: found.update(revision=8), "another format, key set or revision"),
        (SIGNING, lambda found: found.update(key_set="api"), "another format, key set"),
        (SIGNING, lambda found: found.update(format="mine/1"), "another format"),
        (SIGNING, lambda found: found.pop("activated_at"), "a member is missing"),
        (SIGNING, lambda found: found.update(jwk=[]), "a member is missing"),
        (SIGNING, lambda found: found.update(alg="none"), "its alg was changed"),
        (SIGNING, lambda found: found["jwk"].update(kid="x"), "its kid was changed"),
        (SIGNING, lambda found: found.update(pem="x"), "an HMAC key has no PEM"),
        (VERIFICATION, lambda found: found.update(more=1), "a member is missing"),
        (VERIFICATION, lambda found: found.update(keys=["x"]), "not a list of JWKs"),
    ],
)  # fmt: skip
def test_what_a_hand_may_change(
    kind: DocumentKind, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """Each is said in words that quote nothing."""
    assert said in flaw(edited(documents_of("HS256")[kind], change), kind)


def test_bytes_that_are_no_document() -> None:
    """Nor is a JWKS that says more than the public may know."""
    found = documents_of("ES256")
    private = replace(found[JWKS], body=b'{"keys":[' + _jwk(found[SIGNING]) + b"]}")
    assert "private member" in flaw(private, JWKS)
    for kind, document in found.items():
        assert flaw(replace(document, body=b"\xff"), kind)
        assert flaw(replace(document, body=b"[" * 5000), kind)


def _jwk(signing: Document) -> bytes:
    return json.dumps(json.loads(signing.body)["jwk"]).encode()


def target(store: Callable[[], Store], kind: DocumentKind = SIGNING) -> StoreDocument:
    """Return the target of key set `web` in a store."""
    return StoreDocument(store, "east", "web", kind, independent=True)


def file_store(path: Path) -> Store:
    """Return a store that keeps documents."""
    backend = find_backend("file")
    return backend.open(backend.settings()(path=path))


def test_nothing_then_ours_then_anothers(tmp_path: Path) -> None:
    """A look says which; only what this key set may write is written."""
    documents = documents_of("ES256")
    store = file_store(tmp_path / "keys")
    mine = target(lambda: store)
    assert mine.name == "store:east/web/signing"
    assert mine.look().document is None
    mine.write(documents[SIGNING], replacing=None)
    seen = mine.look()
    assert seen.note == ""
    assert seen.document is not None
    assert (seen.document.key_set, seen.document.revision) == ("web", 7)
    with pytest.raises(Conflict):
        mine.write(documents[SIGNING], replacing=None)
    for wrong in (replace(documents[SIGNING], key_set="api"), replace(documents[JWKS])):
        with pytest.raises(StoreCorrupt) as caught:
            mine.write(wrong, replacing=seen.document.token)
        assert caught.value.hint
    kept = store.documents()
    assert kept is not None
    kept.delete("web/signing")
    kept.write("web/signing", replace(documents[SIGNING], key_set="api"), replacing=None)
    foreign = mine.look().document
    assert foreign is not None
    assert foreign.key_set == "api"


def test_a_store_that_cannot_be_opened_gives_no_answer() -> None:
    """Each look tries anew; making the target touches nothing."""
    opened = []

    def down() -> Store:
        opened.append(1)
        raise StoreUnavailable("nobody there")

    mine = target(down)
    assert not opened
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            mine.look()
    assert len(opened) == 2


class RingsOnly:
    """A store that keeps no documents."""

    def rings(self, key_set: str) -> RingStore:
        """Return none: nobody asks."""
        raise NotImplementedError(key_set)

    def material(self, key_set: str) -> MaterialStore:
        """Return none: nobody asks."""
        raise NotImplementedError(key_set)

    def documents(self) -> DocumentStore | None:
        """Return that there are none."""
        return None

    def close(self) -> None:
        """Let go of nothing."""


def test_a_store_without_documents_is_a_fault_of_the_configuration() -> None:
    """It is named, with the key set that wants one."""
    with pytest.raises(ConfigError, match="east keeps no documents, and key set web") as caught:
        target(RingsOnly).look()
    assert caught.value.hint


def assembled(path: Path, stores: dict[str, Any], *mirrors: str) -> Assembly:
    """Return a key set with its ring in `local` and its signing documents in others."""
    deliver = [{"to": "store", "store": name} for name in mirrors]
    bench = Bench(
        path,
        key_set={"store": "local", "deliver": deliver},
        more={"stores": {"local": {"backend": "file", "path": "store"}, **stores}},
    )
    return Assembly(load_settings(bench.config, {}), lambda *_, **__: None)


def test_mirrors_are_opened_when_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key set is made without them; what is missing on this host is said by the look."""
    real, asked = find_backend, []

    def counting(name: str) -> Any:
        asked.append(name)
        if asked.count(name) > 1:
            raise BackendMissing("no SDK here", hint="pip install it")
        return real(name)

    with assembled(tmp_path, {"east": {"backend": "file", "path": "east"}}, "east") as assembly:
        monkeypatch.setattr("rotator.assemble.find_backend", counting)
        (site,) = assembly.sites()
        assert asked == ["file"]
        with pytest.raises(BackendMissing):
            site.targets[0].look()


def test_one_store_that_takes_its_time_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is opened under a lock of its own."""
    real, entered, go_on = find_backend, threading.Event(), threading.Event()

    def slow(settings: Any) -> Store:
        if settings.path.name == "east":
            entered.set()
            assert go_on.wait(30)
        return real("file").open(settings)

    backend = replace(real("file"), open=slow)
    stores = {"east": {"backend": "file", "path": "east"}}
    with assembled(tmp_path, stores, "east") as assembly:
        monkeypatch.setattr("rotator.assemble.find_backend", lambda _name: backend)
        opening = threading.Thread(target=assembly.store, args=("east",))
        opening.start()
        assert entered.wait(30)
        assembly.store("local")
        go_on.set()
        opening.join(30)
        assembly.store("east")


def test_which_stores_prove_a_first_run(tmp_path: Path) -> None:
    """Another place does, the ring's own does not."""
    stores = {"east": {"backend": "file", "path": "east"}}
    with assembled(tmp_path, stores, "east", "local") as assembly:
        (site,) = assembly.sites()
    east, own, _jwks = site.targets
    assert (east.independent, own.independent) == (True, False)
