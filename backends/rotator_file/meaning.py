"""What the errors and modes that a file system shows mean to a store, and what a person can do."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rotator.plugin import StoreCorrupt, StoreDenied, StoreError, StoreUnavailable

_FULL = "free some space, inodes or quota; what was there before is unchanged"
_READ_ONLY = "mount the file system for writing; what was there before is unchanged"
_FAILING = "look at the kernel log: the disk or its mount is failing"
_LATER = "it is tried again"

_UNAVAILABLE: Final[dict[int, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit of file sizes (`ulimit -f`); what was there before is unchanged",
    errno.EROFS: _READ_ONLY,
    errno.EIO: _FAILING,
    errno.ESTALE: _FAILING,
    errno.ENOENT: "something was moved away while it was in use; is a file system not mounted?",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit of open files (sysctl fs.file-max)",
}


def explain(error: OSError, doing: str, place: Path) -> StoreError:
    """Return what a failed system call means; the caller raises it `from` the error.

    Args:
        doing: what was tried, a verb in the infinitive (`write`).
        place: the file or directory it was tried on.

    Returns:
        StoreDenied for a missing permission or something in the way that only a person can move;
        StoreUnavailable for all that may be gone at the next try.
    """
    number = error.errno or 0
    reason = os.strerror(number) if number else type(error).__name__
    message = f"cannot {doing} {place}: {reason[:1].lower()}{reason[1:]}"
    if number in (errno.EACCES, errno.EPERM):
        hint = f"let uid {os.geteuid()} own {place} and enter the directories above it"
        return StoreDenied(message, hint=hint)
    if number in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        return StoreDenied(message, hint=f"see what stands at {place} and move it out of the way")
    return StoreUnavailable(message, hint=_UNAVAILABLE.get(number, _LATER))


@contextlib.contextmanager
def explained(doing: str, place: Path) -> Iterator[None]:
    """Turn every `OSError` of the block into the `StoreError` that `explain` makes of it."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing, place) from error


def symlink_refused(place: Path) -> StoreDenied:
    """Return the refusal of a symbolic link where one of our own files or directories belongs."""
    return StoreDenied(
        f"{place} is a symbolic link, and the file store follows none",
        hint="configure or move there what it points to",
    )


def not_regular(place: Path) -> StoreCorrupt:
    """Return the refusal of a directory, FIFO, socket or device where a file belongs."""
    return StoreCorrupt(f"{place} is not a regular file", hint="see what it is and move it away")


def too_long(place: Path, limit: int) -> StoreCorrupt:
    """Return the refusal of a file that is longer than anything of ours."""
    return StoreCorrupt(
        f"{place} is longer than {limit} bytes", hint="see what it is and move it away"
    )


def require_private(found: os.stat_result, place: Path, owners: frozenset[int]) -> None:
    """Refuse a file or directory of ours that others may read or write, or that others own.

    The set-group-ID bit that a directory inherits is no permission and is left alone.

    Args:
        owners: the uids whose files are trusted.

    Raises:
        StoreDenied: the hint is the command that mends it.
    """
    import shlex

    quoted = shlex.quote(str(place))
    if found.st_uid not in owners:
        raise StoreDenied(
            f"{place} belongs to uid {found.st_uid}, and this process is uid {os.geteuid()}",
            hint=f"run as that user, or give it to this one: chown -R {os.geteuid()} {quoted}",
        )
    if found.st_mode & 0o077:
        strict = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise StoreDenied(
            f"{place} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner may use it",
            hint=f"see who had access, then: chmod {strict} {quoted}",
        )
