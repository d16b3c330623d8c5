"""Derived documents, each a KV secret whose fields Vault Agent, External Secrets and `vault kv get` read."""

from __future__ import annotations

import os
from typing import Final

from rotator.plugin import NOTIFY, Calls, Conflict, Document, DocumentKind, VersionToken
from rotator_vault.envelopes import document_data, document_of, mark_of
from rotator_vault.kv import Engine, Found
from rotator_vault.names import document_path

_PUBLIC: Final = (f"/{DocumentKind.JWKS}", f"/{NOTIFY}")
"""The documents in which there is no key material."""

_NEEDS: Final = "create read update"
_KEPT: Final = (
    10  # versions that an engine keeps by default; each write destroys those that a crash left
)


class VaultDocuments:
    """Derived documents, named `KEY_SET/DOCUMENT`; the token of one is the version of its KV secret.

    Args:
        engine: the KV engine.
        calls: logs and retries.
        prefix: the path below the mount that is rotator's.
    """

    def __init__(self, engine: Engine, calls: Calls, prefix: str) -> None:
        self._engine = engine
        self._calls = calls
        self._prefix = prefix

    def read(self, name: str) -> Document | None:
        """Return a document, or None when there is none, or its latest version was deleted or destroyed.

        Raises:
            ConfigError: no such name is possible here, or the engine is of version 1.
            StoreDenied, StoreUnavailable: no answer.
        """
        key_set, path = self._located(name)
        found = self._calls.attempt(
            "document.read", key_set, lambda: self._engine.read(path, whole=_NEEDS)
        )
        return _document(found) if isinstance(found, Found) else None

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write a document if the present one is still `replacing` (None: if there is none).

        The versions before it are destroyed, except those of documents that hold no key. When that alone fails the document is written all the same, and
        the next write destroys them.

        Raises:
            Conflict: it is another one, or one of the same key set with a higher revision.
            ConfigError, StoreDenied, StoreUnavailable: as for `read`.
        """
        key_set, path = self._located(name)
        mark = os.urandom(16).hex()
        data = document_data(document, mark)

        def step() -> bool:
            found = self._engine.read(path, whole=_NEEDS)
            if isinstance(found, Found):
                if mark_of(found.data) == mark:  # an earlier try, whose answer was lost
                    self._forget_before(name, found.version)
                    return True
                _fence(name, _document(found), document)
            present = VersionToken(str(found.version)) if isinstance(found, Found) else None
            if present != replacing:
                return False
            base = 0 if found is None else found.version
            written = self._engine.write(path, data, cas=base, needs=_NEEDS)
            if written is not None:
                self._forget_before(name, written)
            return written is not None

        if not self._calls.attempt("document.write", key_set, step):
            raise Conflict(
                f"somebody else wrote the document {name!r} in between", hint="read it again"
            )

    def _forget_before(self, name: str, version: int) -> None:
        """Destroy the versions before one: else a key outlived its destruction in them. Some hold none."""
        if version > 1 and not name.endswith(_PUBLIC):
            path = self._located(name)[1]
            self._engine.destroy(path, range(max(1, version - _KEPT), version))

    def delete(self, name: str) -> None:
        """Remove a document with every version of it; harmless when it is not there.

        Raises:
            ConfigError, StoreDenied, StoreUnavailable: as for `read`.
        """
        key_set, path = self._located(name)
        self._calls.attempt("document.delete", key_set, lambda: self._engine.erase(path))

    def _located(self, name: str) -> tuple[str, str]:
        key_set, path = document_path(name)
        return key_set, f"{self._prefix}/{path}"


def _document(found: Found) -> Document:
    return document_of(found.data, VersionToken(str(found.version)))


def _fence(name: str, present: Document, document: Document) -> None:
    if present.key_set != document.key_set or present.revision is None:
        return
    if document.revision is None or present.revision > document.revision:
        raise Conflict(
            f"the document {name!r} has revision {present.revision}, above {document.revision}",
            hint="load the ring again",
        )
