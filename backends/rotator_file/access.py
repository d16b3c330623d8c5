"""How one store gets at its files: every call logged, every change under the lock of its key set."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rotator.plugin import Calls
from rotator_file.files import Directory, locked, remove_leftovers
from rotator_file.tree import Tree

RING: Final = "ring.json"
MATERIAL: Final = "material"
DOCUMENTS: Final = "documents"


class Access:
    """The directories of one store, its lock and its log; shared by the walls of all its key sets.

    Args:
        path: PATH, absolute.
        lock_timeout: seconds to wait for another process that is writing the same key set.
        create: whether PATH itself may be made at the first write.
    """

    def __init__(self, path: Path, *, lock_timeout: float, create: bool) -> None:
        self.path = path
        self.tree = Tree(path, create=create)
        self._lock_timeout = lock_timeout
        self.call = Calls("file", str(path)).logged

    @contextlib.contextmanager
    def changing(self, key_set: str, *below: str) -> Iterator[Directory]:
        """Hold the lock of a key set and open its directory, or one in it; tidy up after crashed writers."""
        with self.tree.writing(key_set) as home, locked(home, self._lock_timeout):
            remove_leftovers(home)
            for part in (MATERIAL, DOCUMENTS):
                with self.tree.reading(key_set, part) as beside:
                    if beside is not None:
                        remove_leftovers(beside)
            if below:
                with self.tree.writing(key_set, *below) as directory:
                    yield directory
            else:
                yield home


def digest(data: bytes) -> str:
    """Return what bytes are known by: their SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
