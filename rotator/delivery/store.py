"""A document kept in a store: for signers, for HMAC verifiers, or the JWKS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rotator.delivery.flaws import flaw
from rotator.delivery.payload import FORMATS, origin
from rotator.documents import document_name, read_json
from rotator.errors import ConfigError, StoreCorrupt
from rotator.observed import DRIFT
from rotator.stores import (
    Document,
    DocumentKind,
    DocumentStore,
    Sight,
    Store,
    VersionToken,
)


class StoreDocument:
    """One derived document of a key set in a store: `KEY_SET/KIND`, or `KEY_SET/verification.VERIFIER`.

    The store is opened when it is first looked at, and a mirror that cannot be opened then gave no answer:
    the key set goes on without it. A document that was changed by hand is seen with a note that starts
    with `drift:`.

    Args:
        store: opens the store, or returns it once it is open.
        store_name: its name in the configuration.
        key_set: whose document it is.
        kind: what it is: any of the three.
        verifier: the one verifier that a verification document is for; None for all of them.
        independent: False when the key set's ring lies in the same place (DESIGN §3, rule 4).
    """

    writable = True

    def __init__(
        self,
        store: Callable[[], Store],
        store_name: str,
        key_set: str,
        kind: DocumentKind,
        verifier: str | None = None,
        *,
        independent: bool,
    ) -> None:
        self._document = document_name(key_set, kind, verifier)
        self.name = f"store:{store_name}/{self._document}"
        self.kind = kind
        self.independent = independent
        self._store = store
        self._store_name = store_name
        self._key_set = key_set
        self._what = f"the document {self._document} in the store {store_name}"

    def look(self) -> Sight:
        """Read the document back.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt: the store cannot be opened, or gives no answer.
            ConfigError: it keeps no documents; BackendMissing: what it needs is not installed.
        """
        found = self._documents().read(self._document)
        if found is None:
            return Sight(None)
        named = self._named(found)
        if named is None:
            return Sight(found, note="not written by rotator")
        if named.key_set != self._key_set:
            return Sight(named)
        beside = named is found and named.revision is not None
        wrong = flaw(named, self.kind) if beside else "its key set or revision is not beside it"
        return Sight(named, note=f"{DRIFT} {wrong}" if wrong else "")

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace the document if it is still `replacing` and carries no higher revision.

        Raises:
            Conflict: it is another one by now, or carries a higher revision; nothing was written.
            StoreCorrupt: the document is not one of this key set and kind; nothing was written.
            StoreUnavailable, StoreDenied, ConfigError: as for `look`.
        """
        wrong = document.key_set != self._key_set or document.revision is None
        if wrong or flaw(document, self.kind):
            raise StoreCorrupt(
                f"{self._what} was to be replaced by something else",
                hint="nothing was written; please report this with the version of rotator",
            )
        self._documents().write(self._document, document, replacing=replacing)

    def _named(self, found: Document) -> Document | None:
        """Return a document with its key set; one that lost what stands beside it says itself whose it is."""
        if found.key_set is not None:
            return found
        said = origin(read_json(found.body), FORMATS[self.kind]) if self.kind in FORMATS else None
        if said is None:
            return None
        return replace(found, key_set=said.key_set, revision=said.revision)

    def _documents(self) -> DocumentStore:
        documents = self._store().documents()
        if documents is None:
            raise ConfigError(
                f"the store {self._store_name} keeps no documents, and key set {self._key_set} "
                f"has its {self.kind} document there",
                hint="name another store, or deliver it as files",
            )
        return documents
