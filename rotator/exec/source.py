"""Where the signing document of a key set is read: where one of its deliveries puts it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from rotator.atomic import LIMIT, translating
from rotator.delivery.payload import MAIN
from rotator.documents import document_name
from rotator.errors import ConfigError, StoreCorrupt, UsageError
from rotator.settings.result import KeySetSettings
from rotator.settings.targets import DeliverSettings, DocumentSettings
from rotator.stores import DocumentKind, Store

Open = Callable[[str], Store]
"""Opens a store by its name, or returns it once it is open."""

_KIND: Final = DocumentKind.SIGNING


class Source(Protocol):
    """A place that is read."""

    @property
    def name(self) -> str:
        """What `--from` takes: `store:NAME` or `files:PATH`."""
        ...

    def read(self) -> bytes | None:
        """Return the document, None when there is none.

        Raises:
            StoreError, ConfigError, BackendMissing: it gives no answer.
        """
        ...

    def mark(self) -> object:
        """Return what is another one after each change, at no cost; None where only reading tells."""
        ...


class StoreSource:
    """A document in a store, read as a signer may: nothing else of the store is touched."""

    def __init__(self, store: str, key_set: str, open_store: Open) -> None:
        self.name = f"store:{store}"
        self._store, self._key_set, self._open = store, key_set, open_store

    def read(self) -> bytes | None:
        """Read it; see `Source`."""
        documents = self._open(self._store).documents()
        if documents is None:
            raise ConfigError(
                f"the store {self._store} keeps no documents", hint="name another one with --from"
            )
        found = documents.read(document_name(self._key_set, _KIND))
        return None if found is None else found.body

    def mark(self) -> object:
        """Nothing tells without a call."""
        return None


class FilesSource:
    """A directory of files, or a mounted Kubernetes Secret, which looks the same."""

    def __init__(self, path: Path) -> None:
        self.name = f"files:{path}"
        self._file = path / MAIN[_KIND]

    def read(self) -> bytes | None:
        """Read it; see `Source`."""
        with translating(f"cannot read {self._file}"):
            for _ in range(2):  # a switch may fall between two steps of one path
                try:
                    return self._open()
                except FileNotFoundError:
                    continue
        return None

    def _open(self) -> bytes:
        # O_NONBLOCK: a FIFO in its place must not hang us.
        descriptor = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LIMIT:
                raise StoreCorrupt(
                    f"{self._file} is not a regular file, or too long for a signing document",
                    hint="see what was put there",
                )
            return file.read(LIMIT)

    def mark(self) -> object:
        """Return which file it is, and when it was written."""
        try:
            found = self._file.stat()
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def choose(configured: KeySetSettings, said: str | None, open_store: Open) -> Source:
    """Return where to read.

    Args:
        configured: the key set.
        said: `--from`: a store's name, or a directory, with or without the kind before it. A directory
            need not be in the configuration: it may be where a Secret is mounted.

    Raises:
        UsageError: there are several and none was named, or not that one.
        ConfigError: no signing delivery can be read here.
    """
    known = {source.name: source for source in _deliveries(configured, open_store)}
    name = configured.name
    if said is not None:
        return _named(said, known, name)
    if len(known) == 1:
        return next(iter(known.values()))
    if known:
        raise UsageError(
            f"where is the key of key set {name} to be read? it is delivered to several places",
            hint=f"add `--from {next(iter(known))}`, or another one of {', '.join(known)}",
        )
    raise ConfigError(
        f"key set {name} has no signing delivery that can be read here: no store, no directory",
        hint="where it is mounted as files, as a Kubernetes Secret can be, name the directory with --from",
    )


def _deliveries(configured: KeySetSettings, open_store: Open) -> Iterator[Source]:
    for item in configured.deliver:
        if item.document is not _KIND:
            continue
        if isinstance(item, DocumentSettings):
            yield StoreSource(item.store, configured.name, open_store)
        elif isinstance(item, DeliverSettings):
            yield FilesSource(item.path)


def _named(said: str, known: dict[str, Source], key_set: str) -> Source:
    for wanted in (said, f"store:{said}", said.removesuffix(f"/{key_set}/{_KIND}")):
        if wanted in known:
            return known[wanted]
    path = said.removeprefix("files:")
    if said.startswith("files:") or ("/" in path and not said.startswith("store:")):
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        return known.get(f"files:{absolute}", FilesSource(absolute))
    raise UsageError(
        f"key set {key_set} is not delivered to {said!r}",
        hint=f"it is delivered to {', '.join(known) or 'no place that can be read here'}; "
        "a directory is `files:PATH`, or a path with a slash",
    )
