"""Rings, material and documents of very many key sets in one SQLite file; every call is counted.

What the memory of the process shows is then the daemon's, and not that of what it manages.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from rotator.errors import Conflict, StoreUnavailable
from rotator.secret import Secret
from rotator.stores import Document, DocumentKind, Sight, Stored, Version, VersionToken


class Shelf:
    """One table of values by name, in a file.

    Attributes:
        calls: how often each kind of call was made, by the name that the walls give it.
        down: nothing of it answers.
    """

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA synchronous=OFF")
        self._base.execute("PRAGMA journal_mode=MEMORY")
        self._base.execute("CREATE TABLE shelf (name TEXT PRIMARY KEY, value BLOB, more TEXT)")
        self.calls: Counter[str] = Counter()
        self.down = False

    def get(self, call: str, name: str) -> tuple[bytes, Any] | None:
        """Return what was put there, with what was said beside it."""
        self._count(call)
        return self._get(name)

    def put(self, call: str, name: str, value: bytes, more: Any = None) -> None:
        """Put something there."""
        self._count(call)
        row = (name, value, json.dumps(more))
        self._base.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?, ?)", row)

    def replace(self, call: str, name: str, value: bytes, replacing: Version | None) -> None:
        """Put something there in place of what is named."""
        self._count(call)
        found = self._get(name)
        if (None if found is None else version_of(found[0])) != replacing:
            raise Conflict(f"{name} was changed by somebody else")
        self._base.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?, 'null')", (name, value))

    def delete(self, call: str, name: str) -> None:
        """Remove what is there."""
        self._count(call)
        self._base.execute("DELETE FROM shelf WHERE name = ?", (name,))

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so; not counted."""
        found = self._base.execute("SELECT name FROM shelf WHERE name GLOB ?", (f"{prefix}*",))
        return [str(row[0]) for row in found]

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def _get(self, name: str) -> tuple[bytes, Any] | None:
        row = self._base.execute("SELECT value, more FROM shelf WHERE name = ?", (name,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def _count(self, call: str) -> None:
        self.calls[call] += 1
        if self.down:
            raise StoreUnavailable("the shelf does not answer")


class Store:
    """Ring and material of one key set on the shelf (`rotator.stores.RingStore`, `MaterialStore`)."""

    def __init__(self, shelf: Shelf, key_set: str) -> None:
        self._shelf, self._key_set = shelf, key_set

    def load(self) -> Stored | None:
        """Return the ring."""
        found = self._shelf.get("load", f"ring:{self._key_set}")
        return None if found is None else Stored(found[0], version_of(found[0]))

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring that `replacing` names."""
        self._shelf.replace("save", f"ring:{self._key_set}", document, replacing)
        return version_of(document)

    def allocate(self, kid: str, taken: frozenset[str]) -> str:  # noqa: ARG002 - kids are unique
        """Return a place named after the key."""
        return f"key:{self._key_set}/{kid}"

    def put(self, locator: str, kid: str, material: Secret) -> None:  # noqa: ARG002
        """Write material."""
        self._shelf.put("put", locator, material.reveal())

    def get(self, locator: str, kid: str) -> Secret | None:  # noqa: ARG002
        """Return material."""
        found = self._shelf.get("get", locator)
        return None if found is None else Secret(found[0])

    def destroy(self, locator: str, kid: str) -> None:  # noqa: ARG002
        """Destroy material."""
        self._shelf.delete("destroy", locator)


class Place:
    """A target on the shelf (`rotator.stores.Target`)."""

    writable = independent = True

    def __init__(self, shelf: Shelf, name: str, kind: DocumentKind) -> None:
        self._shelf, self.name, self.kind = shelf, name, kind

    def look(self) -> Sight:
        """Return what is there."""
        found = self._shelf.get("read", self.name)
        if found is None:
            return Sight(None)
        key_set, revision, max_age, stale = found[1]
        token = VersionToken(version_of(found[0]))
        return Sight(Document(found[0], key_set, revision, token, max_age, stale))

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:  # noqa: ARG002
        """Write; nobody else does."""
        more = (document.key_set, document.revision, document.max_age, document.stale)
        self._shelf.put("write", self.name, document.body, more)


def version_of(document: bytes) -> Version:
    """Return what tells one document from another."""
    return Version(hashlib.sha256(document).hexdigest()[:32])
