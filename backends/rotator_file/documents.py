"""Derived documents kept beside the ring, for whoever reads them through the store."""

from __future__ import annotations

from rotator.plugin import Conflict, Document, VersionToken
from rotator_file.access import DOCUMENTS, Access, digest
from rotator_file.envelopes import document_bytes, parse_document
from rotator_file.files import Directory, read_file, remove_file, replace_file
from rotator_file.names import document_file


class FileDocuments:
    """Derived documents, named `KEY_SET/DOCUMENT`; the token of one is the SHA-256 of its file."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def read(self, name: str) -> Document | None:
        """Return a document, or None when there is none. Takes no lock.

        Raises:
            ConfigError: the name has no key set in it.
            StoreDenied, StoreUnavailable, StoreCorrupt: as for a ring.
        """
        key_set, file = document_file(name)
        with (
            self._access.call("document.read", key_set),
            self._access.tree.reading(key_set, DOCUMENTS) as directory,
        ):
            return None if directory is None else _document(directory, file)

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write a document if the present one is still `replacing` (None: if there is none).

        Raises:
            Conflict: it is another one, or one of the same key set with a higher revision.
            ConfigError, StoreDenied, StoreUnavailable, StoreCorrupt: as for `read`.
        """
        key_set, file = document_file(name)
        with (
            self._access.call("document.write", key_set),
            self._access.changing(key_set, DOCUMENTS) as directory,
        ):
            present = _document(directory, file)
            if (None if present is None else present.token) != replacing:
                raise Conflict(
                    f"somebody else wrote the document {name!r} in between", hint="read it again"
                )
            if present is not None and _is_ahead(present, document):
                raise Conflict(
                    f"the document {name!r} has revision {present.revision}, above {document.revision}",
                    hint="load the ring again",
                )
            replace_file(directory, file, document_bytes(document))

    def delete(self, name: str) -> None:
        """Remove a document; harmless when it is not there.

        Raises:
            ConfigError, StoreDenied, StoreUnavailable: as for `read`.
        """
        key_set, file = document_file(name)
        with self._access.call("document.delete", key_set):
            with self._access.tree.reading(key_set, DOCUMENTS) as present:
                if present is None:
                    return
            with self._access.changing(key_set, DOCUMENTS) as directory:
                remove_file(directory, file)


def _document(directory: Directory, name: str) -> Document | None:
    found = read_file(directory, name)
    return None if found is None else parse_document(found, VersionToken(digest(found)))


def _is_ahead(present: Document, document: Document) -> bool:
    if present.key_set != document.key_set or present.revision is None:
        return False
    return document.revision is None or present.revision > document.revision
