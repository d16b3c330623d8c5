"""`rotator policy`: the least-privilege policy of a role, in the secrets manager's own language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Session
from rotator.errors import UsageError
from rotator.inspection import Inspectable, Role, Scope
from rotator.stores import DocumentKind

if TYPE_CHECKING:
    from rotator.settings.targets import ObjectSettings

FORMAT: Final = "rotator.policy/1"
_READS: Final = {
    Role.SIGNER: DocumentKind.SIGNING,
    Role.VERIFIER: DocumentKind.VERIFICATION,
    Role.JWKS_READER: DocumentKind.JWKS,
}


@click.command()
@click.argument("store", metavar="STORE")
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option(
    "--role",
    required=True,
    metavar="ROLE",
    type=click.Choice([role.value for role in Role]),
    help="Who it is for: rotator, signer, verifier (HMAC) or jwks-reader.",
)
@click.option(
    "--verifier",
    metavar="NAME",
    help="For the role verifier: the one that has a document to itself (`verifier:` of a delivery).",
)
@click.pass_obj
def policy(
    options: dict[str, Any],
    store: str,
    key_sets: tuple[str, ...],
    role: str,
    verifier: str | None,
) -> int:
    """Print what a role must be allowed in a store, and nothing more.

    In the secrets manager's own language, for the key sets that have something in this store. Nothing is
    read there, and nothing is changed. A bucket that JWKS are published in is a store here: `s3:BUCKET`, or
    `s3` where there is one; `kubernetes`, or a context, prints the Role for Secrets and ConfigMaps.
    """
    session = Session(options)
    chosen = session.chosen(key_sets) if key_sets else ()
    if verifier is not None and (role != Role.VERIFIER or store not in session.settings.stores):
        raise UsageError(
            "only the role verifier in a store can be for one verifier",
            hint="say `--role verifier` and name a store of the configuration, or leave `--verifier` out",
        )
    if _print_rbac(session, store, chosen, Role(role)):
        return 0
    bucket = _bucket(session, store, chosen)
    name, wanted = _known(session, store) if bucket is None else store, Role(role)
    scopes = _scopes(session, name, chosen, wanted) if bucket is None else bucket[1]
    if wanted is Role.VERIFIER and bucket is None:
        scopes = _of_verifier(session, name, scopes, verifier, strict=bool(chosen))
    with session.assembly() as assembly:
        opened = assembly.store(name) if bucket is None else assembly.bucket(bucket[0])
        if not isinstance(opened, Inspectable):
            backend = session.settings.stores[name].backend if bucket is None else name
            raise UsageError(
                f"the backend {backend} of the store {name} prints no policies",
                hint="its documentation says which rights it takes",
            )
        text = opened.policy(wanted, scopes)
    _print(session, name, wanted, [scope.key_set for scope in scopes], text)
    return 0


def _print(session: Session, name: str, role: Role, key_sets: list[str], text: str) -> None:
    console = session.console
    console.say(text.rstrip("\n"))
    console.document(
        {"format": FORMAT, "store": name, "role": role.value, "key_sets": key_sets, "policy": text}
    )


def _print_rbac(session: Session, name: str, key_sets: Sequence[str], role: Role) -> bool:
    """Print Role and RoleBinding where a cluster is meant; tell whether one was."""
    from rotator.kubernetes.access import policy as rbac
    from rotator.settings.scopes import clusters_of

    if name in session.settings.stores:
        return False
    found = clusters_of(session.settings, key_sets or list(session.settings.key_sets))
    for cluster, wanted in found:
        if name == cluster.title or (name == "kubernetes" and len(found) == 1):
            names = list(dict.fromkeys(item.key_set for item in wanted))
            _print(session, name, role, names, rbac(wanted, role))
            return True
    return False


def _bucket(
    session: Session, name: str, key_sets: Sequence[str]
) -> tuple[ObjectSettings, tuple[Scope, ...]] | None:
    """Return the bucket of that name with the key sets' keys there, None when a store is meant."""
    from rotator.settings.scopes import buckets_of

    if name in session.settings.stores:
        return None
    found = [
        (item, scopes)
        for item, scopes in buckets_of(
            session.settings, key_sets or list(session.settings.key_sets)
        )
        if name in (item.to, item.bucket)
    ]
    if len(found) > 1:
        raise UsageError(
            f"these key sets publish in {len(found)} buckets, or with several logins",
            hint=f"name one: {', '.join(sorted({item.bucket for item, _ in found}))}; or name the key sets",
        )
    return found[0] if found else None


def _known(session: Session, store: str) -> str:
    stores = session.settings.stores
    if store in stores:
        return store
    from rotator.settings.faults import nearest
    from rotator.settings.scopes import buckets_of, clusters_of

    every = list(session.settings.key_sets)
    known = [*stores, *(cluster.title for cluster, _ in clusters_of(session.settings, every))]
    known += [item.bucket for item, _ in buckets_of(session.settings, every)]
    close = nearest(store, stores)
    meant = close if close.startswith("; did") else ""
    raise UsageError(
        f"the configuration has no store {store!r}{meant}",
        hint=f"it has {', '.join(dict.fromkeys(known))}",
    )


def _scopes(
    session: Session, store: str, key_sets: list[str] | tuple[()], role: Role
) -> tuple[Scope, ...]:
    from rotator.settings.scopes import scopes_of

    scopes = scopes_of(session.settings, store, key_sets)
    missing = [name for name in key_sets if name not in {scope.key_set for scope in scopes}]
    if missing:
        raise UsageError(
            f"key set {missing[0]} has nothing in the store {store}",
            hint=f"its ring is in {session.settings.key_sets[missing[0]].store}; `rotator config show {missing[0]}` shows where its documents are",
        )
    kind = _READS.get(role)
    if kind is not None and not any(item.documents_of(kind) for item in scopes):
        session.console.tell(
            f"rotator: no key set has its {kind} document in the store {store}: add "
            f"`{{to: store, store: {store}}}` where it is to be read"
        )
    return scopes


def _of_verifier(
    session: Session, store: str, scopes: tuple[Scope, ...], verifier: str | None, *, strict: bool
) -> tuple[Scope, ...]:
    """Return scopes with the one verification document that a verifier reads: its own, or the one of all.

    Args:
        strict: whether a scope without it is refused, and not left out: its key set was named.

    Raises:
        UsageError: there is no such document, or only such as are each for one verifier.
    """
    from rotator.documents import document_name

    kept: list[Scope] = []
    passed: list[str] = []
    known: set[str] = set()
    for scope in scopes:
        name = document_name(scope.key_set, DocumentKind.VERIFICATION, verifier)
        found = scope.documents_of(DocumentKind.VERIFICATION)
        known.update(item.rpartition("/")[2].partition(".")[2] for item in found)
        if name in found:
            kept.append(replace(scope, documents=(name,)))
        elif verifier is None and not found:
            kept.append(scope)
        else:
            passed.append(scope.key_set)
    if passed and (strict or not kept):
        raise UsageError(_without(store, passed, verifier), hint=_others(known))
    if passed and verifier is None:
        session.console.tell(
            f"rotator: left out: {_without(store, passed, verifier)}; {_others(known)}"
        )
    return tuple(kept)


def _without(store: str, key_sets: Sequence[str], verifier: str | None) -> str:
    whose = "each of its verification documents is for one verifier"
    if verifier is not None:
        whose = f"none of its verification documents is for the verifier {verifier!r}"
    return f"key set {', '.join(key_sets)} in the store {store}: {whose}"


def _others(known: set[str]) -> str:
    names = sorted(known - {""})
    if not names:
        return "`verifier:` of a delivery gives a verifier a document of its own"
    return f"say {' or '.join(f'`--verifier {name}`' for name in names)}"
