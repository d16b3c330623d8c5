"""What a store can say of itself, without a write or on trial: for `rotator check` and `rotator policy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from rotator.stores import ServerTime

__all__ = ["NOTIFY", "SCRATCH", "Exercisable", "Finding", "Inspectable", "Report", "Role", "Scope"]


class Role(StrEnum):
    """Who may see what (DESIGN §6)."""

    ROTATOR = "rotator"
    SIGNER = "signer"
    VERIFIER = "verifier"
    JWKS_READER = "jwks-reader"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report: `level` is `ok`, `advice`, or `fault`; `hint` is the way out of a fault."""

    level: str
    text: str
    hint: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What `rotator check` says of one store or target."""

    subject: str
    findings: tuple[Finding, ...]
    server_time: ServerTime | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What one key set has in a store: enough to say which rights it takes.

    Attributes:
        key_set: its name.
        max_keys: the most keys that it ever publishes at once; material takes two places more.
        ring: whether ring and material lie in this store, or only documents.
        documents: the names of the documents that are kept in this store: `KEY_SET/DOCUMENT`, or
            `KEY_SET/verification.VERIFIER` for one that a verifier has to itself.
        authenticators: the authenticators of this store that verify with the key set's JWKS.
    """

    key_set: str
    max_keys: int = 10
    ring: bool = True
    documents: tuple[str, ...] = ()
    authenticators: tuple[str, ...] = ()

    def documents_of(self, kind: str) -> tuple[str, ...]:
        """Return the names of its documents of a kind, those of single verifiers among them."""
        return tuple(
            name for name in self.documents if name.rpartition("/")[2].partition(".")[0] == kind
        )


@runtime_checkable
class Inspectable(Protocol):
    """A store that can say what it may do, without a write."""

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:
        """Report identity, permissions, whether rings are there, the server's clock, hardening advice.

        Args:
            scopes: the key sets to look at; none asks only what holds for the store as a whole.
        """
        ...

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:
        """Return the least-privilege policy for a role, in the secrets manager's own language.

        Args:
            scopes: the key sets that it is for; none stands for every key set of this store.
        """
        ...


NOTIFY: Final = "notify"
"""The document beside a ring that says what receivers of notifications have confirmed; there is no key in it."""

SCRATCH: Final = "rotator-check"
"""The key set that `rotator check --write` writes and removes; no configuration may name one so."""


@runtime_checkable
class Exercisable(Protocol):
    """A store that can be written to on trial."""

    def erase_scratch(self) -> None:
        """Remove every trace of the key set `SCRATCH`: ring, material and documents; harmless when none is there."""
        ...
