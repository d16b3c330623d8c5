"""Files that are replaced as a whole or not at all, locks between processes, and what their errors mean.

Everything here is for local file systems: `flock(2)` and an atomic `rename(2)` are presumed. A crash at
any instruction leaves either the old or the new content under the final name, and at most one temporary
file beside it, which `remove_leftovers` takes away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rotator.errors import StoreCorrupt, StoreDenied, StoreError, StoreUnavailable

LIMIT: Final = 1 << 20
"""How many bytes of a document are read at most; ours are below 64 KiB."""

_POLL: Final = 0.02  # seconds between two tries at a lock
_LEFTOVER: Final = ".tmp~"

_DENIED = (
    StoreDenied,
    "let uid {uid} read and write {place} and enter the directories above it",
)
_SYMLINK = (
    StoreDenied,
    "{place} is a symbolic link, which is never followed here; name its target",
)
_IN_THE_WAY = (StoreDenied, "see what stands at {place} and move it out of the way")
_ABSENT = (
    StoreUnavailable,
    "is a file system not mounted? otherwise create the directory of {place}",
)
_READ_ONLY = (StoreUnavailable, "mount the file system for writing")
_FULL = (StoreUnavailable, "free some space or raise the quota; what was there is unchanged")
_BROKEN = (StoreUnavailable, "look at the kernel log: the disk or its mount is failing")
_FILES = (StoreUnavailable, "raise the limit of open files (`ulimit -n`)")

_MEANING: Final[dict[int, tuple[type[StoreError], str]]] = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ELOOP: _SYMLINK,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTEMPTY: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENAMETOOLONG: _IN_THE_WAY,
    errno.ENOENT: _ABSENT,
    errno.EROFS: _READ_ONLY,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EIO: _BROKEN,
    errno.ESTALE: _BROKEN,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
}
"""What a person can do about an error number. What may pass by itself is unavailable, not denied."""


def translate(error: OSError, what: str) -> StoreError:
    """Say what a failed system call means to a store or a target.

    Args:
        error: what the system call raised.
        what: which file of which key set, store or target, for the message.

    Returns:
        StoreDenied for a missing permission or something in the way that only a person can move;
        StoreUnavailable for what may be gone at the next try. The caller raises it `from` the error.
    """
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    message = f"{what}: {reason[:1].lower()}{reason[1:]}"
    # A rename names two paths, and what is in its way stands at the second.
    named = error.filename if error.filename2 is None else error.filename2
    place = os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else "its path"
    kind, hint = _MEANING.get(error.errno or 0, (StoreUnavailable, ""))
    return kind(message, hint=hint.format(place=place, uid=os.geteuid()))


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    """Turn every `OSError` of the block into the `StoreError` that `translate` makes of it."""
    try:
        yield
    except OSError as error:
        raise translate(error, what) from error


def read_regular(path: Path, limit: int = LIMIT) -> bytes | None:
    """Return the bytes of a regular file, or None when its name does not exist.

    Never follows a symbolic link at the last component and never hangs on a FIFO. None says nothing
    about the directory: whoever takes it for "nothing there" checks that the directory exists.

    Args:
        limit: how many bytes the file may have.

    Raises:
        StoreCorrupt: not a regular file, or longer than `limit`.
        StoreDenied, StoreUnavailable: as `translate` says.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            raise _not_regular(path) from error
        raise translate(error, f"cannot open {path}") from error
    data = bytearray()
    try:
        with translating(f"cannot read {path}"):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _not_regular(path)
            # Not by st_size: the file may grow while it is read.
            while len(data) <= limit and (piece := os.read(descriptor, limit + 1 - len(data))):
                data += piece
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise StoreCorrupt(
            f"{path} is longer than {limit} bytes",
            hint="nothing of ours is; see what it is and move it away",
        )
    return bytes(data)


def _not_regular(path: Path) -> StoreCorrupt:
    return StoreCorrupt(f"{path} is not a regular file", hint="see what it is and move it away")


def write_new(path: Path, data: bytes, mode: int, group: int = -1) -> None:
    """Write a file that must not exist yet, and make it durable; on failure nothing of it is left.

    Args:
        mode: its permission bits, whatever the umask says.
        group: the gid that it shall have; -1 leaves the one that the system gives.

    Raises:
        OSError: as the system said; wrap the call in `translating`.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if group != -1:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)  # last: nobody else reads a file that is not whole
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file, or create it, so that every reader and every crash sees it old or new, never mixed.

    Writes a temporary file beside it, fsyncs it, renames it and fsyncs the directory. A symbolic link
    at `path` is replaced itself, never followed. The caller holds the lock when others write too.

    Raises:
        StoreDenied, StoreUnavailable: as `translate` says; what was there is unchanged, and the temporary
            file is gone. The one exception is an fsync of the directory that fails after the rename.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}{_LEFTOVER}")
    with translating(f"cannot write {path}"):
        write_new(temporary, data, mode)
        try:
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        fsync_directory(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that crashed writers of `path` left beside it; hold the lock.

    Raises:
        StoreDenied, StoreUnavailable: as `translate` says.
    """
    prefix = f".{path.name}."
    with translating(f"cannot tidy {path.parent}"):
        for beside in path.parent.iterdir():
            if beside.name.startswith(prefix) and beside.name.endswith(_LEFTOVER):
                beside.unlink(missing_ok=True)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: as the system said; wrap the call in `translating`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, timeout: float = 10.0) -> Iterator[None]:
    """Hold an exclusive `flock(2)` on a lock file, which is created when missing and never removed.

    The kernel lets go of the lock when its holder dies, however it dies. The file names the holder's pid,
    for the message only.

    Args:
        timeout: seconds to try, without ever blocking in the kernel.

    Raises:
        StoreUnavailable: another process, or another thread of this one, holds it all that time.
        StoreDenied: the lock file cannot be opened, or is a symbolic link.
    """
    with translating(f"cannot lock {path}"):
        descriptor = _acquire(path, time.monotonic() + timeout)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path, deadline: float) -> int:
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                _sign(descriptor)
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise StoreUnavailable(
                    f"another process{holder} holds the lock {path}",
                    hint="it is tried again; a stopped process must be continued or ended",
                ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_POLL)


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether the locked file is the one that others would lock: somebody may have removed it."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    # A full disk must not keep anybody from taking the lock: the pid is a courtesy.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        pid = os.pread(descriptor, 32, 0).strip()
    except OSError:
        return ""
    return f" (pid {int(pid)})" if pid.isdigit() else ""
