"""A store in one SQLite table: the transaction of a write is its compare-and-set."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel

from rotator import plugin
from rotator.plugin import Conflict, Document, Secret, Stored, Version, VersionToken

TABLE = "CREATE TABLE IF NOT EXISTS kept (name PRIMARY KEY, body, owner, rev, token, age, stale)"
READ = "SELECT body, owner, rev, token, age, stale FROM kept WHERE name = ?"
CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


class SqliteSettings(BaseModel, extra="forbid", frozen=True):
    path: Path  # the database must exist; an empty file is one without tables
    lock_timeout: plugin.Seconds = 10.0


class SqliteStore:  # and its DocumentStore; no name of a document holds a colon
    def __init__(self, settings: SqliteSettings) -> None:
        self.path, self._lock_timeout = settings.path.absolute(), settings.lock_timeout
        self._calls = plugin.Calls("sqlite", str(self.path))

    @contextmanager
    def transaction(self, op: str, *, begin: str = "BEGIN") -> Iterator[sqlite3.Connection]:
        address = f"{self.path.as_uri()}?mode=rw"  # never makes the file: its absence is no answer
        try:
            base = sqlite3.connect(address, self._lock_timeout, isolation_level=None, uri=True)
            with self._calls.logged(op, None), closing(base):
                base.executescript(f"PRAGMA secure_delete=ON; PRAGMA synchronous=EXTRA; {begin};")
                yield base
                base.execute("COMMIT")
        except sqlite3.Error as error:
            code, said = error.sqlite_errorcode & 0xFF, f"{self.path}: {error}"
            if code == sqlite3.SQLITE_READONLY:
                raise plugin.StoreDenied(said, hint="chown it to rotator's user") from error
            if code in CORRUPT:
                raise plugin.StoreCorrupt(said, hint="restore it from a backup") from error
            raise plugin.StoreUnavailable(said, hint="mount it, or make an empty file") from error

    def rings(self, key_set: str) -> "KeySet":
        return KeySet(self, key_set)

    material = rings

    def documents(self) -> "SqliteStore":
        return self

    def close(self) -> None:
        """Nothing stays open between two calls."""

    def read(self, name: str, op: str = "document.read") -> Document | None:
        with self.transaction(op) as base:
            empty = base.execute("PRAGMA schema_version").fetchone() == (0,)
            row = None if empty else base.execute(READ, [name]).fetchone()
        return Document(*row) if row else None

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        self.replace("document.write", name, document, replacing)

    def delete(self, name: str, op: str = "document.delete", owner: str | None = None) -> None:
        with self.transaction(op, begin=f"BEGIN IMMEDIATE; {TABLE}") as base:
            query = "DELETE FROM kept WHERE name = ?1 AND (?2 IS NULL OR owner = ?2)"
            base.execute(query, (name, owner))

    def replace(self, op: str, name: str, new: Document, replacing: str | None) -> str:
        with self.transaction(op, begin=f"BEGIN IMMEDIATE; {TABLE}") as base:
            row = base.execute(READ, [name]).fetchone()
            found = Document(*row) if row else Document(b"", None, None)
            ahead = found.key_set == new.key_set and (found.revision or 0) > (new.revision or 0)
            if found.token != replacing or ahead:
                raise Conflict(f"somebody else wrote {name} in {self.path}", hint="read it again")
            token = uuid4().hex
            row = (name, new.body, new.key_set, new.revision, token, new.max_age, new.stale)
            base.execute("REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return token

    def inspect(self, scopes: Sequence[plugin.Scope] = ()) -> plugin.Report:
        asked = [scope.key_set for scope in scopes if scope.ring] or [plugin.SCRATCH]
        there = [name for name in asked if self.rings(name).load()]
        said = plugin.Finding("ok", f"it answers; rings found: {', '.join(there) or 'none'}")
        return plugin.Report(f"SQLite store {self.path}", (said,))

    def policy(self, role: plugin.Role, scopes: Sequence[plugin.Scope] = ()) -> str:  # noqa: ARG002
        return f"# for rotator alone: install -m 0600 -o rotator /dev/null {self.path}\n"


class KeySet:  # the RingStore and the MaterialStore of one key set
    def __init__(self, store: SqliteStore, name: str) -> None:
        self._store, self._name = store, name

    def load(self) -> Stored | None:
        found = self._store.read(f"ring:{self._name}", "ring.load")
        return Stored(found.body, Version(str(found.token))) if found else None

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        new = Document(document, self._name, None)
        return Version(self._store.replace("ring.save", f"ring:{self._name}", new, replacing))

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        base = f"material:{self._name}:{hashlib.sha256(kid.encode()).hexdigest()}"
        return next(name for n in range(len(taken) + 1) if (name := f"{base}.{n}") not in taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        try:
            self._store.replace(
                "material.put", locator, Document(material.reveal(), kid, None), None
            )
        except Conflict:
            if self.get(locator, kid) != material:
                raise plugin.StoreCorrupt(f"{locator} is not the material of {kid!r}") from None

    def get(self, locator: str, kid: str) -> Secret | None:
        found = self._store.read(locator, "material.get")
        return Secret(found.body) if found and found.key_set == kid else None

    def destroy(self, locator: str, kid: str) -> None:
        self._store.delete(locator, "material.destroy", kid)


backend = plugin.Backend("sqlite", settings=lambda: SqliteSettings, open=SqliteStore)
