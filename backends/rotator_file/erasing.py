"""Removing a key set that was only written on trial, with its directory."""

from __future__ import annotations

import contextlib
import errno
import os

from rotator_file.access import DOCUMENTS, MATERIAL, Access
from rotator_file.files import LOCK, Directory, listing
from rotator_file.meaning import explained


def erase(access: Access, key_set: str) -> None:
    """Remove everything of a key set under its lock; harmless when nothing is there. Durable on return.

    Who waits for that lock meanwhile is told that it was moved away, and may try again.

    Raises:
        StoreUnavailable, StoreDenied: some of it may still be there.
    """
    with access.tree.reading(key_set) as present:
        if present is None:
            return
    with access.changing(key_set) as home:
        for part in (MATERIAL, DOCUMENTS):
            with access.tree.reading(key_set, part) as directory:
                if directory is not None:
                    _empty(directory)
                    _remove(part, home)
        _empty(home, last=LOCK)
        with access.tree.reading() as root:
            if root is not None:
                _remove(key_set, root)
    access.tree.forget(key_set)


def _empty(directory: Directory, *, last: str = "") -> None:
    with explained("empty", directory.path):
        for name in sorted(listing(directory), key=lambda name: name == last):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory.descriptor)


def _remove(name: str, above: Directory) -> None:
    with explained("remove", above.path / name):
        try:
            os.rmdir(name, dir_fd=above.descriptor)
        except OSError as error:
            # Somebody began anew in it as soon as the lock was gone: what is there now is theirs.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise
        os.fsync(above.descriptor)
