"""How a key reaches the command: a sealed memory file, and where asked for its environment. Never a disk."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from typing import Final

from rotator.exec.document import SigningKey, render
from rotator.exec.orders import Orders

DESCRIPTOR: Final = 30
"""The number of the file in the command: above those that shells use, and always the same."""

PATH: Final = f"/proc/self/fd/{DESCRIPTOR}"

SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL

_NOEXEC_SEAL: Final = 0x0008  # MFD_NOEXEC_SEAL, Linux 6.3; older kernels refuse it
_OURS: Final = ("ROTATOR__", "ROTATOR_SIGNING_", "WATCHDOG_")
_OURS_WHOLE: Final = frozenset(
    {"NOTIFY_SOCKET", "ROTATOR_KID", "ROTATOR_KEY_SET", "ROTATOR_REVISION"}
)


def sealed_file(content: bytes) -> int:
    """Return a descriptor, for reading only and closed on exec, of a file in memory that nobody can change.

    Whoever can open it is decided by its way there, /proc/PID/fd (ptrace(2)): its own mode lets a command
    read that gave up its user in between.

    Raises:
        OSError: no memory or descriptor is left.
    """
    writable = _memory_file()
    try:
        with open(writable, "wb", closefd=False) as file:
            file.write(content)
        os.fchmod(writable, 0o444)
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, SEALS)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("rotator-signing", flags | _NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.memfd_create("rotator-signing", flags)


def environment(
    orders: Orders, key: SigningKey, path: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the command; key material is in it only where `--env` asked for it.

    What configures `rotator` (`ROTATOR__…`) may hold credentials of a store and is left out, and so is what
    the service manager meant for this process.

    Args:
        path: where the command finds the file; empty when there is none.
        inherited: the environment of this process.
    """
    made = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_OURS) and name not in _OURS_WHOLE
    }
    made |= {
        "ROTATOR_KEY_SET": key.key_set,
        "ROTATOR_KID": key.kid,
        "ROTATOR_REVISION": str(key.revision),
    }
    if path:
        made["ROTATOR_SIGNING_FILE"] = path
    return made | {name: render(key, form).decode() for name, form in orders.environ.items()}


def words(orders: Orders, path: str) -> list[str]:
    """Return the command with the file's path where `--replace` asked for it."""
    if orders.replace is None:
        return list(orders.command)
    return [word.replace(orders.replace, path) for word in orders.command]
