"""The JWKS as a plain file, for any web server, CDN origin or volume that can hold one."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rotator.atomic import (
    locked,
    read_regular,
    remove_leftovers,
    replace_file,
    translating,
)
from rotator.errors import Conflict, StoreUnavailable
from rotator.publication.sidecar import Earlier, Sidecar, digest_of, parse_sidecar, sidecar_path
from rotator.publication.whitelist import revision_to_publish
from rotator.stores import Document, DocumentKind, Sight, VersionToken

_READS: Final = (
    3  # a writer between the two reads makes a pair look torn; it is not torn twice in a row
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class FilePublication:
    """A JWKS at a path, with a sidecar `PATH.meta.json` that carries key set and revision.

    The directory must exist, or its parent must: then it is created, 0755.

    Args:
        path: the file; made absolute. Never a symbolic link, for then two names would be one address.
        key_set: the only key set that is written there.
        mode: permission bits of both files, whatever the umask says; the world may read a JWKS.
        lock_timeout: seconds to wait for another writer.
        now: the clock behind `modified` in the sidecar (it becomes `Last-Modified`; nothing decides by it).
    """

    kind: Final = DocumentKind.JWKS
    writable: Final = True
    independent: Final = True

    def __init__(
        self,
        path: Path | str,
        key_set: str,
        mode: int = 0o644,
        *,
        lock_timeout: float = 10.0,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps the `..`
        self.key_set = key_set
        self.name = f"file:{self.path}"
        self._mode = mode
        self._lock_timeout = lock_timeout
        self._now = now

    def look(self) -> Sight:
        """Read the file and its sidecar back.

        A file without a sidecar of ours has no key set and no revision: `rotator` did not write it. One
        that does not match its sidecar was edited by hand, and shows as what the sidecar says, with a note.

        Raises:
            StoreUnavailable: the directory and its parent are not there (a volume not mounted?), or the
                disk does not answer.
            StoreDenied: a missing permission, or a symbolic link.
            StoreCorrupt: something that is not a regular file, or too long.
        """
        sight, _ = self._read()
        if sight.document is None:
            self._require_directory()
        return sight

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace the file if it is still `replacing` and carries no higher revision.

        Raises:
            Conflict: it is another one by now, or carries a higher revision; nothing was written.
            StoreCorrupt: the document is no public JWKS of this key set; nothing was written.
            StoreUnavailable, StoreDenied: as for `look`, a full or read-only disk, or the lock was held
                for `lock_timeout`.
        """
        revision = revision_to_publish(document, self.key_set, self.name)
        self._make_directory()
        with locked(self.path.with_name(f".{self.path.name}.lock"), self._lock_timeout):
            sight, present = self._read()
            self._fence(sight.document, revision, replacing)
            remove_leftovers(self.path)
            digest = digest_of(document.body)
            sidecar = Sidecar(
                key_set=self.key_set,
                revision=revision,
                sha256=digest,
                max_age=document.max_age,
                stale=document.stale,
                modified=_modified(sight.document, present, digest) or self._now(),
                previous=_earlier(sight.document),
            )
            replace_file(sidecar_path(self.path), sidecar.render(), self._mode)
            with translating(f"cannot write {self.path}"):
                before = self.path.stat() if self.path.exists() else None
                replace_file(self.path, document.body, self._mode)
                _tell_apart(self.path, before)

    def _read(self) -> tuple[Sight, Sidecar | None]:
        """Read the pair without the lock, which whoever only looks may not be allowed to take."""
        for _ in range(_READS):
            data = read_regular(sidecar_path(self.path))
            body = read_regular(self.path)
            sidecar = parse_sidecar(data) if data is not None else None
            if body is None or sidecar is None or sidecar.describes(digest_of(body)):
                break
        if body is None:
            return Sight(None), sidecar
        return self._sight(body, sidecar, unreadable=data is not None and sidecar is None), sidecar

    def _sight(self, body: bytes, sidecar: Sidecar | None, *, unreadable: bool) -> Sight:
        digest = digest_of(body)
        token = VersionToken(digest)
        if sidecar is None:
            note = f"{sidecar_path(self.path)} cannot be understood" if unreadable else ""
            return Sight(Document(body, None, None, token), note=note)
        document = Document(
            body,
            sidecar.key_set,
            sidecar.revision_of(digest),
            token,
            max_age=sidecar.max_age,
            stale=sidecar.stale,
        )
        edited = not sidecar.describes(digest)
        return Sight(
            document, note="drift: the file is not what its sidecar names" if edited else ""
        )

    def _fence(
        self, present: Document | None, revision: int, replacing: VersionToken | None
    ) -> None:
        if present is not None and present.key_set == self.key_set:
            there = present.revision or 0
            if there > revision:
                raise Conflict(
                    f"{self.name} carries revision {there} of key set {self.key_set}, above {revision}",
                    hint="load the ring again",
                )
        if (present.token if present else None) != replacing:
            raise Conflict(f"{self.name} changed since it was looked at", hint="look at it again")

    def _require_directory(self) -> None:
        directory = self.path.parent
        with translating(f"cannot look at {directory}"):
            if directory.is_dir() or directory.parent.is_dir():
                return
        raise StoreUnavailable(
            f"{self.name}: neither {directory} nor its parent exists",
            hint=f"is a volume not mounted? otherwise: mkdir -p {directory}",
        )

    def _make_directory(self) -> None:
        directory = self.path.parent
        self._require_directory()
        with translating(f"cannot create {directory}"):
            if directory.is_dir():
                return
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)  # whatever the umask says: others must reach what they may read


def _tell_apart(path: Path, before: os.stat_result | None) -> None:
    """Give a file another date, in whole seconds, than one of the same length that it replaced.

    A web server makes its ETag of these two: a cache would go on with the old document for ever.
    """
    now = path.stat()
    if before is None or now.st_size != before.st_size or int(now.st_mtime) > int(before.st_mtime):
        return
    later = int(before.st_mtime) + 1
    os.utime(path, (later, later))


def _modified(present: Document | None, sidecar: Sidecar | None, digest: str) -> datetime | None:
    """Keep the date of a body that stays the same: only its revision or its cache lifetimes changed."""
    unchanged = present is not None and present.token == digest
    return sidecar.modified if unchanged and sidecar and sidecar.sha256 == digest else None


def _earlier(present: Document | None) -> Earlier | None:
    if present is None or present.revision is None or present.token is None:
        return None
    return Earlier(present.revision, present.token)
