"""Where delivery state is kept: beside the ring, in its own store; while that cannot be, in a file.

The file is in `state_dir` and of this host only. What is in it is taken over into the store as soon as that
can be written again; a store that keeps no documents at all leaves everything to the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rotator.atomic import read_regular, replace_file
from rotator.errors import Conflict, RotatorError, StoreUnavailable
from rotator.notify.ledger import Change, Ledger, merged, read_ledger, write_ledger
from rotator.reconcile.site import Emit
from rotator.settings.scopes import notify_document
from rotator.stores import Document, DocumentStore, VersionToken

_TRIES: Final = 5

DocumentsOf = Callable[[str], DocumentStore | None]
"""Opens the store of a key set's ring, and returns where it keeps documents; None where it cannot."""


class Keeper:
    """Reads and writes ledgers.

    Args:
        documents: where those of a key set are.
        directory: of the files; made when first needed.
        emit: where events go.
    """

    def __init__(self, documents: DocumentsOf, directory: Path, emit: Emit) -> None:
        self.documents = documents
        self._directory, self._emit = directory, emit

    def update(self, key_set: str, changes: Sequence[Change]) -> Ledger:
        """Read a ledger, apply changes, write it if that made a difference, and return it.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt, ConfigError: as the store has it.
            Conflict: somebody else was faster, five times.
        """
        store = self.documents(key_set)
        if store is None:
            ledger = _applied(self.spared(key_set) or Ledger(key_set), changes)
            self.keep(ledger)
            return ledger
        for attempt in range(_TRIES):
            spare = self.spared(key_set)
            try:
                ledger = self._once(store, key_set, spare, changes)
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
                continue
            if spare is not None:
                with contextlib.suppress(OSError):
                    self._file(key_set).unlink(missing_ok=True)
            return ledger
        raise AssertionError("unreachable")

    def peek(self, key_set: str) -> Ledger:
        """Return a ledger for those who only look; nothing is written.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt, ConfigError: as the store has it.
        """
        store, spare = self.documents(key_set), self.spared(key_set)
        found = self._read(store, key_set)[0] if store is not None else Ledger(key_set)
        return found if spare is None else merged(found, spare)

    def spared(self, key_set: str) -> Ledger | None:
        """Return what the file of a key set holds, None when there is none that could be used."""
        try:
            found = read_regular(self._file(key_set))
        except RotatorError:
            return None
        return None if found is None else self._parsed(found, key_set)

    def keep(self, ledger: Ledger) -> None:
        """Write a ledger into its file, for as long as the store cannot.

        Raises:
            StoreUnavailable, StoreDenied: not even that is possible.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"the directory {self._directory} cannot be made: {error.strerror}",
                hint="let rotator write to `state_dir`",
            ) from error
        replace_file(self._file(ledger.key_set), write_ledger(ledger))

    def _once(
        self, store: DocumentStore, key_set: str, spare: Ledger | None, changes: Sequence[Change]
    ) -> Ledger:
        found, token, revision = self._read(store, key_set)
        ledger = _applied(found if spare is None else merged(found, spare), changes)
        if ledger == found:
            return found
        ledger = replace(ledger, revision=max(found.revision, revision) + 1)
        document = Document(write_ledger(ledger), key_set, ledger.revision)
        store.write(notify_document(key_set), document, replacing=token)
        return ledger

    def _read(self, store: DocumentStore, key_set: str) -> tuple[Ledger, VersionToken | None, int]:
        document = store.read(notify_document(key_set))
        if document is None:
            return Ledger(key_set), None, 0
        found = self._parsed(document.body, key_set) or Ledger(key_set)
        return found, document.token, document.revision or 0

    def _parsed(self, body: bytes, key_set: str) -> Ledger | None:
        try:
            return read_ledger(body, key_set)
        except ValueError as error:
            self._emit(
                "warning",
                "notification.unreadable",
                key_set=key_set,
                reason=str(error)[:200],
                hint="it begins anew, with the events of the last day; some may be told again",
            )
            return None

    def _file(self, key_set: str) -> Path:
        return self._directory / f"{key_set}.json"


def _applied(ledger: Ledger, changes: Sequence[Change]) -> Ledger:
    for change in changes:
        ledger = change(ledger)
    return ledger
