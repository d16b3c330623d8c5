"""The walls: what a secrets manager and a target must be able to do, and how a backend is found.

Small Protocols. A backend implements those it can honour, and says so by type. Everything that crosses
a wall is bytes, a `Secret`, or one of the small frozen classes below; every failure that crosses one is
a `StoreError` (`rotator.errors`), never an exception of an SDK.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NewType, Protocol, runtime_checkable

from rotator.errors import BackendMissing
from rotator.observed import Answered, DocumentKind
from rotator.secret import Secret

if TYPE_CHECKING:
    from rotator.objects import Objects, Purged

__all__ = [
    "Backend",
    "Document",
    "DocumentKind",
    "DocumentStore",
    "Fetching",
    "MaterialStore",
    "RingStore",
    "ServerTime",
    "Sight",
    "Store",
    "Stored",
    "Target",
    "Version",
    "VersionToken",
    "backend_names",
    "find_backend",
]

Version = NewType("Version", str)
"""What a ring store knows one saved ring by; opaque, compared for equality only."""

VersionToken = NewType("VersionToken", str)
"""The same for a derived document."""

ENTRY_POINTS: Final = "rotator.backends"


@dataclass(frozen=True, slots=True)
class ServerTime:
    """What a server elsewhere said the time is: the witness of a clock.

    `date` is the server's `Date` (plus `Age` for a cached answer), `round_trip` how long the answer took.
    Servers on this machine are no witness and give none.
    """

    date: datetime
    round_trip: timedelta


@dataclass(frozen=True, slots=True)
class Stored:
    """A ring as a store holds it: the bytes, and the version that a `save` must name to replace them."""

    document: bytes
    version: Version
    server_time: ServerTime | None = None


class RingStore(Protocol):
    """The authoritative state of one key set, with compare-and-set."""

    def load(self) -> Stored | None:
        """Return the newest ring, or None when the store answers that there is none.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt: see `rotator.errors`. No answer is never None.
        """
        ...

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Store a ring if the present one is still `replacing` (None: if there is none).

        Raises:
            Conflict: somebody else saved in between; nothing was written.
        """
        ...


class MaterialStore(Protocol):
    """The private or symmetric keys of one key set: one object per key, written once."""

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return the locator for a new key. Pure: no I/O.

        Args:
            taken: every locator of the ring, and of its history as long as the destruction of what it
                names is not confirmed; the new locator is none of them.
        """
        ...

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write the material of one key. Writing the same again is harmless; another kid's is refused."""
        ...

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return the material of one key; None when the store answers that this kid is not there.

        Raises:
            StoreUnavailable, StoreDenied: no answer says nothing about the key.
            StoreCorrupt: something is there that is not what `put` wrote.
        """
        ...

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy the material of one key. Idempotent; never touches another kid's material."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A derived document, and the key set and revision of the ring that it was derived from.

    `body` may hold key material and is left out of the repr. `key_set` and `revision` are None for a
    document that `rotator` did not write. `token` names this very version for a conditional write.
    `max_age` and `stale` (both whole seconds) are the cache lifetimes to serve a JWKS with; `revoked` are the
    kids that it may no longer have because they were revoked: caches ought to forget a document with one of them.
    """

    body: bytes = field(repr=False)
    key_set: str | None
    revision: int | None
    token: VersionToken | None = None
    max_age: int | None = None
    stale: int | None = None
    revoked: frozenset[str] = frozenset()


class DocumentStore(Protocol):
    """Derived documents kept in a secrets manager."""

    def read(self, name: str) -> Document | None:
        """Return a document, or None when the store answers that there is none and the identity may read it."""
        ...

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write a document if the present one is still `replacing` (None: if there is none).

        Raises:
            Conflict: it is another one, or carries a higher revision; nothing was written.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a document; harmless when it is not there."""
        ...


@runtime_checkable
class Fetching(Protocol):
    """A store that can read a secret which `rotator` did not write: a live key to be adopted."""

    def fetch(self, address: str) -> Secret | None:
        """Return a secret by the secrets manager's own name for it, None when the store answers "not there".

        Where a secret has fields (Vault's KV), the secret is the JSON object of them.

        Raises:
            StoreUnavailable, StoreDenied: no answer.
            ConfigError: no such address is possible here.
        """
        ...


class Store(Protocol):
    """A configured secrets manager: one login and one connection pool for all its key sets."""

    def rings(self, key_set: str) -> RingStore:
        """Return the ring store of one key set; no I/O."""
        ...

    def material(self, key_set: str) -> MaterialStore:
        """Return the material store of one key set; no I/O."""
        ...

    def documents(self) -> DocumentStore | None:
        """Return where derived documents can be kept, or None when this store cannot; no I/O."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A plug-in: how a kind of secrets manager is configured, and how one is opened.

    `settings` returns the pydantic model of the store's options, so that naming a backend imports no
    pydantic; `open` takes an instance of that model, and imports the SDK only then. `example` is what
    `rotator init` writes for such a store: commented YAML of its options, without indentation; `@ROOT@` in
    it stands for the directory of local files. `objects` is the object storage beside it, where there is one;
    `removal` returns an operator's command that deletes a document, given the options and its name.
    """

    name: str
    settings: Callable[[], type[Any]]
    open: Callable[[Any], Store]
    example: str = ""
    objects: Objects | None = None
    removal: Callable[[Any, str], str] | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at a target showed: a document, or the answer that there is nothing.

    `cache` is the longest time that a cache may go on serving what was seen (max-age plus the longer of
    stale-while-revalidate and stale-if-error), where the target speaks HTTP; `note` is for `status`, and so
    are `answers`, what each address said. `token` is what a signer made (a signer check has no document).
    """

    document: Document | None
    server_time: ServerTime | None = None
    cache: timedelta | None = None
    note: str = ""
    answers: tuple[Answered, ...] = ()
    token: Secret | None = None


class Target(Protocol):
    """Any place written to or looked at: a delivery, a publication, a probe."""

    @property
    def name(self) -> str:
        """A stable name, kept in the ring: the kind, a colon, the address (`file:/srv/jwks.json`)."""
        ...

    @property
    def kind(self) -> DocumentKind:
        """The kind of document that belongs there."""
        ...

    @property
    def writable(self) -> bool:
        """False for a probe, which is only looked at."""
        ...

    @property
    def independent(self) -> bool:
        """True when it is read by another way than the ring's own store (rule 4, first run)."""
        ...

    def look(self) -> Sight:
        """Read back what is there, within a bounded time.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt: it did not answer. That is never "nothing".
        """
        ...

    def write(self, document: Document, *, replacing: VersionToken | None) -> Purged | None:
        """Replace what is there if it is still what `replacing` names (None: if nothing is there).

        Returns:
            What became of caches that had to be told; None where there was none to tell.

        Raises:
            Conflict: it is something else by now, or carries a higher revision; nothing was written.
            StoreUnavailable, StoreDenied: it could not be written; whether it was is for the next look.
        """
        ...


def backend_names() -> tuple[str, ...]:
    """Return the names of all installed backends, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted(point.name for point in entry_points(group=ENTRY_POINTS)))


@lru_cache(maxsize=64)  # each search reads the metadata of every installed package
def find_backend(name: str) -> Backend:
    """Return an installed backend by its name.

    Raises:
        BackendMissing: no such backend is installed; the message lists those that are.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=name):
        backend: Backend = point.load()
        return backend
    raise BackendMissing(
        f"no backend named {name!r} is installed",
        hint=f"installed are {', '.join(backend_names())}; `pip install 'jwks-rotator[all]'` adds the others",
    )
