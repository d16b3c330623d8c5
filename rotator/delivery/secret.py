"""A delivery as a Kubernetes Secret, for pods that mount it; its data keys are those of a directory of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rotator.delivery.payload import FORMATS, MAIN, origin, parts
from rotator.documents import read_json
from rotator.errors import StoreCorrupt
from rotator.kubernetes.held import Held, Place
from rotator.kubernetes.marks import Marks, digest_of
from rotator.observed import DRIFT
from rotator.stores import Document, DocumentKind, Sight, VersionToken

KEYS: Final = {
    DocumentKind.SIGNING: frozenset(
        {"signing.json", "jwk.json", "kid", "private.pem", "public.pem"}
    ),
    DocumentKind.VERIFICATION: frozenset({"verification.json"}),
}
"""By kind of document: the data keys that are ours."""


class SecretDelivery:
    """The signing or verification document of one key set in one Secret.

    The API server is opened when the Secret is first looked at. A Secret that holds none of our keys was made
    beforehand, by a chart perhaps, and counts as nothing; one that holds them without our annotations is somebody
    else's, unless its document says whose it is.

    Args:
        name: the target's name.
        place: where the Secret is, with the names of `KEYS`.
        key_set: whose document it is.
        kind: `SIGNING` or `VERIFICATION`.
        restart: workloads that are restarted for a new key, as `deployment/NAME`.
    """

    writable = True
    independent = True

    def __init__(
        self,
        name: str,
        place: Place,
        key_set: str,
        kind: DocumentKind,
        *,
        restart: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self._place = place
        self._key_set = key_set
        self._restart = restart

    def look(self) -> Sight:
        """Read the Secret: one request.

        Raises:
            StoreUnavailable, StoreDenied: no answer. ConfigError, BackendMissing: there is no login for it.
        """
        held = self._place.read()
        if held is None or held.empty:
            return Sight(None, held.server_time if held else None)
        body = held.parts.get(MAIN[self.kind], b"")
        said = origin(read_json(body), FORMATS[self.kind])
        marks = held.marks
        if marks is None:
            if said is None or said.key_set != self._key_set:
                document = Document(body, said and said.key_set, said and said.revision, held.token)
                return Sight(document, held.server_time, note="not written by rotator")
            document = Document(body, said.key_set, said.revision, held.token)
            return Sight(document, held.server_time, note=f"{DRIFT} its annotations are gone")
        document = Document(body, marks.key_set, marks.revision, held.token)
        wrong = self._flaw(held) if marks.key_set == self._key_set else ""
        return Sight(document, held.server_time, note=f"{DRIFT} {wrong}" if wrong else "")

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace our keys if they are still what `replacing` names and carry no higher revision.

        Raises:
            Conflict: they are something else by now, or carry a higher revision; nothing was written.
            StoreCorrupt: the document is malformed, or of another key set; nothing was written.
            StoreUnavailable, StoreDenied, ConfigError, BackendMissing: as for `look`; a workload that cannot be
                restarted is a denial too, and is tried again though the key is there.
        """
        files = parts(document, self.kind)
        if document.key_set != self._key_set or document.revision is None:
            raise StoreCorrupt(f"{self.name} was to be replaced by one of {document.key_set}")
        held = self._place.read()
        self._place.fence(held, self._key_set, document.revision, replacing=replacing)
        kid = self._to_restart_for(files, held)
        marks = Marks(self._key_set, document.revision, digest_of(files))
        self._place.write(files, marks, held, pending=kid)
        if kid:
            self._place.restart(self._restart, self._key_set, kid)

    def _to_restart_for(self, files: Mapping[str, bytes], held: Held | None) -> str:
        """Return the kid that pods have to be restarted for, nothing when they know it or there was none."""
        if not self._restart or held is None or "kid" not in files:
            return ""
        kid = files["kid"].decode()
        before = held.parts.get("kid", b"").decode(errors="replace")
        return kid if held.pending or (before and before != kid) else ""

    def _flaw(self, held: Held) -> str:
        if not held.whole:
            return "its data is not what its annotations say that rotator wrote"
        if held.pending and self._restart:
            return f"not yet restarted for its key: {', '.join(self._restart)}"
        return ""
