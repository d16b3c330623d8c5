"""The file store: one directory of a local file system for all key sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rotator.plugin import SCRATCH, Report, Role, Scope
from rotator_file.access import Access
from rotator_file.documents import FileDocuments
from rotator_file.erasing import erase
from rotator_file.material import FileMaterial
from rotator_file.names import key_set_name
from rotator_file.rings import FileRings


class FileStore:
    """All key sets of one directory of a local file system. Material is not encrypted at rest here.

    Args:
        path: the directory, see `rotator_file.tree` for what is in it.
        lock_timeout: seconds to wait for another process that is writing the same key set.
        create: whether `path` itself may be made at the first write.
    """

    def __init__(self, path: Path, *, lock_timeout: float = 10.0, create: bool = True) -> None:
        self.path = path.absolute()
        self._access = Access(self.path, lock_timeout=lock_timeout, create=create)

    def rings(self, key_set: str) -> FileRings:
        """Return the ring store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be that of a directory here.
        """
        return FileRings(self._access, key_set_name(key_set))

    def material(self, key_set: str) -> FileMaterial:
        """Return the material store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be that of a directory here.
        """
        return FileMaterial(self._access, key_set_name(key_set))

    def documents(self) -> FileDocuments:
        """Return where derived documents can be kept; no I/O."""
        return FileDocuments(self._access)

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:  # noqa: ARG002 - every key set lies here
        """Report identity, permissions, rings, free space and hardening advice; writes nothing."""
        from rotator_file.inspection import inspect

        with self._access.call("inspect", None):
            return inspect(self._access.tree)

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:  # noqa: ARG002 - one directory for all
        """Return what a role needs of the file system: permissions of files are the policy here."""
        from rotator_file.inspection import policy

        return policy(self.path, role)

    def erase_scratch(self) -> None:
        """Remove the directory of the key set `rotator-check` with all that is in it.

        Raises:
            StoreUnavailable, StoreDenied: it may still be there; the lock held for too long.
        """
        with self._access.call("scratch.erase", SCRATCH):
            erase(self._access, SCRATCH)

    def close(self) -> None:
        """Do nothing: no file stays open between two calls."""
