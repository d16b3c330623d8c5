"""Whether the files that a configuration was read from have changed since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from rotator.settings import Settings
from rotator.settings.environment import PREFIX


class Change(StrEnum):
    """What a look at the files shows."""

    NONE = "none"
    GOING_ON = "going on"
    DONE = "done"


class Watch:
    """Compares files by modification time, inode and size, as `stat` sees them through links.

    So a file that is replaced, one that is written in place, and a ConfigMap whose `..data` link is switched
    are all seen; what is only read is not.

    Args:
        settings: what is in force.
        environ: where the `…_FILE` variables are.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.follow(settings)
        self._known = self._seen = self.mark()

    def follow(self, settings: Settings) -> None:
        """Watch the files of another configuration from now on."""
        self._files = (settings.source, *_named_in(self._environ))
        self._directory = settings.key_sets_dir

    def look(self) -> Change:
        """Tell whether something changed since the last `accept`; done once two looks in a row agree."""
        mark = self.mark()
        before, self._seen = self._seen, mark
        if mark == self._known:
            return Change.NONE
        return Change.DONE if mark == before else Change.GOING_ON

    def mark(self) -> bytes:
        """Return what the files look like now; taken before they are read, so that no change is missed."""
        digest = hashlib.sha256()
        for path in (*self._files, *_entries(self._directory)):
            digest.update(_look_of(path).encode())
        return digest.digest()

    def accept(self, mark: bytes) -> None:
        """Take what was read at `mark` for known, whatever came of it."""
        self._known = mark


def _named_in(environ: Mapping[str, str]) -> Iterator[Path]:
    for variable in sorted(environ):
        name = variable.upper()
        if name.startswith(PREFIX) and name.endswith("_FILE"):
            yield Path(environ[variable])


def _entries(directory: Path | None) -> Iterable[Path | os.DirEntry[str]]:
    if directory is None:
        return ()
    try:
        return sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return (directory,)


def _look_of(path: Path | os.DirEntry[str]) -> str:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        return f"{os.fspath(path)!r} {type(error).__name__}\n"
    return f"{os.fspath(path)!r} {found.st_mtime_ns} {found.st_ino} {found.st_size}\n"
