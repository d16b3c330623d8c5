"""A delivery as a directory of files that change all at once."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from rotator.atomic import locked, read_regular, translating
from rotator.delivery.payload import FORMATS, MAIN, Origin, origin, parts
from rotator.delivery.record import RECORD, Record, digest
from rotator.delivery.tree import LOCK, Tree, directory_mode
from rotator.documents import read_json
from rotator.errors import Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.stores import Document, DocumentKind, Sight, VersionToken

_TRIES: Final = (
    20  # looks that a switch may cross, one after the other, before it counts as no answer
)


class FilesDelivery:
    """Hands a signing or verification document over as files in one directory (DESIGN §5).

    A document whose files are not as written (one edited, missing, or no longer the link that it was)
    is seen with a note that starts with `drift:`; its body then has a member `drift` and its token
    differs from that of the written one, so that it is never mistaken for it.

    Args:
        path: the directory; created at the first write if its parent exists, never a symbolic link.
        key_set: whose document belongs there.
        kind: `SIGNING` or `VERIFICATION`.
        mode: permission bits of the files; None means 0600, or 0640 with a group. The directory gets the
            matching bits.
        group: name or gid that the files shall have; this process must be root or a member of it.
        lock_timeout: seconds to wait for another writer.

    Raises:
        ValueError: a kind that is never delivered.
    """

    writable = True
    independent = True

    def __init__(
        self,
        path: Path,
        key_set: str,
        kind: DocumentKind,
        *,
        mode: int | None = None,
        group: str | None = None,
        lock_timeout: float = 10.0,
    ) -> None:
        if kind not in FORMATS:
            raise ValueError(f"a {kind} document is not delivered as files")
        self._tree = Tree(Path(os.path.abspath(path)))  # noqa: PTH100 - resolve() would follow links
        self._key_set = key_set
        self._kind = kind
        self._main = MAIN[kind]
        self._mode = mode if mode is not None else (0o600 if group is None else 0o640)
        self._group = group
        self._access = f"{self._mode:04o} {group}" if group else f"{self._mode:04o}"
        self._lock_timeout = lock_timeout
        self._what = f"the {kind} document of key set {key_set} at {self._tree.path}"

    @property
    def name(self) -> str:
        """`files:` and the absolute path."""
        return f"files:{self._tree.path}"

    @property
    def kind(self) -> DocumentKind:
        """The kind of document that belongs there."""
        return self._kind

    def look(self) -> Sight:
        """Read back what signers see; takes no lock and writes nothing.

        Somebody else's document has their key set's name, or None where it names none.

        Raises:
            StoreUnavailable: the parent directory is missing, or the disk fails.
            StoreDenied: a permission is missing, or the path is a symbolic link or no directory.
        """
        with translating(f"cannot read {self._what}"):
            return self._see(alone=False)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Switch the directory to a new document if it still shows the one that `replacing` names.

        Raises:
            Conflict: it shows another one, or one of this key set with a higher revision.
            StoreUnavailable: no space, a read-only file system, a missing parent, or another writer that
                keeps the lock; what signers see is unchanged unless a look says otherwise.
            StoreDenied: a permission is missing, or something stands in the way.
            StoreCorrupt: the document itself is malformed.
        """
        files = parts(document, self._kind)
        if document.key_set != self._key_set:
            raise StoreCorrupt(f"{self._what} was to be replaced by one of {document.key_set}")
        gid = self._gid()
        with translating(f"cannot write {self._what}"):
            if not self._tree.stands():
                if replacing is not None:
                    raise self._conflict("is gone by now")
                self._tree.create(directory_mode(self._mode))
            with locked(self._tree.path / LOCK, self._lock_timeout):
                self._fence(document, replacing)
                self._open_up(gid)
                self._tree.sweep()
                self._tree.switch(files, {RECORD: self._record(document, files)}, self._mode, gid)

    def _fence(self, document: Document, replacing: VersionToken | None) -> None:
        present = self._see(alone=True).document
        if (present.token if present else None) != replacing:
            raise self._conflict("is another one by now")
        if present is None or present.revision is None or present.key_set != document.key_set:
            return
        if document.revision is None or present.revision > document.revision:
            raise self._conflict(f"is of revision {present.revision}, above {document.revision}")

    def _conflict(self, how: str) -> Conflict:
        return Conflict(f"{self._what} {how}", hint="load the ring and look again")

    def _gid(self) -> int:
        if self._group is None:
            return -1
        if self._group.isdecimal():
            return int(self._group)
        import grp

        try:
            return grp.getgrnam(self._group).gr_gid
        except KeyError:
            raise StoreDenied(
                f"{self._what} belongs to group {self._group!r}, which this host does not know",
                hint="create the group or configure its number",
            ) from None

    def _open_up(self, gid: int) -> None:
        """Let those in whom the configuration names; bits that others gave are never taken away."""
        path, now = self._tree.path, self._tree.path.stat()
        try:
            if gid not in (-1, now.st_gid):
                os.chown(path, -1, gid)
            if directory_mode(self._mode) & ~now.st_mode:
                path.chmod(directory_mode(self._mode) | now.st_mode & 0o7777)
        except PermissionError as error:
            raise StoreDenied(
                f"cannot give {path} its mode and group: operation not permitted",
                hint=f"`chmod {directory_mode(self._mode):o}` and `chgrp` it as its owner, "
                f"and make uid {os.geteuid()} a member of the group",
            ) from error

    def _record(self, document: Document, files: dict[str, bytes]) -> bytes:
        written = Origin(self._key_set, document.revision or 0)
        digests = {name: digest(data) for name, data in files.items()}
        return Record(written, self._access, digests).render()

    def _see(self, *, alone: bool) -> Sight:
        """Look; `alone` says that the caller holds the lock, so that every leftover is a crashed writer's."""
        if not self._tree.stands():
            return Sight(None)
        for _ in range(_TRIES):
            live = self._tree.live()
            directory = self._tree.path / live if live else None
            sight = self._see_live(directory, alone=alone) if directory else None
            sight = sight or self._see_foreign(directory)
            if self._tree.live() == live:
                return sight
        raise StoreUnavailable(f"{self._what} changed {_TRIES} times while it was being read")

    def _see_live(self, live: Path, *, alone: bool) -> Sight | None:
        body = _read_if_regular(live / self._main)
        record = Record.parse(_read_if_regular(live / RECORD))
        found = record.origin if record else origin(read_json(body), FORMATS[self._kind])
        if found is None or (record and self._main not in record.files):
            return None
        drift = self._drift(live, record)
        if self._tree.leftovers() if alone else self._tree.abandoned():
            drift.append("leftovers of a crashed writer")
        advice = self._advice(live, record)
        return _sight(body, found, drift, advice)

    def _drift(self, live: Path, record: Record | None) -> list[str]:
        if record is None:
            return ["the record of what was written is missing"]
        drift = [
            f"{name} {state}"
            for name, written in sorted(record.files.items())
            if (state := self._state(live, name, written))
        ]
        if record.access != self._access:
            drift.append("written with another mode or group than configured now")
        return drift

    def _state(self, live: Path, name: str, written: str) -> str:
        if not self._tree.linked(name):
            return "is not the link into ..data"
        try:
            data = read_regular(live / name)
        except StoreCorrupt:
            return "is not a regular file"
        if data is None:
            return "is missing"
        return "" if digest(data) == written else "differs"

    def _advice(self, live: Path, record: Record | None) -> list[str]:
        wanted = {live / name: self._mode for name in (record.files if record else ())}
        wanted[self._tree.path] = directory_mode(self._mode)
        looser = []
        for path, mode in wanted.items():
            try:
                actual = path.lstat().st_mode
            except FileNotFoundError:
                continue  # reported as drift
            if not stat.S_ISREG(actual) and path != self._tree.path:
                continue  # likewise
            actual &= 0o777
            if actual & ~mode:
                shown = self._tree.path / path.name if path.parent == live else path
                looser.append(f"{shown} has mode {actual:04o}: `chmod {mode:o} {shown}`")
        return looser

    def _see_foreign(self, live: Path | None) -> Sight:
        names = self._tree.strangers()
        if live is not None and live.is_dir():
            # Readers see what it holds, though nothing says that it is ours.
            names += sorted(entry.name for entry in live.iterdir())
        if not names:
            return Sight(None)
        main = (live or self._tree.path) / self._main
        body = b"" if main.is_symlink() else _read_if_regular(main)
        found = origin(read_json(body), FORMATS[self._kind])
        if found and found.key_set == self._key_set:  # a copy that lost its links
            return _sight(body, found, [f"{self._main} is not the link into ..data"], [])
        token = VersionToken(digest("\0".join(names).encode() + b"\0\0" + body))
        document = Document(body, found and found.key_set, found and found.revision, token)
        held = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return Sight(document, note=f"not written by this key set: {held}")


def _sight(body: bytes, found: Origin, drift: list[str], advice: list[str]) -> Sight:
    notes = []
    if drift:
        notes.append(f"drift: {', '.join(drift)}")
        changed: dict[str, Any] = {**(read_json(body) or {}), **found._asdict(), "drift": drift}
        body = json.dumps(changed).encode()
    if advice:
        notes.append(f"advice: {', '.join(advice)}")
    document = Document(body, found.key_set, found.revision, VersionToken(digest(body)))
    return Sight(document, note="; ".join(notes))


def _read_if_regular(path: Path) -> bytes:
    try:
        return read_regular(path) or b""
    except StoreCorrupt:
        return b""
