"""A directory whose files change all at once, because they are links into one that is switched.

The way of Kubernetes' AtomicWriter, so that a reader cannot tell this from a mounted Secret:

    signing.json -> ..data/signing.json      what readers open; never changes
    ..data -> ..0123456789abcdef             replaced by one rename
    ..0123456789abcdef/signing.json          written and fsynced before, removed after its time

A crash at any instruction leaves the old or the new files under the names that readers open. What it
leaves besides (a directory that is not live, a link that was not renamed) is a leftover.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from rotator.atomic import fsync_directory, write_new
from rotator.errors import StoreDenied, StoreUnavailable

LOCK: Final = "..lock"
_DATA: Final = "..data"
_LINK: Final = ".link"
_DIRECTORY: Final = re.compile(r"\.\.[0-9a-f]{16}")
_SCAFFOLD: Final = re.compile(r"\.\.[0-9a-f]{16}(\.link)?")
_NOT_CONTENT: Final = frozenset({LOCK, "lost+found"})


class Tree:
    """One such directory. Methods raise `OSError` where nothing else is said; callers translate it.

    Args:
        path: absolute; itself no symbolic link, for whoever may replace a link chooses who reads the key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stands(self) -> bool:
        """Tell whether the directory exists; False only when its parent does.

        Raises:
            StoreUnavailable: the parent does not exist: a file system may not be mounted.
            StoreDenied: something else stands there.
        """
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            if self.path.parent.is_dir():
                return False
            raise StoreUnavailable(
                f"the directory {self.path.parent} does not exist",
                hint=f"is a file system not mounted? otherwise `mkdir -p {self.path.parent}`",
            ) from None
        if stat.S_ISLNK(mode):
            raise StoreDenied(
                f"{self.path} is a symbolic link, which is not followed",
                hint="configure the directory that it points to",
            )
        if not stat.S_ISDIR(mode):
            raise StoreDenied(
                f"{self.path} is not a directory", hint="see what it is and move it out of the way"
            )
        return True

    def live(self) -> str | None:
        """Return the name of the directory that readers see, None when `..data` is not ours or missing."""
        target = _link_target(self.path / _DATA)
        return target if target is not None and _DIRECTORY.fullmatch(target) else None

    def linked(self, name: str) -> bool:
        """Tell whether a name that readers open is the link that it should be."""
        return _link_target(self.path / name) == f"{_DATA}/{name}"

    def strangers(self) -> list[str]:
        """Return the names in the directory that are not part of the mechanism, sorted."""
        names = (entry.name for entry in self.path.iterdir())
        return sorted(name for name in names if not self._scaffold(name))

    def _scaffold(self, name: str) -> bool:
        if name in _NOT_CONTENT or _SCAFFOLD.fullmatch(name) or self.linked(name):
            return True
        return name == _DATA and self.live() is not None

    def leftovers(self) -> list[str]:
        """Return what writers left behind; while one is at work, its unfinished work is among it."""
        live = self.live()
        names = (entry.name for entry in self.path.iterdir())
        return sorted(name for name in names if _SCAFFOLD.fullmatch(name) and name != live)

    def abandoned(self) -> list[str]:
        """Return the leftovers that no writer at work will take away; needs no lock."""
        found = self.leftovers()
        if not found or self._busy():
            return []
        # A writer may have come to its end between the two lines above.
        return [name for name in self.leftovers() if name in found]

    def _busy(self) -> bool:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path / LOCK, flags)
        except OSError:  # it is gone, or not ours to read: then nobody can be asked
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def create(self, mode: int) -> None:
        """Create the directory durably; harmless when somebody else just did."""
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(0o700)
            self.path.chmod(mode)
            fsync_directory(self.path.parent)

    def sweep(self) -> None:
        """Remove leftovers; hold the lock. The live directory stays whatever happens."""
        import shutil  # 10 ms to load; a look has no need of it

        for name in self.leftovers():
            leftover = self.path / name
            if leftover.is_symlink():
                leftover.unlink()
            else:
                shutil.rmtree(leftover)

    def switch(
        self, files: Mapping[str, bytes], hidden: Mapping[str, bytes], mode: int, gid: int
    ) -> None:
        """Replace all files at once; hold the lock.

        Args:
            files: by the name that readers open.
            hidden: written beside them, without a name for readers.
            mode: permission bits of the files; those of the directory follow from them.
            gid: the group of all of it; -1 leaves what the system gives.
        """
        unique = f"..{os.urandom(8).hex()}"
        try:
            self._fill(self.path / unique, {**files, **hidden}, mode, gid)
            # Before the switch: on a first write all names then begin to exist in one instant.
            for name in files:
                with contextlib.suppress(FileExistsError):
                    (self.path / name).symlink_to(f"{_DATA}/{name}")
            self._point(_DATA, unique)
        except BaseException:
            if self.live() != unique:
                import shutil

                shutil.rmtree(self.path / unique, ignore_errors=True)
            raise
        for name in files:
            if not self.linked(name):  # somebody's file stands there; the core knows and said so
                self._point(name, f"{_DATA}/{name}")
        self._unlink_all_but(files)
        # Durable before the old files go: after a power cut `..data` must not point at nothing.
        fsync_directory(self.path)
        self.sweep()

    def _fill(self, directory: Path, files: Mapping[str, bytes], mode: int, gid: int) -> None:
        directory.mkdir(0o700)
        if gid != -1:
            os.chown(directory, -1, gid)
        for name, data in files.items():
            write_new(directory / name, data, mode, gid)
        directory.chmod(directory_mode(mode))
        fsync_directory(directory)

    def _point(self, name: str, target: str) -> None:
        link = self.path / f"..{os.urandom(8).hex()}{_LINK}"
        link.symlink_to(target)
        try:
            link.rename(self.path / name)
        except BaseException:
            with contextlib.suppress(OSError):
                link.unlink()
            raise

    def _unlink_all_but(self, names: Iterable[str]) -> None:
        for entry in list(self.path.iterdir()):
            if entry.name not in names and self.linked(entry.name):
                entry.unlink()


def directory_mode(mode: int) -> int:
    """Return the bits of a directory whose files have `mode`: whoever reads them may enter it."""
    return mode | (mode & 0o444) >> 2 | 0o700


def _link_target(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # it exists and is no link
            return None
        raise
