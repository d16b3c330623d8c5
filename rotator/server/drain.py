"""How a server leaves without failing a request: it accepts no more, and lets each connection end itself.

The listening socket is shared with the parent process and the next server; what is not accepted here waits
there. Granian can only stop at once, which ends a connection whose next request is already on its way.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

Address = int | str | bytes
"""A TCP port, or the path of a Unix socket."""

_LOOK_EVERY: Final = 0.05  # seconds
_FDS: Final = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")


def open_files() -> set[str]:
    """Return the numbers of this process's open files."""
    return set(os.listdir(_FDS))  # noqa: PTH208 - as below


def stop_accepting(listener: int) -> None:
    """Accept no connection any more in this process, whoever waits for one.

    Each of its descriptors of the listening socket becomes one of a socket where nobody calls; granian,
    which cannot be told, finds nothing to accept there.
    """
    inode = os.fstat(listener).st_ino
    with socket.socket(fileno=os.dup(listener)) as own, socket.socket(own.family) as nowhere:
        # Of the same kind, for granian may only now be taking the listener over, and look at its address.
        if own.family == socket.AF_UNIX:
            nowhere.bind("")  # an address of the kernel's choice
        else:
            nowhere.bind(("::1" if own.family == socket.AF_INET6 else "127.0.0.1", 0))
        nowhere.listen(1)
        nowhere.setblocking(False)
        for number, status in _sockets():
            if status.st_ino == inode and number != own.fileno():
                os.dup2(nowhere.fileno(), number)


def address_of(listener: int) -> Address:
    """Return where a socket listens; what it accepts has the same port or path at this end."""
    with socket.socket(fileno=os.dup(listener)) as own:
        return _here(own)


async def clients_gone(address: Address, *, within: Callable[[], float]) -> bool:
    """Wait until no client is connected any more, or until a deadline.

    Args:
        address: where they came to.
        within: the deadline by `time.monotonic`, which may come nearer in between.

    Returns:
        Whether all are gone.
    """
    while any(True for _ in _clients(address)):
        if monotonic() >= within():
            return False
        await asyncio.sleep(_LOOK_EVERY)
    return True


def _clients(address: Address) -> Iterator[int]:
    for number, _ in _sockets():
        try:
            with socket.socket(fileno=os.dup(number)) as peer:
                listens = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if not listens and _here(peer) == address:
                    yield number
        except OSError:  # closed in between
            continue


def _here(own: socket.socket) -> Address:
    name = own.getsockname()
    here: Address = name[1] if isinstance(name, tuple) else name
    return here


def _sockets() -> Iterator[tuple[int, os.stat_result]]:
    for name in os.listdir(_FDS):  # noqa: PTH208 - thousands of names; a Path for each is not wanted
        try:
            status = os.fstat(int(name))
        except OSError:  # the descriptor of the listing itself, or one that was just closed
            continue
        if stat.S_ISSOCK(status.st_mode):
            yield int(name), status
