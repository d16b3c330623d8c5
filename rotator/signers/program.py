"""Running somebody else's program, bounded whatever it does: in time, in output, in what it leaves running."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What such a program has of our environment: the rest may hold credentials."""

_GLANCE: Final = 0.05  # seconds between two looks at whether it has ended
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: what it printed, or why that is worth nothing (empty when all went well)."""

    output: bytes = field(repr=False)
    failure: str = ""


def run_bounded(command: Sequence[str], *, timeout: float, limit: int) -> Ended:
    """Run a program to its end and return what it wrote to stdout.

    It has a session of its own, so that all it started is killed with it: at its timeout, when it prints too
    much, and at its end. It has no stdin; its stderr is dropped, for nobody knows what is in there.

    Args:
        command: program and arguments; no shell.
        timeout: seconds.
        limit: how many bytes of output are taken.
    """
    deadline = time.monotonic() + timeout
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        process = subprocess.Popen(  # noqa: S603 - what the operator configured
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has a null byte in it"
        return Ended(b"", f"cannot be run: {why}")
    try:
        output, failure = _read(process, deadline, limit)
        if not failure and not _ended(process, deadline):
            failure = _late(timeout)
    except TimeoutError:
        output, failure = b"", _late(timeout)
    finally:
        _end(process)
    if not failure and process.returncode:
        failure = _status(process.returncode)
    return Ended(b"" if failure else output, failure)


def _late(timeout: float) -> str:
    return f"did not end within {timeout:g} s and was killed"


def _status(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _read(process: subprocess.Popen[bytes], deadline: float, limit: int) -> tuple[bytes, str]:
    """Return what it printed until it closed its output or ended, whichever came first.

    Raises:
        TimeoutError: neither, until the deadline.
    """
    pipe = process.stdout
    assert pipe is not None  # noqa: S101 - for the type: it was asked for
    output = bytearray()
    while True:
        over = _has_ended(process)
        # What it left running may hold its output open for ever: after its end only what is there is read.
        wait = 0.0 if over else min(_GLANCE, max(0.0, deadline - time.monotonic()))
        if select.select([pipe], [], [], wait)[0]:
            piece = os.read(pipe.fileno(), _PIECE)
            output += piece
            if len(output) > limit:
                return b"", f"printed more than {limit} bytes"
            if not piece:
                return bytes(output), ""
        elif over:
            return bytes(output), ""
        if not over and time.monotonic() >= deadline:
            raise TimeoutError


def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait for the end of a program that has closed its output; False when it does not come."""
    while not _has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        select.select([], [], [], min(_GLANCE, left))
    return True


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
