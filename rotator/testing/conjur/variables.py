"""The values of variables: numbered versions, of which the newest twenty are kept."""

from __future__ import annotations

import threading
from typing import Final

RETENTION: Final = 20
"""How many versions of a variable a server keeps unless told otherwise (SECRETS_VERSION_LIMIT)."""


class Taken(Exception):
    """Another write took the version number while this one was under way."""


class Variables:
    """Every version that is kept of every variable.

    As on a real server a write finds its number first and stores it later, and the number is unique: of
    writes that race, one gets it and the others fail.

    Args:
        retention: how many versions of a variable are kept.
        commit_delay: seconds between finding the number and storing.
    """

    def __init__(self, *, retention: int = RETENTION, commit_delay: float = 0.002) -> None:
        self._retention = retention
        self._commit_delay = commit_delay
        self._lock = threading.Lock()
        self._versions: dict[str, dict[int, bytes]] = {}
        self._pause = threading.Event()  # never set: waiting for it lets other threads go on

    def numbers(self, variable: str) -> list[int]:
        """Return the numbers of the versions that are kept, ascending."""
        with self._lock:
            return sorted(self._versions.get(variable, ()))

    def value(self, variable: str, version: int | None = None) -> bytes | None:
        """Return one version, or the latest; None when it is not there."""
        with self._lock:
            kept = self._versions.get(variable)
            if not kept:
                return None
            return kept.get(max(kept) if version is None else version)

    def add(self, variable: str, value: bytes) -> None:
        """Store a new version, unless the latest has the same value.

        Raises:
            Taken: another write was faster.
        """
        with self._lock:
            kept = self._versions.get(variable, {})
            latest = max(kept, default=0)
            if kept.get(latest) == value:
                return
        self._pause.wait(self._commit_delay)
        with self._lock:
            kept = self._versions.setdefault(variable, {})
            if max(kept, default=0) != latest:
                raise Taken
            kept[latest + 1] = value
            for old in sorted(kept)[: -self._retention]:
                del kept[old]

    def drop(self, variable: str) -> None:
        """Forget every version; the next one is number 1 again."""
        with self._lock:
            self._versions.pop(variable, None)

    def drop_all(self) -> None:
        """Forget every version of every variable."""
        with self._lock:
            self._versions.clear()
