"""How a server leaves without failing a request: it accepts no more, and lets each connection end itself.

The listening socket is shared with the parent process and the next server; what is not accepted here waits
there. Granian can only stop at once, which ends a connection whose next request is already on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

Address = int | str | bytes
"""A TCP port, or the path of a Unix socket."""

_LOOK_EVERY: Final = 0.05  # seconds
_SPARE: Final = 8  # descriptors that must be free before anybody is accepted again
_KEPT: Final = 2  # descriptors that are given up when no other is free
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
    with socket.socket(fileno=os.dup(listener)) as own, _nowhere(own.family) as nowhere:
        for number, status in _sockets():
            if status.st_ino == inode and number != own.fileno():
                os.dup2(nowhere.fileno(), number)


class Valve:
    """Accepts nothing while no descriptor is free.

    Granian tries again at once what cannot be accepted for want of one (accept(2), EMFILE and ENFILE), and so takes
    a whole core for as long as that lasts. Its own bound on connections keeps it from there; a limit that somebody
    lowers meanwhile, or a host that is out of files, does not.

    Args:
        listener: the number of the listening socket.

    Attributes:
        shut: whether nothing is accepted now.
    """

    def __init__(self, listener: int) -> None:
        # All that will be needed when there is no descriptor left is got hold of here.
        self._own = socket.socket(fileno=os.dup(listener))
        self._nowhere = _nowhere(self._own.family)
        self._kept = _some(_KEPT)
        self._inode = os.fstat(listener).st_ino
        self._numbers: list[int] = []
        self.shut = False

    def look(self) -> bool:
        """Shut it when no descriptor is free, open it when a few are; return whether that changed."""
        if self.shut is not _free(_SPARE if self.shut else 1):
            return False
        self.shut = not self.shut
        if self.shut:
            self._numbers = list(self._listeners())
        source = self._nowhere if self.shut else self._own
        for number in self._numbers:
            os.dup2(source.fileno(), number)
        if self.shut:
            # Even at a socket where nobody waits accept(2) fails, and is tried again, while no descriptor is free.
            _close(self._kept)
            self._kept = []
        else:
            self._kept = _some(_KEPT)
            self._knock()
        return True

    def _listeners(self) -> Iterator[int]:
        """Yield the descriptors of the listening socket that there are now: granian makes its own when it likes.

        Tried one by one, for a folder of them cannot be opened without a descriptor.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        for number in range(soft):
            with contextlib.suppress(OSError):
                if number != self._own.fileno() and os.fstat(number).st_ino == self._inode:
                    yield number

    def _knock(self) -> None:
        """Connect: granian looks for those who wait when somebody comes, and not before."""
        with contextlib.suppress(OSError), socket.socket(self._own.family) as caller:
            caller.setblocking(False)
            caller.connect_ex(self._own.getsockname())


def _free(count: int) -> bool:
    """Tell whether so many descriptors are free."""
    got = _some(count)
    _close(got)
    return len(got) == count


def _some(count: int) -> list[int]:
    """Return new descriptors of nothing in particular, so many or as many as there are."""
    got: list[int] = []
    with contextlib.suppress(OSError):
        got.extend(os.dup(2) for _ in range(count))
    return got


def _close(numbers: list[int]) -> None:
    for number in numbers:
        os.close(number)


def _nowhere(family: int) -> socket.socket:
    """Return a listening socket at which nobody calls, which never waits for anybody either."""
    nowhere = socket.socket(family)
    # Of the same kind, for granian may only now be taking the listener over, and look at its address.
    if family == socket.AF_UNIX:
        nowhere.bind("")  # an address of the kernel's choice
    else:
        nowhere.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    nowhere.listen(1)
    nowhere.setblocking(False)
    return nowhere


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
