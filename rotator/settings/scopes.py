"""What each key set of a configuration has in a store: what `check` looks at, and what policies are printed for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rotator.documents import document_name
from rotator.inspection import NOTIFY, SCRATCH, Scope
from rotator.kubernetes.access import Wanted
from rotator.kubernetes.settings import ClusterSettings
from rotator.settings.result import Settings
from rotator.settings.targets import ConfigMapSettings, ObjectSettings, SecretSettings
from rotator.stores import DocumentKind


def scopes_of(settings: Settings, store: str, key_sets: Collection[str] = ()) -> tuple[Scope, ...]:
    """Return the scopes of a store, in the order of the configuration. Pure.

    Args:
        key_sets: which key sets count; all when empty. One that has nothing in the store has no scope.
    """
    return tuple(_scopes(settings, store, key_sets or settings.key_sets))


def notify_document(key_set: str) -> str:
    """Return what the delivery state of a key set's notifications is called, in the store of its ring."""
    return f"{key_set}/{NOTIFY}"


def stores_of(settings: Settings, key_sets: Collection[str]) -> tuple[str, ...]:
    """Return the stores in which key sets have their ring, or a document; in the order of the configuration."""
    chosen = [settings.key_sets[name] for name in key_sets]
    used = {item.store for item in chosen}
    used |= {target.store for item in chosen for target in item.documents}
    used |= {target.store for item in chosen for target in item.authenticators}
    return tuple(name for name in settings.stores if name in used)


def buckets_of(
    settings: Settings, key_sets: Collection[str]
) -> tuple[tuple[ObjectSettings, tuple[Scope, ...]], ...]:
    """Return each bucket that key sets publish in, as one of its entries has it, and their keys there as scopes."""
    found: dict[str, tuple[ObjectSettings, list[Scope]]] = {}
    for name in key_sets:
        for item in settings.key_sets[name].objects:
            scope = Scope(name, ring=False, documents=(item.key,))
            found.setdefault(item.login, (item, []))[1].append(scope)
    return tuple((item, tuple(scopes)) for item, scopes in found.values())


def clusters_of(
    settings: Settings, key_sets: Collection[str]
) -> tuple[tuple[ClusterSettings, tuple[Wanted, ...]], ...]:
    """Return each Kubernetes cluster that key sets have targets in, with those targets."""
    found: dict[ClusterSettings, list[Wanted]] = {}
    for name in key_sets:
        item = settings.key_sets[name]
        for target in (*item.deliver, *item.publish):
            if isinstance(target, (SecretSettings, ConfigMapSettings)):
                restart = target.restart if isinstance(target, SecretSettings) else ()
                wanted = Wanted(name, target.document, target.namespace, target.name, restart)
                found.setdefault(target.cluster, []).append(wanted)
    return tuple((cluster, tuple(items)) for cluster, items in found.items())


def trial_scope(scopes: Collection[Scope]) -> Scope:
    """Return what `check --write` writes in a store with these scopes: what key sets have there, and no more."""
    if not scopes:
        return Scope(SCRATCH, documents=(document_name(SCRATCH, DocumentKind.SIGNING),))
    # One verification document stands for those of all verifiers: what is allowed there is the same.
    found = {name.rpartition("/")[2] for scope in scopes for name in scope.documents}
    kinds = {name.partition(".")[0] for name in found}
    return Scope(
        SCRATCH,
        ring=any(scope.ring for scope in scopes),
        documents=tuple(f"{SCRATCH}/{kind}" for kind in sorted(kinds)),
    )


def _scopes(settings: Settings, store: str, key_sets: Collection[str]) -> Iterator[Scope]:
    for name, item in settings.key_sets.items():
        if name not in key_sets:
            continue
        kept = [target for target in item.documents if target.store == store]
        services = tuple(one.service for one in item.authenticators if one.store == store)
        ring = item.store == store
        if ring or kept or services:
            documents = tuple(document_name(name, one.document, one.verifier) for one in kept)
            if ring and settings.told(name):
                documents += (notify_document(name),)
            yield Scope(name, item.policy.max_keys, ring, documents, services)
