"""The directories of a file store: how they are made, opened, trusted and missed.

PATH/                       may be a mounted volume: anybody's, with any mode
PATH/KEY_SET/               0700, and all that follows is ours
PATH/KEY_SET/lock           0600, held while something of the key set is written
PATH/KEY_SET/ring.json      0600
PATH/KEY_SET/material/      0700, one file for each kid
PATH/KEY_SET/documents/     0700, one file for each derived document
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rotator.plugin import StoreUnavailable
from rotator_file.files import Directory
from rotator_file.meaning import explained, require_private, symlink_refused

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The directory of one store, and which of its directories this process has already seen.

    A directory that was seen and is gone is a volume that was unmounted, or somebody's mistake. It is
    never taken for a store in which there is nothing, and never made anew.

    Args:
        path: PATH, absolute.
        create: whether PATH itself may be made.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        self._create = create
        self._seen: set[Path] = set()

    @contextlib.contextmanager
    def reading(self, *names: str) -> Iterator[Directory | None]:
        """Open a directory below PATH, or say by None that it, or one above it, was never made.

        Raises:
            StoreUnavailable: it was there before and is gone; or PATH is absent and may not be made, or
                has no directory above it to be made in.
            StoreDenied: a symbolic link on the way, or a directory that others may use or own.
        """
        with contextlib.ExitStack() as opened:
            directory = self._root(opened)
            for name in names:
                if directory is None:
                    break
                directory = self._enter(opened, directory, name)
            yield directory

    @contextlib.contextmanager
    def writing(self, *names: str) -> Iterator[Directory]:
        """Open a directory below PATH for writing, making those that were never there.

        Raises:
            StoreUnavailable, StoreDenied: as for `reading`, and when one cannot be made.
        """
        with contextlib.ExitStack() as opened:
            directory = self._root(opened) or self._made_root(opened)
            # Root could write into another user's store, and lock that user out of what it wrote.
            mine = frozenset({os.geteuid()})
            directory = Directory(directory.descriptor, directory.path, mine)
            for name in names:
                directory = self._enter(opened, directory, name) or self._made(
                    opened, directory, name
                )
            yield directory

    def forget(self, name: str) -> None:
        """Forget a directory of PATH that was removed on purpose, so that its absence is no alarm."""
        gone = self.path / name
        self._seen = {path for path in self._seen if path != gone and gone not in path.parents}

    def _root(self, opened: contextlib.ExitStack) -> Directory | None:
        with explained("open", self.path):
            descriptor = self._open(self.path, None)
        if descriptor is None:
            if not self._create:
                raise StoreUnavailable(
                    f"the store directory {self.path} does not exist",
                    hint="mount the volume, or make the directory, or configure `create: true`",
                )
            if not self.path.parent.is_dir():
                raise StoreUnavailable(
                    f"the store directory {self.path} does not exist, nor does the one above it",
                    hint=f"is a file system not mounted? otherwise make {self.path.parent}",
                )
            return None
        opened.callback(os.close, descriptor)
        owners = {os.geteuid()}
        if 0 in owners:  # root may look at what belongs to whom the whole store belongs to
            owners.add(os.fstat(descriptor).st_uid)
        return Directory(descriptor, self.path, frozenset(owners))

    def _enter(self, opened: contextlib.ExitStack, above: Directory, name: str) -> Directory | None:
        path = above.path / name
        with explained("open", path):
            descriptor = self._open(path, above, name)
            if descriptor is None:
                return None
            opened.callback(os.close, descriptor)
            require_private(os.fstat(descriptor), path, above.owners)
        return Directory(descriptor, path, above.owners)

    def _made_root(self, opened: contextlib.ExitStack) -> Directory:
        with explained("make", self.path):
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            with contextlib.suppress(PermissionError):  # entered and written, but not to be read
                above = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(above)
                finally:
                    os.close(above)
        return self._or_gone(self._root(opened), self.path)

    def _made(self, opened: contextlib.ExitStack, above: Directory, name: str) -> Directory:
        path = above.path / name
        with explained("make", path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=above.descriptor)
            os.fsync(above.descriptor)
        return self._or_gone(self._enter(opened, above, name), path)

    def _open(self, path: Path, above: Directory | None, name: str = "") -> int | None:
        """Open a directory by its path, or by its name in the one above; None when it was never there."""
        where = None if above is None else above.descriptor
        # Asked before the look: another thread may make it, and see it, right after.
        seen = path in self._seen
        try:
            descriptor = os.open(name or path, _DIRECTORY, dir_fd=where)
        except FileNotFoundError:
            if seen:
                raise StoreUnavailable(
                    f"the store directory {path} is gone",
                    hint="mount its file system again or put it back; nothing is made anew in its place",
                ) from None
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
                raise symlink_refused(path) from error
            raise
        self._seen.add(path)
        return descriptor

    def _or_gone(self, directory: Directory | None, path: Path) -> Directory:
        if directory is None:
            raise StoreUnavailable(f"{path} was removed as soon as it was made", hint="try again")
        return directory
