"""Walls that few backends have: object storage, and a secrets manager that verifies JWTs itself.

Object storage: one object read, and replaced if it is still the one that was read. A backend offers it as
`Backend.objects`, with options and errors of its own kind; what is in an object, and when it may be replaced, is
decided in `rotator.publication.objects`, which knows no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rotator.errors import BackendMissing
from rotator.stores import DocumentStore, ServerTime, VersionToken, find_backend

__all__ = ["Authenticating", "Object", "ObjectStore", "Objects", "Purged", "find_objects"]


@dataclass(frozen=True, slots=True)
class Object:
    """An object with what is kept beside its bytes.

    Attributes:
        body: its bytes.
        media_type: its `Content-Type`.
        cache_control: its `Cache-Control`.
        metadata: names and values of ours; names in lower case, without the storage's own prefix.
        token: names this very version for a conditional write; None for one that is to be written.
        server_time: what the storage said of the time when it was read.
    """

    body: bytes = field(repr=False)
    media_type: str
    cache_control: str
    metadata: Mapping[str, str]
    token: VersionToken | None = None
    server_time: ServerTime | None = None


@dataclass(frozen=True, slots=True)
class Purged:
    """What became of the request that caches forget a document: told in the log and in an emergency's report.

    Attributes:
        done: whether the caches were told.
        text: what was asked of whom, and what it answered, or why it did not.
        hint: the way out where it was not done.
    """

    done: bool
    text: str
    hint: str = ""


class ObjectStore(Protocol):
    """One bucket: one login and one connection pool for every key set that publishes there."""

    def get(self, key: str, most: int) -> Object | None:
        """Return an object, None when the storage answers that there is none to an identity that may read it.

        Args:
            most: bytes of the body to be returned; of a longer one, one more than that.

        Raises:
            StoreUnavailable, StoreDenied, StoreMisconfigured: no answer is never None.
        """
        ...

    def put(self, key: str, new: Object, *, replacing: VersionToken | None) -> None:
        """Write an object if the present one is still `replacing` (None: if there is none), in one step.

        Raises:
            Conflict: it is another one by now; nothing was written.
            StoreUnavailable, StoreDenied: whether it was written is for the next look.
            StoreMisconfigured: this storage cannot write on a condition, and was not allowed to write without.
        """
        ...

    def purge(self, key: str, reference: str) -> Purged | None:
        """Ask the CDN before this bucket to forget an object; None when no CDN is configured.

        Never raises: what was written is written.

        Args:
            reference: names the request; repeated with the same one, it is the same request.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Objects:
    """The object storage of a backend: how a bucket is configured, and how one is opened.

    `settings` returns the pydantic model of the options, whose property `place` names the bucket as messages and
    the ring do (`example-bucket`, `https://minio.example:9000/example-bucket`); `open` takes an instance of it, and imports
    the SDK only then. A store that is also `Inspectable` says what it may do: the documents of a scope are keys.
    """

    settings: Callable[[], type[Any]]
    open: Callable[[Any], ObjectStore]


def find_objects(backend: str) -> Objects:
    """Return the object storage of an installed backend.

    Raises:
        BackendMissing: no such backend is installed, or it is a release that has none.
    """
    found = find_backend(backend).objects
    if found is None:
        raise BackendMissing(
            f"the installed backend {backend!r} has no object storage",
            hint="install the one of this release: pip install --upgrade 'jwks-rotator[all]'",
        )
    return found


@runtime_checkable
class Authenticating(Protocol):
    """A store whose secrets manager verifies JWTs itself, by a JWKS that is kept in it (Conjur's authn-jwt)."""

    def verifier_keys(self, service: str) -> DocumentStore:
        """Return where the JWKS is kept that one of its authenticators verifies with; no I/O.

        Its documents are named `KEY_SET/jwks`, and all of them are that one.

        Raises:
            ConfigError: no authenticator can be called that.
        """
        ...
