"""Kinds of targets, each with somebody's hand in it. Another kind is one more class and one more row of `KINDS`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rotator.delivery import FilesDelivery
from rotator.delivery.store import StoreDocument
from rotator.publication import FilePublication
from rotator.stores import Document, DocumentKind, DocumentStore, Target
from rotator_file.store import FileStore


class Place(Protocol):
    """One target, and what somebody does to what lies there."""

    @property
    def target(self) -> Target:
        """The target as a tick has it."""
        ...

    def change(self) -> None:
        """Change what is there: it is still ours, and not what was written."""
        ...

    def empty(self) -> None:
        """Take away what is there."""
        ...

    def fill(self) -> None:
        """Put something else there that rotator did not write."""
        ...

    def save(self) -> Any:
        """Return all that is there, for `restore`."""
        ...

    def restore(self, saved: Any) -> None:
        """Put back what was there before."""
        ...


class Files:
    """A directory of files."""

    def __init__(self, path: Path) -> None:
        self.path = path / "signing"
        self.target = FilesDelivery(self.path, "web", DocumentKind.SIGNING)

    def change(self) -> None:
        (self.path / "kid").write_text("of-another-key")

    def empty(self) -> None:
        shutil.rmtree(self.path)

    def fill(self) -> None:
        self.empty()
        self.path.mkdir()
        (self.path / "somebody.pem").write_text("not ours")

    def save(self) -> Path:
        kept = self.path.with_name("kept")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.path, kept, symlinks=True)
        return kept

    def restore(self, saved: Path) -> None:
        self.empty()
        shutil.copytree(saved, self.path, symlinks=True)


class File:
    """A published file, and the sidecar that says whose it is."""

    def __init__(self, path: Path) -> None:
        self.path = path / "jwks.json"
        self.sidecar = path / "jwks.json.meta.json"
        self.target = FilePublication(self.path, "web")

    def change(self) -> None:
        document = json.loads(self.path.read_bytes())
        document["keys"][0]["use"] = "enc"
        self.path.write_text(json.dumps(document))

    def empty(self) -> None:
        self.path.unlink()
        self.sidecar.unlink()

    def fill(self) -> None:
        self.empty()
        self.path.write_text('{"keys": []}')

    def save(self) -> tuple[bytes, bytes]:
        return self.path.read_bytes(), self.sidecar.read_bytes()

    def restore(self, saved: tuple[bytes, bytes]) -> None:
        self.path.write_bytes(saved[0])
        self.sidecar.write_bytes(saved[1])


class InStore:
    """A document in a store, changed by the store's own means."""

    def __init__(self, documents: DocumentStore, target: Target) -> None:
        self._documents, self.target = documents, target
        self._name = f"web/{target.kind}"

    def _there(self) -> Document:
        found = self._documents.read(self._name)
        assert found is not None
        return found

    def _put(self, document: Document) -> None:
        self.empty()  # whoever writes by hand asks no fence
        self._documents.write(self._name, document, replacing=None)

    def change(self) -> None:
        there = self._there()
        body = json.loads(there.body)
        body.pop("pem", None)
        body["somebody"] = "was here"
        self._put(replace(there, body=json.dumps(body).encode()))

    def empty(self) -> None:
        self._documents.delete(self._name)

    def fill(self) -> None:
        self._put(Document(b'{"not": "ours"}', "another", 3))

    def save(self) -> Document:
        return self._there()

    def restore(self, saved: Document) -> None:
        self._put(saved)


def in_file_store(kind: DocumentKind) -> Callable[[Path], Place]:
    """Return what makes a document in a second file store."""

    def make(path: Path) -> Place:
        store = FileStore(path / "elsewhere")
        documents = store.documents()
        return InStore(
            documents, StoreDocument(lambda: store, "elsewhere", "web", kind, independent=True)
        )

    return make


KINDS: dict[str, Callable[[Path], Place]] = {
    "files": Files,
    "file": File,
    "store-signing": in_file_store(DocumentKind.SIGNING),
    "store-jwks": in_file_store(DocumentKind.JWKS),
}
"""What makes each kind of place, below a directory."""
