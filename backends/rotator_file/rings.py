"""The ring of a key set, with compare-and-set."""

from __future__ import annotations

import os

from rotator.plugin import Conflict, Stored, Version
from rotator_file.access import MATERIAL, RING, Access, digest
from rotator_file.files import read_file, replace_file
from rotator_file.meaning import explained


class FileRings:
    """The ring of one key set: a file that is replaced as a whole; its version is its SHA-256."""

    def __init__(self, access: Access, key_set: str) -> None:
        self._access = access
        self._key_set = key_set

    @property
    def place(self) -> str:
        """The ring's file, for messages."""
        return str(self._access.tree.path / self._key_set / RING)

    def load(self) -> Stored | None:
        """Return the ring, or None when its directory was never made or holds none. Takes no lock.

        Raises:
            StoreUnavailable: a directory that this process has seen is gone, or there was no answer.
            StoreDenied: a symbolic link, or something that others may use or own.
            StoreCorrupt: not a regular file, or longer than 1 MiB.
        """
        with (
            self._access.call("ring.load", self._key_set),
            self._access.tree.reading(self._key_set) as directory,
        ):
            found = None if directory is None else read_file(directory, RING)
        return None if found is None else Stored(found, Version(digest(found)))

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring if it is still `replacing` (None: if there is none); durable on return.

        Raises:
            Conflict: somebody else saved in between; nothing was written.
            StoreUnavailable: locked for too long, full, read-only, failing. The old ring is still there,
                but for an fsync of the directory that fails last; loading again shows which.
            StoreDenied, StoreCorrupt: as for `load`.
        """
        with (
            self._access.call("ring.save", self._key_set),
            self._access.changing(self._key_set) as directory,
        ):
            found = read_file(directory, RING)
            if (None if found is None else Version(digest(found))) != replacing:
                raise Conflict(
                    f"somebody else saved the ring of key set {self._key_set!r} in between",
                    hint="load it again",
                )
            self._settle(first=replacing is None)
            replace_file(directory, RING, document)
        return Version(digest(document))

    def _settle(self, *, first: bool) -> None:
        """Make durable what the ring is about to speak of: who wrote it may have died before he could."""
        with self._access.tree.reading(self._key_set, MATERIAL) as material:
            if material is not None:
                with explained("sync", material.path):
                    os.fsync(material.descriptor)
        if first:
            with self._access.tree.reading() as root:
                if root is not None:
                    with explained("sync", root.path):
                        os.fsync(root.descriptor)
