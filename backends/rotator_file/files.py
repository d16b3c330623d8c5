"""Files that are replaced as a whole or not at all, inside a directory that is already open.

Every call names a file by an open directory and a plain name, so that nobody can slip a symbolic link
in between a check and its use. A local file system is presumed: `flock(2)` that works between all who
write, and a `rename(2)` that is atomic. A crash at any instruction leaves the old or the new content
under the final name, and at most one temporary file, which the next holder of the lock removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rotator.plugin import StoreUnavailable
from rotator_file.meaning import (
    explained,
    not_regular,
    require_private,
    symlink_refused,
    too_long,
)

LIMIT: Final = 1 << 20
"""How many bytes a file may have; a full ring is below 48 KiB."""

LOCK: Final = "lock"

_POLL: Final = 0.02  # seconds between two tries at the lock
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{16}\.tmp~")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory: its descriptor, its path for messages, and the uids whose files are trusted."""

    descriptor: int
    path: Path
    owners: frozenset[int]


def read_file(directory: Directory, name: str, *, private: bool = True) -> bytes | None:
    """Return the bytes of a regular file, or None when its name does not exist.

    Args:
        private: whether to refuse a file that others may use.

    Raises:
        StoreDenied: a symbolic link, somebody else's, or open to others.
        StoreCorrupt: not a regular file, or longer than `LIMIT`.
        StoreUnavailable: the file system gave no answer.
    """
    place = directory.path / name
    with explained("read", place):
        descriptor = _open(directory, name, _READ)
        if descriptor is None:
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise not_regular(place)
            if private:
                require_private(found, place, directory.owners)
            data = bytearray()
            # Not by st_size: the file may grow while it is read.
            while len(data) <= LIMIT and (piece := os.read(descriptor, LIMIT + 1 - len(data))):
                data += piece
        finally:
            os.close(descriptor)
    if len(data) > LIMIT:
        raise too_long(place, LIMIT)
    return bytes(data)


def _open(directory: Directory, name: str, flags: int) -> int | None:
    try:
        return os.open(name, flags, 0o600, dir_fd=directory.descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise symlink_refused(directory.path / name) from error
        # A directory opened for writing, a socket, a device without a driver.
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise not_regular(directory.path / name) from error
        raise


def replace_file(directory: Directory, name: str, data: bytes) -> None:
    """Replace a file, or create it, so that every reader and every crash sees it old or new. Hold the lock.

    Raises:
        StoreCorrupt: `data` is longer than what would be read again.
        StoreDenied, StoreUnavailable: what was there is unchanged and the temporary file gone. The one
            exception is a directory that cannot be fsynced after the rename: then the new file is in
            place, perhaps not durably, and the next read shows it.
    """
    place = directory.path / name
    if len(data) > LIMIT:
        raise too_long(place, LIMIT)
    temporary = f".{name}.{os.urandom(8).hex()}.tmp~"
    with explained("write", place):
        try:
            _write_new(directory, temporary, data)
            os.rename(
                temporary,
                name,
                src_dir_fd=directory.descriptor,
                dst_dir_fd=directory.descriptor,
            )
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory.descriptor)
            raise
        os.fsync(directory.descriptor)


def _write_new(directory: Directory, name: str, data: bytes) -> None:
    descriptor = os.open(name, _CREATE, 0o600, dir_fd=directory.descriptor)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(directory: Directory, name: str) -> None:
    """Remove a file for good; harmless when it is not there. Hold the lock.

    The directory is fsynced in either case: who removed it before may have died before he could.
    """
    with explained("remove", directory.path / name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory.descriptor)
        os.fsync(directory.descriptor)


def listing(directory: Directory) -> list[str]:
    """Return the names in an open directory, sorted.

    Raises:
        OSError: as the system said; wrap the call in `explained`.
    """
    return sorted(os.listdir(directory.descriptor))  # noqa: PTH208  # a path cannot name what is open


def remove_leftovers(directory: Directory) -> None:
    """Remove the temporary files of crashed writers, which may hold key material. Hold the lock."""
    with explained("tidy", directory.path):
        for name in listing(directory):
            if _TEMPORARY.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory.descriptor)


@contextlib.contextmanager
def locked(directory: Directory, timeout: float) -> Iterator[None]:
    """Hold the lock of a key set, which the kernel takes back when its holder dies, however it dies.

    The lock file is made when missing and never removed; the pid in it is for the message only.

    Args:
        timeout: seconds to try, without ever blocking in the kernel.

    Raises:
        StoreUnavailable: another process, or another thread of this one, held it all that time; or the
            directory was moved away.
        StoreDenied, StoreCorrupt: something else stands in the place of the lock file.
    """
    place = directory.path / LOCK
    with explained("lock", place):
        descriptor = _open(directory, LOCK, _LOCK)
    if descriptor is None:  # O_CREAT finds nothing only in a directory that was removed
        raise _moved(directory.path)
    try:
        with explained("lock", place):
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise not_regular(place)
            require_private(found, place, directory.owners)
            _wait(descriptor, place, time.monotonic() + timeout)
            if not _is_still(place, found):
                raise _moved(place)
            _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, place: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"another process{_holder(descriptor)} holds the lock {place}",
                    hint="it is tried again; a stopped process must be continued or ended",
                ) from None
        else:
            return
        time.sleep(_POLL)


def _is_still(place: Path, found: os.stat_result) -> bool:
    """Tell whether the file locked is the one that others would lock, and its directory where it was."""
    try:
        return os.path.samestat(os.lstat(place), found)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _moved(place: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"{place} was moved away or replaced while it was in use",
        hint="it is tried again; stop every rotator before restoring a backup",
    )


def _sign(descriptor: int) -> None:
    # A full disk must not keep anybody from holding the lock: the pid is a courtesy.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        pid = os.pread(descriptor, 32, 0).strip()
    except OSError:
        return ""
    return f" (pid {int(pid)})" if pid.isdigit() else ""
