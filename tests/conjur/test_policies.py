"""Least privilege: with each policy its role works, and each thing that it withholds is refused and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import Conflict, StoreDenied
from rotator.inspection import SCRATCH, Report, Role, Scope
from rotator.secret import Secret
from rotator.stores import Document
from rotator.testing.conjur import ConjurServer
from rotator_conjur.names import Names
from rotator_conjur.policies import policy
from rotator_conjur.settings import ConjurSettings
from rotator_conjur.store import ConjurStore
from tests.conjur.places import Ground

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "policies" / "conjur"
ORDERS = Scope("orders", 4, documents=("orders/signing", "orders/verification", "orders/jwks"))
READERS = {
    Role.SIGNER: "signing",
    Role.VERIFIER: "verification",
    Role.JWKS_READER: "jwks",
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Ground]:
    """A server on which nothing is declared."""
    with ConjurServer(commit_delay=0) as server:
        found = Ground(server, tmp_path)
        yield found
        for one in found.opened:
            one.close()


def rotator(bench: Ground, *scopes: Scope, **options: Any) -> ConjurStore:
    """A store of the host `rotator`, with the policy that it prints itself."""
    store = bench.store(**options)
    bench.server.load_policy(store.policy(Role.ROTATOR, scopes))
    return store


def reader(bench: Ground, store: ConjurStore, role: Role, *scopes: Scope) -> ConjurStore:
    """A store of a host that is given a role as its policy says."""
    text = store.policy(role, scopes)
    bench.server.load_policy(text)
    auth = bench.host(role.value)
    grant = next(line for line in text.splitlines() if line.startswith("# - !grant"))
    bench.server.load_policy(grant.removeprefix("# ").replace("HOST", role.value) + "\n")
    return bench.store(auth=auth)


def whole_life(store: ConjurStore, key_set: str) -> None:
    """Everything that a rotator does in a store."""
    rings, material, documents = store.rings(key_set), store.material(key_set), store.documents()
    assert rings.load() is None
    version = rings.save(b"one", replacing=None)
    rings.save(b"two", replacing=version)
    with pytest.raises(Conflict):
        rings.save(b"three", replacing=version)
    locator = material.allocate("kid", frozenset())
    assert material.get(locator, "kid") is None
    material.put(locator, "kid", Secret(b"key"))
    assert material.get(locator, "kid") == Secret(b"key")
    material.destroy(locator, "kid")
    assert material.get(locator, "kid") is None
    for kind in READERS.values():
        name = f"{key_set}/{kind}"
        documents.write(name, Document(b"{}", key_set, 1), replacing=None)
        documents.delete(name)
        assert documents.read(name) is None


def faults(report: Report) -> list[str]:
    """The faults in a report."""
    return [finding.text for finding in report.findings if finding.level == "fault"]


@pytest.mark.parametrize("material", ["slots", "variables"])
def test_the_rotator_works(bench: Ground, material: str) -> None:
    """With what it prints, and nothing else, it does all that it has to, the trial included."""
    store = rotator(bench, ORDERS, material=material)
    whole_life(store, "orders")
    whole_life(store, SCRATCH)
    report = store.inspect([ORDERS])
    assert faults(report) == []
    texts = " ".join(finding.text for finding in report.findings)
    assert "logs in as host/rotator by api-key" in texts
    assert "may read, execute and update its" in texts
    assert "the ring is version 2 of rotator/orders/ring" in texts


def test_every_slot_is_there(bench: Ground) -> None:
    """Two more than `max_keys`, or as many as configured."""
    for slots, expected in ((None, 6), (9, 9)):
        text = bench.store(slots=slots).policy(Role.ROTATOR, [ORDERS])
        assert text.count("!variable orders/material/") == expected


def test_more_keys_than_slots(bench: Ground) -> None:
    """`check` says so before the last slot is taken; then the hint says what to do."""
    store = rotator(bench, ORDERS, slots=5)
    (fault,) = (one for one in store.inspect([ORDERS]).findings if one.level == "fault")
    assert fault.exit_code == 78
    assert "5 slots for material are fewer than max_keys + 2" in fault.text
    assert "at least 6" in fault.hint


WITHHELD: dict[str, tuple[str, Callable[[ConjurStore], object]]] = {
    "read the ring": ("read", lambda store: store.rings("orders").load()),
    "take the ring out": ("execute", lambda store: store.rings("orders").load()),
    "save the ring": ("update", lambda store: store.rings("orders").save(b"x", replacing=None)),
    "put material": (
        "update",
        lambda store: store.material("orders").put("slot-01", "kid", Secret(b"key")),
    ),
    "get material": ("read", lambda store: store.material("orders").get("slot-01", "kid")),
    "write a document": (
        "update",
        lambda store: store.documents().write(
            "orders/signing", Document(b"{}", "orders", 1), replacing=None
        ),
    ),
    "read a document": ("read", lambda store: store.documents().read("orders/signing")),
}


@pytest.mark.parametrize("act", WITHHELD)
def test_each_privilege_that_is_missing_is_named(bench: Ground, act: str) -> None:
    """By the refusal, and by `check`."""
    privilege, do = WITHHELD[act]
    store = rotator(bench, ORDERS)
    if privilege == "execute":
        store.rings("orders").save(b"x", replacing=None)
    deny = "".join(
        f"- !deny {{role: !group rotators, privilege: {privilege}, resource: !variable {name}}}\n"
        for name in ("orders/ring", "orders/material/slot-01", "orders/signing")
    )
    bench.server.load_policy(deny, branch="rotator")
    with pytest.raises(
        StoreDenied, match=f"host/rotator lacks the privilege `{privilege}`"
    ) as caught:
        do(store)
    assert caught.value.exit_code == 77
    assert "rotator policy" in caught.value.hint
    (fault, *_) = faults(store.inspect([ORDERS]))
    assert f"lacks `{privilege}` on rotator/orders/ring" in fault


def test_what_is_not_declared_is_named(bench: Ground) -> None:
    """The server does not tell an absent variable from an invisible one, and neither is "no ring"."""
    store = rotator(bench, ORDERS)
    other = Scope("billing", 4)
    with pytest.raises(StoreDenied, match="'rotator/billing/ring' is not declared"):
        store.rings("billing").load()
    found = faults(store.inspect([ORDERS, other]))
    assert any(
        "not declared, or without any privilege" in text and "billing" in text for text in found
    )


def test_the_rotator_sees_nothing_else(bench: Ground) -> None:
    """Neither other variables nor the policy: a variable that it does not own, a slot that nobody declared."""
    store = rotator(bench, ORDERS)
    bench.server.load_policy("- !variable theirs\n")
    bench.server.set("theirs", b"secret")
    attempts: Sequence[Callable[[], object]] = [
        lambda: store.fetch("theirs"),
        lambda: store.material("orders").get("slot-07", "kid"),
        lambda: store._conjur.load_policy("rotator", "- !variable mine\n"),
        lambda: store._conjur.load_policy("root", "- !variable mine\n"),
    ]
    for do in attempts:
        with pytest.raises(StoreDenied):
            do()


def test_variables_of_their_own_take_policy(bench: Ground) -> None:
    """Without the branch, or without leave to load into it, the refusal names both."""
    slots = rotator(bench, ORDERS)
    own = bench.store(material="variables")
    with pytest.raises(
        StoreDenied, match="may not load policy into 'rotator/orders/material'"
    ) as caught:
        own.material("orders").put("kid", "kid", Secret(b"key"))
    assert "`create` on the policy 'rotator/orders/material'" in caught.value.hint
    with pytest.raises(StoreDenied, match="is not declared"):
        own.material("orders").get("kid", "kid")
    assert any(
        "lacks `create` and `update` on the policy" in one for one in faults(own.inspect([ORDERS]))
    )
    assert slots.material("orders").get("slot-01", "kid") is None


@pytest.mark.parametrize("role", READERS)
def test_a_reader_reads_one_document(bench: Ground, role: Role) -> None:
    """And nothing else: no ring, no material, no other document; and it writes nothing."""
    store = rotator(bench, ORDERS)
    kind = READERS[role]
    for name in READERS.values():
        document = Document(f'{{"is": "{name}"}}'.encode(), "orders", 1)
        store.documents().write(f"orders/{name}", document, replacing=None)
    store.rings("orders").save(b"one", replacing=None)
    store.material("orders").put("slot-01", "kid", Secret(b"key"))
    read = reader(bench, store, role, ORDERS)
    found = read.documents().read(f"orders/{kind}")
    assert found is not None
    assert found.body == f'{{"is": "{kind}"}}'.encode()
    refused: Sequence[Callable[[], object]] = [
        lambda: read.rings("orders").load(),
        lambda: read.rings("orders").save(b"x", replacing=None),
        lambda: read.material("orders").get("slot-01", "kid"),
        lambda: read.material("orders").put("slot-02", "kid", Secret(b"x")),
        lambda: read.documents().write(
            f"orders/{kind}", Document(b"{}", "orders", 2), replacing=found.token
        ),
        *(
            lambda name=name: read.documents().read(f"orders/{name}")
            for name in READERS.values()
            if name != kind
        ),
    ]
    for do in refused:
        with pytest.raises(StoreDenied):
            do()


def test_each_verifier_reads_its_own(bench: Ground) -> None:
    """Two with a document each, in variables that the rotator's policy declares: one group each, and no other's."""
    names = {one: f"orders/verification.{one}" for one in ("billing", "shop")}
    store = rotator(bench, Scope("orders", 4, documents=tuple(names.values())))
    for name in names.values():
        store.documents().write(name, Document(b'{"is": 1}', "orders", 1), replacing=None)
    for own, other in (("billing", "shop"), ("shop", "billing")):
        text = store.policy(Role.VERIFIER, [Scope("orders", 4, documents=(names[own],))])
        auth = bench.host(own, text)
        (grant,) = (line[2:] for line in text.splitlines() if line.startswith("# - !grant"))
        bench.server.load_policy(grant.replace("HOST", own) + "\n")
        documents = bench.store(auth=auth).documents()
        found = documents.read(names[own])
        assert found is not None
        with pytest.raises(StoreDenied):
            documents.write(names[own], Document(b"{}", "orders", 2), replacing=found.token)
        for name in (names[other], "orders/verification", "orders/signing"):
            with pytest.raises(StoreDenied):
                documents.read(name)


def settings(**options: Any) -> ConjurSettings:
    """The settings that the files in deploy/ are printed for."""
    auth = {
        "method": "jwt",
        "service_id": "kubernetes",
        "jwt_file": "/var/run/secrets/conjur/token",
    }
    given = {"url": "https://conjur.example.com", "account": "example", "auth": auth, **options}
    return ConjurSettings.model_validate(given)


@pytest.mark.parametrize("role", Role)
def test_what_lies_in_deploy_is_what_is_printed(role: Role) -> None:
    """Print them again with `rotator policy STORE --role ROLE` when they differ."""
    printed = policy(Names("rotator"), settings(), role, ())
    assert (DEPLOY / f"{role.value}.yml").read_text(encoding="utf-8") == printed


def test_the_policy_for_variables_lies_in_deploy() -> None:
    """The other way to keep material."""
    printed = policy(Names("rotator", numbered=False), settings(), Role.ROTATOR, ())
    path = DEPLOY / "rotator-with-variables.yml"
    assert path.read_text(encoding="utf-8") == printed


def test_each_file_in_deploy_can_be_loaded(bench: Ground) -> None:
    """Once KEY_SET is replaced by a name."""
    for name in ("rotator", "rotator-with-variables", "signer", "verifier", "jwks-reader"):
        text = (DEPLOY / f"{name}.yml").read_text(encoding="utf-8")
        bench.server.load_policy(text.replace("KEY_SET", "orders"))


def test_a_reader_of_a_document_of_another_name(bench: Ground) -> None:
    """Where none is named after its kind, all that the scope has are meant."""
    scope = Scope("orders", documents=("orders/prod",), ring=False)
    text = bench.store().policy(Role.SIGNER, [scope])
    assert "- !variable orders/prod" in text
    assert "ring" not in text
