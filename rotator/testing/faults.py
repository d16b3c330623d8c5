"""Kill an operation before each of its system calls in turn, or let each of them fail, on real files.

Works on whatever calls `os` and `fcntl` through their modules, as `pathlib` and our own code do. Every run
is a process of its own, forked from this one: so call it from a process without threads, not from inside
pytest. Needs no test library.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

CALLS: Final[dict[ModuleType, tuple[str, ...]]] = {
    os: (
        *("open", "close", "read", "write", "pread", "pwrite", "fsync", "ftruncate", "truncate"),
        *("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "link", "symlink"),
        *("chmod", "fchmod", "chown", "fchown", "listdir", "scandir", "stat", "lstat", "fstat"),
    ),
    fcntl: ("flock", "lockf"),
}
"""The calls that count, by module."""

DISK_CALLS: Final = frozenset(
    {"open", "write", "fsync", "mkdir", "rename", "replace", "symlink", "link"}
)
"""The calls that a full or failing disk refuses."""

DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""What a full, failing or read-only disk answers."""

_WRITES: Final = frozenset({"write", "pwrite"})


@dataclass(frozen=True, slots=True)
class Run:
    """How one run ended.

    Args:
        number: which visit to a call was disturbed, counted from one.
        call: the name of that call; empty when the operation ended without reaching the number.
        outcome: `killed`; `done` when the operation returned; or the name of what it raised.
        message: the traceback of what it raised.
    """

    number: int
    call: str
    outcome: str
    message: str = ""


def kill_everywhere(operation: Callable[[], None], *, prepare: Callable[[], None]) -> Iterator[Run]:
    """Run an operation again and again, killed (SIGKILL) before its first call, its second, and so on.

    A write is killed once before it and once after half of its bytes.

    Args:
        prepare: called in this process before each run, to put things back as they were.

    Yields:
        Each run, as soon as its process is gone: look at what it left before asking for the next. The
        last one was not killed any more.
    """
    yield from _everywhere(operation, prepare, None, frozenset().union(*CALLS.values()))


def fail_everywhere(
    operation: Callable[[], None],
    error: int,
    *,
    prepare: Callable[[], None],
    calls: frozenset[str] = DISK_CALLS,
) -> Iterator[Run]:
    """Run an operation again and again, its first call failing with an error number, its second, and so on.

    Args:
        error: as in `errno`.
        prepare: called in this process before each run.
        calls: the names of the calls that count.

    Yields:
        Each run; nothing failed in the last.
    """
    yield from _everywhere(operation, prepare, error, calls)


def _everywhere(
    operation: Callable[[], None],
    prepare: Callable[[], None],
    error: int | None,
    calls: frozenset[str],
) -> Iterator[Run]:
    number, call = 0, "not begun"
    while call:
        number += 1
        prepare()
        run = _forked(operation, _Disturbance(number, error, calls))
        call = run.call
        yield run


class _Disturbance:
    """Counts the visits to system calls in this process, and disturbs one of them.

    Args:
        error: what the call fails with; None to be killed instead.
    """

    def __init__(self, number: int, error: int | None, calls: frozenset[str]) -> None:
        self.number = number
        self.reached = ""
        self._error = error
        self._calls = calls
        self._count = 0
        self._note: Callable[[str], object] = str

    def install(self, note: Callable[[str], object]) -> None:
        """Replace the calls; `note` hears the name of the one that is about to be disturbed."""
        self._note = note
        for module, names in CALLS.items():
            for name in self._calls.intersection(names):
                setattr(module, name, self._counted(name, getattr(module, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            if self._is_its_turn(name):
                self._disturb()
            if self._error is None and name in _WRITES and self._is_its_turn(f"half of {name}"):
                descriptor, data, *rest = arguments
                real(descriptor, bytes(data)[: len(data) // 2], *rest)
                self._disturb()
            return real(*arguments, **keywords)

        return counted

    def _is_its_turn(self, visit: str) -> bool:
        self._count += 1
        if self._count != self.number:
            return False
        self.reached = visit
        self._note(visit)
        return True

    def _disturb(self) -> None:
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        os.kill(os.getpid(), signal.SIGKILL)


def _forked(operation: Callable[[], None], disturbance: _Disturbance) -> Run:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_and_exit(operation, disturbance, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        call, _, said = pipe.read().decode("utf-8", "replace").partition("\n")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Run(disturbance.number, call, "killed")
    outcome, _, message = said.partition("\n")
    return Run(disturbance.number, call, outcome, message)


def _run_and_exit(operation: Callable[[], None], disturbance: _Disturbance, writer: int) -> None:
    """Run the operation in this, forked, process, say which call was disturbed and how it ended."""
    say, leave = os.write, os._exit
    outcome, message = "done", ""
    try:
        disturbance.install(lambda call: say(writer, f"{call}\n".encode()))
        operation()
    except BaseException as error:  # noqa: BLE001  # whatever it is, the parent is to hear of it
        outcome, message = type(error).__name__, "".join(traceback.format_exception(error))
    if not disturbance.reached:
        say(writer, b"\n")
    say(writer, f"{outcome}\n{message}".encode())
    leave(0)
