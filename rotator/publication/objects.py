"""The JWKS as an object in object storage, for whatever serves the bucket: the storage itself, or a CDN before it.

Key set, revision, digest and cache lifetimes are in the object's metadata: they change with the body in one step, or
not at all. Knows no backend; `rotator.objects` is its wall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from rotator.atomic import LIMIT
from rotator.errors import Conflict, StoreCorrupt
from rotator.jwks import read_jwks
from rotator.objects import Object, ObjectStore, Purged
from rotator.observed import DRIFT
from rotator.publication.headers import MEDIA_TYPE, cache_control
from rotator.publication.sidecar import digest_of
from rotator.publication.whitelist import revision_to_publish
from rotator.stores import Document, DocumentKind, Sight, VersionToken

_PREFIX: Final = "rotator-"


class ObjectPublication:
    """The JWKS of one key set in one object.

    The bucket is opened when it is first looked at; one that cannot be opened then gave no answer.

    Args:
        store: opens the bucket, or returns it once it is open.
        name: the target's name: the kind, a colon, bucket and key.
        key: the object's key.
        key_set: the only key set that is written there.
        media_type: what the object is called; verifiers that take `application/json` only need that.
        independent: False when the key set's ring is read from the same server (DESIGN §3, rule 4).
    """

    kind: Final = DocumentKind.JWKS
    writable: Final = True

    def __init__(
        self,
        store: Callable[[], ObjectStore],
        name: str,
        key: str,
        key_set: str,
        *,
        media_type: str = MEDIA_TYPE,
        independent: bool = True,
    ) -> None:
        self.name = name
        self.key_set = key_set
        self.independent = independent
        self._store = store
        self._key = key
        self._media_type = media_type

    def look(self) -> Sight:
        """Read the object: one request.

        An object without our metadata was not written by `rotator`. One that differs from what its metadata
        say, or is served otherwise than they say, was changed by hand: its note starts with `drift:`.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt: no answer, or something that is no document.
            StoreMisconfigured: no such bucket, or it is elsewhere.
            BackendMissing: what it needs is not installed.
        """
        found = self._get()
        if found is None:
            return Sight(None)
        marks = _marks_of(found.metadata)
        token = _token(found, marks)
        if marks is None:
            return Sight(Document(found.body, None, None, token), found.server_time)
        document = Document(
            found.body,
            marks.key_set,
            marks.revision,
            token,
            max_age=marks.max_age,
            stale=marks.stale,
        )
        wrong = self._flaw(found, marks) if marks.key_set == self.key_set else ""
        return Sight(document, found.server_time, note=f"{DRIFT} {wrong}" if wrong else "")

    def write(self, document: Document, *, replacing: VersionToken | None) -> Purged | None:
        """Replace the object if it is still `replacing` and carries no higher revision.

        The ETag of many objects is a digest of the body alone, so the metadata are read once more before; what
        changes between that and the write changes the body, or nothing that a verifier reads.

        Returns:
            What the CDN before the bucket was asked, where a revoked key left the JWKS.

        Raises:
            Conflict: it is another one by now, or carries a higher revision; nothing was written.
            StoreCorrupt: the document is no public JWKS of this key set; nothing was written.
            StoreUnavailable, StoreDenied, StoreMisconfigured: as for `look`, and for the write itself.
        """
        marks = self._checked(document)
        found = self._get()
        there = _marks_of(found.metadata) if found is not None else None
        if there is not None and there.key_set == self.key_set and there.revision > marks.revision:
            raise Conflict(
                f"{self.name} carries revision {there.revision} of key set {self.key_set}, "
                f"above {marks.revision}",
                hint="load the ring again",
            )
        if (_token(found, there) if found is not None else None) != replacing:
            raise Conflict(f"{self.name} changed since it was looked at", hint="look at it again")
        new = Object(document.body, self._media_type, marks.cache_control, marks.metadata())
        store = self._store()
        store.put(self._key, new, replacing=found.token if found is not None else None)
        if found is None or not _left(found.body, document):
            return None
        # The same for every replica and every try: the CDN counts them as one request.
        return store.purge(self._key, f"rotator {self.name} {self.key_set} {marks.revision}")

    def _get(self) -> Object | None:
        found = self._store().get(self._key, LIMIT)
        if found is not None and len(found.body) > LIMIT:
            raise StoreCorrupt(
                f"{self.name} is longer than {LIMIT} bytes",
                hint="that is no JWKS: see who wrote it, and give the key set a key of its own",
            )
        return found

    def _checked(self, document: Document) -> _Marks:
        revision = revision_to_publish(document, self.key_set, self.name)
        return _Marks(
            self.key_set,
            revision,
            digest_of(document.body),
            document.max_age or 0,
            document.stale or 0,
        )

    def _flaw(self, found: Object, marks: _Marks) -> str:
        if digest_of(found.body) != marks.sha256:
            return "the object is not what its metadata name"
        if _plain(found.media_type) != _plain(self._media_type):
            return f"its Content-Type is not {self._media_type}"
        if _plain(found.cache_control) != _plain(marks.cache_control):
            return f"its Cache-Control is not `{marks.cache_control}`"
        return ""


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands in the metadata of an object; the lifetimes are whole seconds."""

    key_set: str
    revision: int
    sha256: str
    max_age: int
    stale: int

    @property
    def cache_control(self) -> str:
        return cache_control(self.max_age, self.stale)

    def metadata(self) -> dict[str, str]:
        return {
            f"{_PREFIX}key-set": self.key_set,
            f"{_PREFIX}revision": str(self.revision),
            f"{_PREFIX}sha256": self.sha256,
            f"{_PREFIX}max-age": str(self.max_age),
            f"{_PREFIX}stale": str(self.stale),
        }


def _marks_of(metadata: Mapping[str, str]) -> _Marks | None:
    """Return what the metadata say, None when `rotator` did not write them, or not like this."""
    try:
        found = {name: metadata[f"{_PREFIX}{name}"] for name in ("key-set", "revision", "sha256")}
        numbers = [found["revision"], metadata[f"{_PREFIX}max-age"], metadata[f"{_PREFIX}stale"]]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            return None
        revision, max_age, stale = (int(number) for number in numbers)
    except (KeyError, ValueError):  # ValueError: thousands of digits
        return None
    return _Marks(found["key-set"], revision, found["sha256"], max_age, stale)


def _token(found: Object, marks: _Marks | None) -> VersionToken:
    """Return what names an object with its metadata, for its ETag may name the body alone."""
    said = "-" if marks is None else " ".join(marks.metadata().values())
    headers = f"{_plain(found.media_type)} {_plain(found.cache_control)}"
    return VersionToken(f"{found.token} {digest_of(f'{said} {headers}'.encode())[:16]}")


def _left(before: bytes, document: Document) -> frozenset[str]:
    """Return the revoked kids that were in an object and are not in what replaces it."""
    if not document.revoked:
        return frozenset()
    gone = set(read_jwks(before) or ()) - set(read_jwks(document.body) or ())
    return document.revoked & gone


def _plain(header: str) -> str:
    return header.lower().replace(" ", "")
