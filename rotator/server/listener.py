"""Where the server listens: TCP, a Unix socket, what systemd hands over, and what an older daemon passes on."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
import stat
import struct
import threading
from pathlib import Path
from typing import Final

from rotator.errors import ConfigError, TargetFailing
from rotator.sockets import listen

BACKLOG: Final = 1024
UNIX: Final = "unix:"
_FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_ASKING: Final = 2.0  # seconds
_WORD: Final = b"rotator.handover/1\n"


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket: systemd's, if it passed one for this address, or else a new one.

    Args:
        host: address or name; `::` serves IPv4 too; `unix:/PATH` is a Unix socket, readable for all.
        port: TCP port; 0 takes a free one. Of no meaning for a Unix socket.

    Raises:
        TargetFailing: another program listens there; worth trying again.
        ConfigError: an address that this host does not have, or may not use.
    """
    if (passed := _passed_by_systemd(host, port)) is not None:
        return passed
    if host.startswith(UNIX):
        return _bind_unix(Path(host.removeprefix(UNIX)))
    return listen(host, port, backlog=BACKLOG, option="server.listen")


def _bind_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_dead(path)
        listener.bind(str(path))
        # What is served is public. Whoever must not reach it is kept out by the directory.
        path.chmod(0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise TargetFailing(
                f"cannot listen at {path}: another program does, or it is no socket",
                hint=f"end it (`ss -lxp src {path}` names it), remove the file, or change `server.listen`",
            ) from error
        raise ConfigError(
            f"cannot listen at {path}: {error.strerror or error}",
            hint="`server.listen` needs a directory that exists and that this user may write to, and a path "
            "of at most 107 bytes",
        ) from error
    return listener


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens at: the kernel leaves it behind."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(1.0)
            try:
                caller.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            except OSError:  # somebody is there, if too busy to answer
                return


def _passed_by_systemd(host: str, port: int) -> socket.socket | None:
    """Return the socket that systemd passed for an address (sd_listen_fds(3)), if it passed one.

    systemd keeps it open between two processes: what connects meanwhile waits, and is not refused.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "")
    for number in range(_FIRST_PASSED, _FIRST_PASSED + (int(count) if count.isdecimal() else 0)):
        try:
            found = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        os.set_inheritable(number, False)
        if _is_at(found, host, port):
            return found
        found.close()
    return None


def _is_at(found: socket.socket, host: str, port: int) -> bool:
    """Tell whether a socket listens at an address."""
    try:
        if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return False
        name = found.getsockname()
    except OSError:
        return False
    if host.startswith(UNIX):
        return bool(name == host.removeprefix(UNIX))
    if found.family not in {socket.AF_INET, socket.AF_INET6} or name[1] != port:
        return False
    with contextlib.suppress(OSError):
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return any(str(address[0]) == name[0] for *_, address in known)
    return False


class Handover:
    """Passes the listening socket on to the daemon that replaces this one, through a socket beside the state.

    Both then accept from the same queue, so this one may end whenever it likes and no connection is refused.
    Only a process of the same user, or root, gets it. The door of an older daemon is kept beside ours: this one
    may end before that, and then the older one is to be asked again.

    Args:
        path: where to be asked; what a process that is gone left there is replaced.
        listener: the listening socket to pass on.
    """

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self._path = path
        self._listener = listener
        self._door: socket.socket | None = None
        door = socket.socket(socket.AF_UNIX)
        try:
            _remove_dead(path)
            with contextlib.suppress(FileNotFoundError):
                path.rename(_older(path))
            door.bind(str(path))
            path.chmod(0o600)
            door.listen(4)
            self._inode = path.lstat().st_ino
        except OSError:  # no handover then; nothing else depends on it
            door.close()
            return
        self._door = door
        threading.Thread(target=self._answer, args=(door,), name="handover", daemon=True).start()

    def close(self) -> None:
        """Pass nothing on any more."""
        if self._door is None:
            return
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for path in (self._path, _older(self._path)):  # the next daemon may have put its own there
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == self._inode:
                    path.unlink()

    def _answer(self, door: socket.socket) -> None:
        while True:
            try:
                caller, _ = door.accept()
            except OSError:  # closed
                return
            with caller, contextlib.suppress(OSError):
                caller.settimeout(_ASKING)
                if _user_of(caller) in {0, os.geteuid()}:
                    fds = array.array("i", [self._listener.fileno()])
                    caller.sendmsg([_WORD], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def _older(path: Path) -> Path:
    return path.with_name(f"{path.stem}-older{path.suffix}")


def _user_of(peer: socket.socket) -> int:
    """Return who is at the other end; whoever is, may have opened a socket of mode 0600 (unix(7))."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    size = struct.calcsize("3i")
    _pid, user, _group = struct.unpack(
        "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(user)


def ask_for(path: Path, host: str, port: int) -> socket.socket | None:
    """Return the listening socket of the daemon that is asked at a path, None if it does not listen there.

    Where the youngest is gone, or listens elsewhere, the one before it is asked.
    """
    return _asked_at(path, host, port) or _asked_at(_older(path), host, port)


def _asked_at(path: Path, host: str, port: int) -> socket.socket | None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(_ASKING)
        caller.connect(str(path))
        if _user_of(caller) not in {0, os.geteuid()}:
            return None
        word, fds, _flags, _ = socket.recv_fds(caller, len(_WORD), 1)
        passed = [socket.socket(fileno=number) for number in fds]
        if word == _WORD and passed and _is_at(passed[0], host, port):
            return passed[0]
        for one in passed:
            one.close()
    return None
