"""Running somebody else's program, bounded whatever it does: in time, in output, in what it leaves running."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What such a program has of our environment: the rest may hold credentials."""

_GLANCE: Final = 0.05  # seconds between two looks at whether it has ended
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: what it printed, and why that is worth nothing (empty when all went well)."""

    output: bytes = field(repr=False)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """How a program is run.

    Attributes:
        timeout: seconds.
        limit: how many bytes of its output are kept.
        last: keep the last ones of all that it prints, stderr too, and keep them when it fails; else the
            first ones of stdout, and more than that is a failure.
        feed: what it reads from stdin, less than a pipe holds; None leaves it without.
        more: what its environment has beside `KEPT`.
        stop: asked several times a second; True ends it as its timeout does.
    """

    timeout: float
    limit: int
    last: bool = False
    feed: bytes | None = field(default=None, repr=False)
    more: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[], bool] | None = None


def run_bounded(command: Sequence[str], *, timeout: float, limit: int) -> Ended:
    """Run a program to its end and return what it wrote to stdout; see `run`."""
    return run(command, Run(timeout, limit))


def run(command: Sequence[str], how: Run) -> Ended:
    """Run a program to its end.

    It has a session of its own, so that all it started is killed with it: at its timeout, when it prints too
    much, and at its end. Its stderr is dropped unless its last output is asked for, for nobody knows what is
    in there.

    Args:
        command: program and arguments; no shell.
    """
    deadline = time.monotonic() + how.timeout
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - what the operator configured
            list(command),
            stdin=subprocess.DEVNULL if how.feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if how.last else subprocess.DEVNULL,
            env={**kept, **how.more},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has a null byte in it"
        return Ended(b"", f"cannot be run: {why}")
    output = bytearray()
    try:
        _feed(process, how.feed)
        failure = _read(process, deadline, how, output)
        if not failure and not _ended(process, deadline, how):
            failure = _late(how.timeout)
    except TimeoutError:
        failure = _late(how.timeout)
    finally:
        _end(process)
    if not failure and process.returncode:
        failure = _status(process.returncode)
    return Ended(bytes(output) if how.last or not failure else b"", failure)


def _feed(process: subprocess.Popen[bytes], content: bytes | None) -> None:
    """Give a program its stdin, whether it reads it or not: a pipe holds 64 KiB (pipe(7))."""
    if process.stdin is None or content is None:
        return
    with contextlib.suppress(BrokenPipeError, BlockingIOError), process.stdin as pipe:
        os.set_blocking(pipe.fileno(), False)
        os.write(pipe.fileno(), content)


def _late(timeout: float) -> str:
    return f"did not end within {timeout:g} s and was killed"


def _status(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _read(process: subprocess.Popen[bytes], deadline: float, how: Run, output: bytearray) -> str:
    """Take what it prints until it closes its output or ends, whichever comes first; return what failed.

    Raises:
        TimeoutError: neither, until the deadline.
    """
    pipe = process.stdout
    assert pipe is not None  # noqa: S101 - for the type: it was asked for
    while True:
        over = _has_ended(process)
        # What it left running may hold its output open for ever: after its end only what is there is read.
        wait = 0.0 if over else min(_GLANCE, max(0.0, deadline - time.monotonic()))
        if _readable(pipe.fileno(), wait):
            piece = os.read(pipe.fileno(), _PIECE)
            output += piece
            if len(output) > how.limit:
                if not how.last:
                    return f"printed more than {how.limit} bytes"
                del output[: -how.limit]
            if not piece:
                return ""
        elif over:
            return ""
        # Not only while it runs: what it left running may print for ever.
        if time.monotonic() >= deadline or _stopped(how):
            raise TimeoutError


def _ended(process: subprocess.Popen[bytes], deadline: float, how: Run) -> bool:
    """Wait for the end of a program that has closed its output; False when it does not come."""
    while not _has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0 or _stopped(how):
            return False
        select.select([], [], [], min(_GLANCE, left))
    return True


def _readable(descriptor: int, seconds: float) -> bool:
    """Wait for output, or for its end; not by select(2), which knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _stopped(how: Run) -> bool:
    return how.stop is not None and how.stop()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether it has ended, and leave it a zombie: as long as it is one, its group's number is its own."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
