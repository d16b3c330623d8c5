"""The least-privilege policy of each role, in Conjur's YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rotator.plugin import NOTIFY, SCRATCH, Role, Scope
from rotator_conjur.names import MATERIAL, RING, Names

if TYPE_CHECKING:
    from rotator_conjur.settings import ConjurSettings

_DOCUMENTS: Final = {
    Role.SIGNER: "signing",
    Role.VERIFIER: "verification",
    Role.JWKS_READER: "jwks",
}
_ALL: Final = (*_DOCUMENTS.values(), NOTIFY)
_EXAMPLE: Final = Scope("KEY_SET", documents=tuple(f"KEY_SET/{name}" for name in _ALL))
_SCRATCH: Final = Scope(SCRATCH, max_keys=1, documents=tuple(f"{SCRATCH}/{name}" for name in _ALL))


def policy(names: Names, settings: ConjurSettings, role: Role, scopes: Sequence[Scope]) -> str:
    """Return the policy of a role, to be loaded into `root`.

    Args:
        scopes: the key sets that it is for; without any, it shows the form with KEY_SET in place of a name.
    """
    chosen = list(scopes) or [_EXAMPLE]
    lines = (
        _rotator(names, settings, chosen) if role is Role.ROTATOR else _reader(names, role, chosen)
    )
    return "\n".join(lines) + "\n"


def _rotator(names: Names, settings: ConjurSettings, scopes: list[Scope]) -> Iterator[str]:
    yield "# What rotator needs of Conjur: its variables, and leave to read and write them and nothing else."
    yield "# A key set that is new, or may have more keys, takes new variables: print and load this again."
    yield "#   conjur policy load -b root -f FILE"
    yield from _head(names)
    yield "    - !group rotators"
    scopes = [*scopes, *(() if any(one.key_set == SCRATCH for one in scopes) else (_SCRATCH,))]
    yield "    - &variables"
    for scope in scopes:
        for name in variables(names, scope):
            yield f"      - !variable {name}"
    yield "    - !permit"
    yield "      role: !group rotators"
    yield "      privileges: [ read, execute, update ]"
    yield "      resources: *variables"
    if not names.numbered:
        yield "    # Material is declared and deleted by rotator itself, in branches that it owns:"
        for scope in scopes:
            if scope.ring:
                yield "    - !policy"
                yield f"      id: {scope.key_set}/{MATERIAL}"
                yield "      owner: !group rotators"
    for scope in scopes:
        yield from _verifier_keys(names, scope)
    yield from _member(names, settings)


def _verifier_keys(names: Names, scope: Scope) -> Iterator[str]:
    for service in scope.authenticators:
        yield f"# The keys that authn-jwt/{service} verifies with. Its own policy declares them, and says who logs in:"
        yield "- !permit"
        yield f"  role: !group {names.prefix}/rotators"
        yield "  privileges: [ read, execute, update ]"
        yield f"  resource: !variable {names.verifier_keys(service)}"


def _reader(names: Names, role: Role, scopes: list[Scope]) -> Iterator[str]:
    yield f"# What a {role.value} needs of Conjur: to read one document of each key set, and nothing else."
    yield "# Load it after the policy of rotator, which declares the variables."
    yield "#   conjur policy load -b root -f FILE"
    yield from _head(names)
    groups = {group: read for scope in scopes for group, read in _groups(scope, role).items()}
    for group, read in groups.items():
        yield f"    - !group {group}"
        yield "    - !permit"
        yield f"      role: !group {group}"
        yield "      privileges: [ read, execute ]"
        yield "      resources:"
        for name in read:
            yield f"        - !variable {name}"
    yield "# Then say who it is:"
    for group in groups:
        yield f"# - !grant {{ role: !group {names.prefix}/{group}, member: !host HOST }}"


def _groups(scope: Scope, role: Role) -> dict[str, list[str]]:
    """Return the groups of a role with what each reads; a verifier with a document to itself is one of its own."""
    groups: dict[str, list[str]] = {}
    for name in documents(scope, role):
        _, dot, verifier = name.rpartition("/")[2].partition(".")
        groups.setdefault(f"{scope.key_set}/{role.value}s{dot}{verifier}", []).append(name)
    return groups


def _head(names: Names) -> Iterator[str]:
    yield "- !policy"
    yield f"  id: {names.prefix}"
    yield "  body:"


def _member(names: Names, settings: ConjurSettings) -> Iterator[str]:
    login = getattr(settings.auth, "login", None)
    if login is None:
        yield "# Then say who it is:"
        yield f"# - !grant {{ role: !group {names.prefix}/rotators, member: !host HOST }}"
        return
    kind, _, name = str(login).partition("/")
    member = f"!host {name}" if kind == "host" else f"!user {login}"
    yield "- !grant"
    yield f"  role: !group {names.prefix}/rotators"
    yield f"  member: {member}"


def variables(names: Names, scope: Scope) -> Iterator[str]:
    """Yield the variables of a key set that policy declares, below the store's branch."""
    if scope.ring:
        yield f"{scope.key_set}/{RING}"
        if names.numbered:
            for number in range(1, names.slot_count(scope.max_keys) + 1):
                yield f"{scope.key_set}/{MATERIAL}/{names.slot(number)}"
    yield from scope.documents


def documents(scope: Scope, role: Role) -> Sequence[str]:
    """Return the documents of a key set that a role reads: those of its kind; all, if none is named after it."""
    kind = _DOCUMENTS[role]
    return scope.documents_of(kind) or scope.documents or (f"{scope.key_set}/{kind}",)
