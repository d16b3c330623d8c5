"""What only Linux has, and the standard library does not offer: prctl(2), and who descends from whom."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Final

from rotator.errors import UsageError

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36

# Loaded before any fork: a forked process should do as little as possible before its exec.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def require_linux() -> None:
    """Refuse any other system.

    Raises:
        UsageError: this is not Linux.
    """
    if _prctl is None:
        raise UsageError(
            f"`rotator exec` needs Linux: {sys.platform} has no sealed memory files",
            hint="deliver the key as files, or through a store that your program reads",
        )


def now() -> float:
    """Return the seconds of a clock that nobody sets and that goes on during a suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def conceal() -> None:
    """Let no other process of this user look into this one, and leave no core dump (PR_SET_DUMPABLE, prctl(2)).

    Forks inherit it, programs that are executed do not.
    """
    _call(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, as PID 1 is (PR_SET_CHILD_SUBREAPER)."""
    _call(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, number: int) -> None:
    """Get a signal when the parent ends (PR_SET_PDEATHSIG); the process ends here if it has already.

    Args:
        parent: its process id, taken before the fork.
        number: the signal.
    """
    _call(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(128 + number)


def _call(option: int, value: int) -> None:
    if _prctl is not None and _prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def children() -> list[int]:
    """Return the process ids of this process's children, orphans that it adopted and zombies included."""
    try:
        return [int(pid) for pid in Path("/proc/thread-self/children").read_bytes().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        us = os.getpid()
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if _parent(pid) == us]


def descends(pid: int) -> bool:
    """Tell whether a process is this one's child, or a child's child; False when it is gone."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    """Return the parent of a process, 0 when it is gone."""
    try:
        # The name in parentheses may hold anything; the parent is the second field after it.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
