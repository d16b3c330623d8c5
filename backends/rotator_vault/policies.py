"""Which capabilities each role needs on which paths: the one list behind `rotator policy` and `rotator check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rotator.plugin import NOTIFY, SCRATCH, DocumentKind, Role, Scope
from rotator_vault.names import MATERIAL, RING, document_path, key_set_name

_READS: Final = {
    Role.SIGNER: DocumentKind.SIGNING.value,
    Role.VERIFIER: DocumentKind.VERIFICATION.value,
    Role.JWKS_READER: DocumentKind.JWKS.value,
}
# `.*`: those of single verifiers, for a rotator of every key set.
_DOCUMENTS: Final = (*_READS.values(), f"{DocumentKind.VERIFICATION}.*", NOTIFY)
_PUBLIC: Final = (DocumentKind.JWKS.value, NOTIFY)  # no key is in them, and versions may stay
_ANY: Final = "+"  # in a policy of Vault: any one segment


@dataclass(frozen=True, slots=True)
class Right:
    """Capabilities on a path of the API.

    Attributes:
        path: as a policy names it; a `*` at its end stands for everything that begins so.
        capabilities: what the role does there.
        why: what for.
        needed: False when only `check` uses it, and rotating goes on without.
    """

    path: str
    capabilities: tuple[str, ...]
    why: str
    needed: bool = True

    @property
    def example(self) -> str:
        """One path that the right is about, to ask Vault for."""
        return self.path[:-1] + "any" if self.path.endswith("*") else self.path


def rights(role: Role, scopes: Sequence[Scope], mount: str, prefix: str) -> list[Right]:
    """Return what a role needs; without scopes, for every key set below the prefix.

    Raises:
        ConfigError: a key set or document has a name that is not possible here.
    """
    found: list[Right] = []
    for scope in scopes:
        key_set_name(scope.key_set)
        chosen = scope.documents if role is Role.ROTATOR else scope.documents_of(_READS[role])
        paths = [document_path(name)[1] for name in chosen]
        found += _of_key_set(role, scope.key_set, paths, mount, prefix, ring=scope.ring)
    if not scopes:
        every = _DOCUMENTS if role is Role.ROTATOR else (_READS[role],)
        paths = [f"{_ANY}/{name}" for name in every]
        found += _of_key_set(role, _ANY, paths, mount, prefix, ring=True)
    if role is Role.ROTATOR:
        found += _trial(mount, prefix)
        found.append(
            Right(f"{mount}/config", ("read",), "advice about the engine's settings", needed=False)
        )
    return found


def _of_key_set(
    role: Role, key_set: str, documents: Sequence[str], mount: str, prefix: str, *, ring: bool
) -> Iterator[Right]:
    data, destroy, metadata = (
        f"{mount}/{part}/{prefix}" for part in ("data", "destroy", "metadata")
    )
    if role is Role.ROTATOR:
        if ring:
            material = f"{key_set}/{MATERIAL}/*"
            yield Right(f"{data}/{key_set}/{RING}", ("create", "read", "update"), "the ring")
            yield Right(
                f"{metadata}/{key_set}/{RING}", ("read",), "advice about the ring", needed=False
            )
            yield Right(f"{data}/{material}", ("create", "read"), "material, written once")
            yield Right(f"{destroy}/{material}", ("update",), "destroying material")
            yield Right(f"{metadata}/{material}", ("delete",), "removing what is left of it")
        for path in documents:
            yield Right(f"{data}/{path}", ("create", "read", "update"), "a document")
            if path.rpartition("/")[2] not in _PUBLIC:
                yield Right(f"{destroy}/{path}", ("update",), "destroying its earlier versions")
            yield Right(f"{metadata}/{path}", ("delete",), "removing a document")
        return
    if role is Role.JWKS_READER and ring:
        yield Right(f"{data}/{key_set}/{RING}", ("read",), "the ring: public halves only")
    for path in documents:
        yield Right(f"{data}/{path}", ("read",), f"the {_READS[role]} document")


def _trial(mount: str, prefix: str) -> Iterator[Right]:
    why = "`rotator check --write`"
    below = f"{prefix}/{SCRATCH}/*"
    yield Right(f"{mount}/data/{below}", ("create", "read", "update"), why, needed=False)
    yield Right(f"{mount}/destroy/{below}", ("update",), why, needed=False)
    yield Right(f"{mount}/metadata/{below}", ("delete", "list"), why, needed=False)


# In Vault's `default` policy; repeated for tokens that are issued without it.
_SELF: Final = (
    Right("auth/token/lookup-self", ("read",), "knowing how long the token lasts"),
    Right("auth/token/renew-self", ("update",), "renewing it"),
    Right("auth/token/revoke-self", ("update",), "ending it when done"),
    Right("sys/capabilities-self", ("update",), "`rotator check`"),
)


def render(role: Role, scopes: Sequence[Scope], mount: str, prefix: str) -> str:
    """Return the policy of a role in HCL.

    Raises:
        ConfigError: as `rights`.
    """
    whose = (
        f"of {len(scopes)} key set{'s' if len(scopes) != 1 else ''}"
        if scopes
        else "of every key set"
    )
    lines = [f"# The role {role} {whose} below {mount}/{prefix}; written by `rotator policy`.", ""]
    granted = rights(role, scopes, mount, prefix)
    for right in [*granted, *(_SELF if role is Role.ROTATOR else ())]:
        listed = ", ".join(f'"{name}"' for name in right.capabilities)
        lines += [
            f"# {right.why}",
            f'path "{right.path}" {{',
            f"  capabilities = [{listed}]",
            "}",
            "",
        ]
    if not granted:
        lines += ["# Nothing that this role reads lies in this store.", ""]
    return "\n".join(lines)
