"""The JWKS as a key of a Kubernetes ConfigMap, for pods that mount it and for an edge that serves it.

A pod sees an object's data and not its annotations: beside the JWKS lies the sidecar that published files have too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from rotator.kubernetes.held import Place
from rotator.kubernetes.marks import Marks, digest_of
from rotator.observed import DRIFT
from rotator.publication.sidecar import Sidecar, parse_sidecar
from rotator.publication.sidecar import digest_of as digest_of_body
from rotator.publication.whitelist import revision_to_publish
from rotator.stores import Document, DocumentKind, Sight, VersionToken


def keys_of(key: str) -> frozenset[str]:
    """Return the names of the data keys that are ours: the JWKS, and its sidecar."""
    return frozenset({key, _sidecar_key(key)})


def _sidecar_key(key: str) -> str:
    return f"{key}.meta.json"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ConfigMapPublication:
    """The JWKS of one key set in one ConfigMap.

    The API server is opened when the ConfigMap is first looked at. One that lacks our key was made beforehand and
    counts as nothing; one that has it without our annotations was not written by `rotator`.

    Args:
        name: the target's name.
        place: where the ConfigMap is, with the names `keys_of(key)`.
        key: under which of its keys the JWKS is.
        key_set: whose JWKS it is.
        now: the clock, UTC; for the date of a new body only.
    """

    kind = DocumentKind.JWKS
    writable = True
    independent = True

    def __init__(
        self,
        name: str,
        place: Place,
        key: str,
        key_set: str,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.name = name
        self._place = place
        self._key, self._key_set = key, key_set
        self._now = now

    def look(self) -> Sight:
        """Read the ConfigMap: one request.

        Raises:
            StoreUnavailable, StoreDenied: no answer. ConfigError, BackendMissing: there is no login for it.
        """
        held = self._place.read()
        if held is None or held.empty:
            return Sight(None, held.server_time if held else None)
        body, marks = held.parts.get(self._key, b""), held.marks
        if marks is None:
            document = Document(body, None, None, held.token)
            return Sight(document, held.server_time, note="not written by rotator")
        document = Document(
            body,
            marks.key_set,
            marks.revision,
            held.token,
            max_age=marks.max_age,
            stale=marks.stale,
        )
        drifted = marks.key_set == self._key_set and not held.whole
        note = (
            f"{DRIFT} its JWKS is not the one that its annotations say that rotator wrote"
            if drifted
            else ""
        )
        return Sight(document, held.server_time, note=note)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace the JWKS if it is still what `replacing` names and carries no higher revision.

        Raises:
            Conflict: it is something else by now, or carries a higher revision; nothing was written.
            StoreCorrupt: the document is no public JWKS of this key set; nothing was written.
            StoreUnavailable, StoreDenied, ConfigError, BackendMissing: as for `look`.
        """
        revision = revision_to_publish(document, self._key_set, self.name)
        held = self._place.read()
        self._place.fence(held, self._key_set, revision, replacing=replacing)
        before = held.parts if held is not None else {}
        digest = digest_of_body(document.body)
        there = parse_sidecar(before.get(_sidecar_key(self._key), b""))
        unchanged = there is not None and there.sha256 == digest
        sidecar = Sidecar(
            key_set=self._key_set,
            revision=revision,
            sha256=digest,
            max_age=document.max_age,
            stale=document.stale,
            modified=there.modified if there is not None and unchanged else self._now(),
        )
        files = {self._key: document.body, _sidecar_key(self._key): sidecar.render()}
        marks = Marks(self._key_set, revision, digest_of(files), document.max_age, document.stale)
        self._place.write(files, marks, held)
