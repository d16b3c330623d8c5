"""Least privilege, for real: with each policy its role works, and each thing that it withholds is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rotator.errors import RotatorError, StoreDenied
from rotator.inspection import SCRATCH, Report, Role, Scope
from rotator.secret import Secret
from rotator.stores import Document, Version
from rotator_vault.policies import Right, rights
from rotator_vault.settings import VaultSettings
from rotator_vault.store import VaultStore
from tests.vault.bench import NEXT, RING, Bench

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "policies" / "vault"
ORDERS = Scope("orders", documents=("orders/signing", "orders/verification", "orders/jwks"))
KEY = Secret(b"the key")


def as_(bench: Bench, policy: str) -> VaultStore:
    """A store whose token has a policy and nothing else, not even `default`."""
    token = bench.secret(f"token-{len(bench.opened)}", bench.token(policy, no_default_policy=True))
    return bench.store(auth={"method": "token", "token_file": str(token)})


def whole_life(store: VaultStore, key_set: str = "orders") -> None:
    """Everything that a rotator does in a store."""
    ring, material, documents = store.rings(key_set), store.material(key_set), store.documents()
    assert ring.load() is None
    version = ring.save(RING, replacing=None)
    ring.save(NEXT, replacing=version)
    locator = material.allocate("kid", frozenset())
    material.put(locator, "kid", KEY)
    material.put(locator, "kid", KEY)
    assert material.get(locator, "kid") == KEY
    material.destroy(locator, "kid")
    material.destroy(locator, "kid")
    assert material.get(locator, "kid") is None
    for name in ("signing", "verification", "jwks"):
        path = f"{key_set}/{name}"
        documents.write(path, Document(b"{}", key_set, 1), replacing=None)
        found = documents.read(path)
        assert found is not None
        documents.write(path, Document(b"{}", key_set, 2), replacing=found.token)
        documents.delete(path)
        assert documents.read(path) is None


def faults(report: Report) -> list[str]:
    """The faults in a report."""
    return [finding.text for finding in report.findings if finding.level == "fault"]


@pytest.mark.parametrize("scopes", [(), (ORDERS,)], ids=["every key set", "one key set"])
def test_the_rotator_works(bench: Bench, scopes: Sequence[Scope]) -> None:
    """With what `rotator policy` prints and nothing else: all of it, the trial, and its own inspection."""
    store = as_(bench, bench.store().policy(Role.ROTATOR, scopes))
    whole_life(store)
    store.rings("orders").load()
    store.rings(SCRATCH).save(RING, replacing=None)
    store.material(SCRATCH).put("k", "k", KEY)
    store.documents().write(f"{SCRATCH}/signing", Document(b"{}", SCRATCH, 1), replacing=None)
    store.erase_scratch()
    assert store.rings(SCRATCH).load() is None
    assert store.material(SCRATCH).get("k", "k") is None
    store.erase_scratch()
    report = store.inspect([ORDERS])
    assert faults(report) == []
    assert "advice" not in {item.level for item in report.findings if "check" in item.text}


def test_the_rotator_of_one_key_set_has_no_other(bench: Bench) -> None:
    """Named key sets are all that it may touch; material is never overwritten, nor the ring removed."""
    root = bench.store()
    root.rings("billing").save(RING, replacing=None)
    root.rings("orders").save(RING, replacing=None)
    root.material("orders").put("k", "k", KEY)
    store = as_(bench, root.policy(Role.ROTATOR, [ORDERS]))
    for refused in (
        lambda: store.rings("billing").load(),
        lambda: store.rings("billing").save(NEXT, replacing=Version("1")),
        lambda: store.material("billing").put("k", "k", KEY),
        lambda: store.documents().read("billing/signing"),
        lambda: store._engine.write(
            bench.path("orders/material/k"), {"a": 1}, cas=1, needs="update"
        ),
        lambda: store._engine.erase(bench.path("orders/ring")),
        lambda: store._engine.destroy(bench.path("orders/ring"), [1]),
        lambda: store._engine.names(bench.prefix),
    ):
        with pytest.raises(StoreDenied):
            refused()
    assert root.material("orders").get("k", "k") == KEY


def test_a_race_for_a_locator_without_update(bench: Bench) -> None:
    """Who may not update is refused where something appeared in between: that is said as what it is."""
    root = bench.store()
    store = as_(bench, root.policy(Role.ROTATOR, [ORDERS]))
    root.material("orders").put("k", "other", KEY)
    read, looks = store._engine.read, [None]

    def late(path: str, **_: str) -> object:
        return looks.pop() if looks else read(path)

    material = store.material("orders")
    material._engine.read = late  # type: ignore[method-assign,assignment]  # the first look came before
    with pytest.raises(RotatorError, match="does not hold the material of kid 'k'"):
        material.put("k", "k", KEY)


@pytest.mark.parametrize(
    ("role", "document", "others"),
    [
        (Role.SIGNER, "signing", ("ring", "material/k", "verification")),
        (Role.VERIFIER, "verification", ("ring", "material/k", "signing")),
        (Role.JWKS_READER, "jwks", ("material/k", "signing", "verification")),
    ],
)
@pytest.mark.parametrize("scopes", [(), (ORDERS,)], ids=["every key set", "one key set"])
def test_a_reader_reads_one_document(
    bench: Bench, role: Role, document: str, others: Sequence[str], scopes: Sequence[Scope]
) -> None:
    """And nothing else: no ring (but a JWKS server), no material, no other document; it writes nowhere."""
    root = bench.store()
    root.rings("orders").save(RING, replacing=None)
    root.material("orders").put("k", "k", KEY)
    for name in ("signing", "verification", "jwks"):
        root.documents().write(f"orders/{name}", Document(b"{}", "orders", 1), replacing=None)
    store = as_(bench, root.policy(role, scopes))
    found = store.documents().read(f"orders/{document}")
    assert found is not None
    if role is Role.JWKS_READER:
        assert store.rings("orders").load() is not None
    for other in others:
        with pytest.raises(StoreDenied):
            store._engine.read(bench.path(f"orders/{other}"))
    with pytest.raises(StoreDenied):
        store.documents().write(
            f"orders/{document}", Document(b"x", "orders", 2), replacing=found.token
        )
    with pytest.raises(StoreDenied):
        store.documents().delete(f"orders/{document}")


@pytest.mark.parametrize("every", [True, False], ids=["every key set", "one key set"])
def test_each_verifier_reads_its_own(bench: Bench, every: bool) -> None:
    """Two with a document each, written and forgotten by a rotator with its policy alone."""
    names = {one: f"orders/verification.{one}" for one in ("billing", "shop")}
    scope = Scope("orders", documents=tuple(names.values()))
    root = bench.store()
    writer = as_(bench, root.policy(Role.ROTATOR, [] if every else [scope])).documents()
    for name in names.values():
        writer.write(name, Document(b'{"is": 1}', "orders", 1), replacing=None)
        found = writer.read(name)
        assert found is not None
        writer.write(name, Document(b'{"is": 2}', "orders", 2), replacing=found.token)
    for own, other in (("billing", "shop"), ("shop", "billing")):
        one = Scope("orders", documents=(names[own],))
        documents = as_(bench, root.policy(Role.VERIFIER, [one])).documents()
        found = documents.read(names[own])
        assert found is not None
        with pytest.raises(StoreDenied):
            documents.write(names[own], Document(b"{}", "orders", 3), replacing=found.token)
        for name in (names[other], "orders/verification", "orders/signing"):
            with pytest.raises(StoreDenied):
                documents.read(name)
    for name in names.values():
        writer.delete(name)
        assert writer.read(name) is None


def test_what_is_missing_is_told_whole(bench: Bench) -> None:
    """One line for each path; who is refused a look learns what rotating needs, and what looking."""
    store = as_(bench, 'path "sys/capabilities-self" { capabilities = ["update"] }')
    path = f"secret/data/{bench.path()}"
    said = [text for text in faults(store.inspect([ORDERS])) if path in text and "may not" in text]
    assert said == [f"may not create, read, update {path} (the ring)"]
    with pytest.raises(StoreDenied) as refused:
        store.rings("orders").load()
    assert 'capabilities = ["create", "read", "update"]' in refused.value.hint
    assert '(only looking needs ["read"])' in refused.value.hint


def without(bench: Bench, right: Right, capability: str) -> str:
    """The rotator's policy with one capability taken away."""
    policy = bench.store().policy(Role.ROTATOR, [ORDERS])
    block = re.compile(rf'(path "{re.escape(right.path)}" \{{\n  capabilities = \[)(.*?)\]')
    kept = ", ".join(f'"{name}"' for name in right.capabilities if name != capability)
    cut, count = block.subn(
        lambda found: f"{found[1]}{kept or chr(34) + 'deny' + chr(34)}]", policy
    )
    assert count == 1
    return cut


def withheld() -> Iterator[tuple[int, str]]:
    """Every capability that the rotator of one key set has, by number of its right."""
    for number, right in enumerate(rights(Role.ROTATOR, [ORDERS], "secret", "any")):
        for capability in right.capabilities:
            yield number, capability


@pytest.mark.parametrize(("number", "capability"), list(withheld()))
def test_each_capability_is_needed_and_named(bench: Bench, number: int, capability: str) -> None:
    """Withheld, something is really refused, naming path and capability, and `check` says it without a try."""
    right = rights(Role.ROTATOR, [ORDERS], "secret", bench.prefix)[number]
    store = as_(bench, without(bench, right, capability))
    report = store.inspect([ORDERS])
    if right.needed:
        assert f"may not {capability} {right.path} ({right.why})" in faults(report)
        with pytest.raises(StoreDenied) as refused:
            whole_life(store)
        path = right.path.removesuffix("*")
        assert path in refused.value.message
        assert f'"{capability}"' in refused.value.hint
    else:
        assert faults(report) == []
        assert any(right.why in item.text for item in report.findings if item.level == "advice")
        whole_life(store)


def test_what_lies_in_deploy_is_what_is_printed() -> None:
    """For a store with the default mount and prefix, and every key set."""
    settings = VaultSettings(
        address="https://vault",
        auth={"method": "token", "token_env": "T"},  # type: ignore[arg-type]
    )
    store = VaultStore(settings)
    assert {path.stem for path in DEPLOY.glob("*.hcl")} == set(Role)
    for role in Role:
        assert (DEPLOY / f"{role}.hcl").read_text(encoding="utf-8") == store.policy(role)


def test_a_role_that_reads_nothing_here(bench: Bench) -> None:
    """The policy says so, and Vault takes it."""
    policy = bench.store().policy(Role.SIGNER, [Scope("orders")])
    assert "Nothing that this role reads" in policy
    bench.token(policy)
