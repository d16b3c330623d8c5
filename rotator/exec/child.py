"""Starting a command: what happens between fork and exec, in the words of fork(2), setpgid(2), tcsetpgrp(3)."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NoReturn

from rotator.errors import RotatorError
from rotator.exec import linux
from rotator.exec.handing import DESCRIPTOR

# What this process ignores and the command must not: two by Python (subprocess's `restore_signals`), one by us.
_RESTORED: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU)


class CommandError(RotatorError):
    """The command cannot be executed: 127 when it is missing, 126 when it may not or cannot run (env(1))."""

    def __init__(self, command: str, error: OSError) -> None:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        reason = os.strerror(error.errno or 0)
        super().__init__(
            f"{command!r} cannot be executed: {reason[:1].lower()}{reason[1:]}",
            hint="it is looked for in PATH; a shell's own words need `-- sh -c '…'`"
            if missing
            else "is it a program, for this machine, with the permission to execute it?",
        )
        self.exit_code = 127 if missing else 126


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    descriptor: int | None,
    *,
    ended_by: signal.Signals,
    foreground: bool,
) -> int:
    """Start a command in a process group of its own, which has the terminal if this process has it.

    It inherits what this process inherited: descriptors, ignored signals, limits, directory. Sockets of the
    service manager (LISTEN_FDS, sd_listen_fds(3)) are passed on to it.

    Args:
        descriptor: a file for it, as number `DESCRIPTOR`.
        ended_by: the signal it gets if this process is killed.
        foreground: whether it takes the terminal that is this process's standard input.

    Returns:
        Its process id, which is also its group's.

    Raises:
        CommandError: it cannot be executed.
        OSError: there is no process or descriptor to be had.
    """
    parent, failure = os.getpid(), os.pipe()
    try:
        # Nothing may be lost, or answered by our own handlers, between fork and exec.
        with _blocked() as mask:
            pid = os.fork()
            if pid == 0:
                try:
                    linux.die_with(parent, ended_by)
                    os.setpgid(0, 0)
                    if foreground:
                        os.tcsetpgrp(0, os.getpid())
                    _execute(command, environ, descriptor, mask, parent)
                except OSError as error:
                    os.write(failure[1], struct.pack("i", error.errno or 0))
                finally:
                    os._exit(127)
        os.close(failure[1])
        failed = os.read(failure[0], 8)
    finally:
        for end in failure:
            with contextlib.suppress(OSError):
                os.close(end)
    if failed:
        os.waitpid(pid, 0)
        raise CommandError(command[0], OSError(struct.unpack("i", failed)[0], ""))
    return pid


@contextlib.contextmanager
def _blocked() -> Iterator[set[signal.Signals | int]]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _execute(
    command: Sequence[str],
    environ: Mapping[str, str],
    descriptor: int | None,
    mask: set[signal.Signals | int],
    parent: int,
) -> NoReturn:
    if descriptor is not None:
        os.dup2(descriptor, DESCRIPTOR, inheritable=True)
    made = dict(environ)
    if made.get("LISTEN_PID") == str(parent):
        made["LISTEN_PID"] = str(os.getpid())
    for number in signal.valid_signals():
        # Handlers go with exec by themselves, but one could still run before it.
        if callable(signal.getsignal(number)) or number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execvpe(command[0], list(command), made)  # noqa: S606 - running it is what was asked for


def fork(
    work: Callable[[], object], *keeping: int, ended_by: signal.Signals = signal.SIGKILL
) -> int:
    """Do some work in a fork of this process, which leaves the command's signals alone.

    Args:
        ended_by: the signal that it gets when this process ends.
        keeping: the descriptors beside standard error that it goes on with; all others are closed.

    Returns:
        Its process id.
    """
    parent = os.getpid()
    with _blocked():
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    # Meant for the command; a service manager may send them to all processes at once.
                    signal.signal(number, signal.SIG_IGN)
                linux.die_with(parent, ended_by)
                os.setpgid(0, 0)
                _close_all_but({2, *keeping})
                signal.pthread_sigmask(signal.SIG_SETMASK, set())
                work()
                code = 0
            finally:
                os._exit(code)
    return pid


def _close_all_but(keeping: set[int]) -> None:
    begin = 3
    for kept in (*sorted(number for number in keeping if number > 2), os.sysconf("SC_OPEN_MAX")):
        os.closerange(begin, kept)
        begin = kept + 1
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)  # the command's own, and whoever reads its output waits for the end of it
    os.dup2(null, 1)
    os.close(null)
