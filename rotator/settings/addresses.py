"""One address belongs to one key set, and what is public or secret does not end up inside the other.

Compared as text after `normpath`, without touching the file system: what a path leads to may change
between this check and the first write, and the writers refuse symlinks themselves.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from urllib.parse import urlsplit

from rotator.documents import document_name
from rotator.settings.document import Document
from rotator.settings.faults import Fault, Path, dotted
from rotator.settings.targets import (
    DeliverSettings,
    DocumentSettings,
    ObjectSettings,
    PublishSettings,
    TargetSettings,
)


class Addresses:
    """Every address claimed so far; the claim that clashes with an earlier one is the fault."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._owners: dict[str, Path] = {}
        self._reserved: dict[str, str] = {}
        self._above: dict[str, Path] = {}
        self._probes: dict[str, Path] = {}
        self._documents: dict[str, Path] = {}
        self._names: dict[str, Path] = {}

    def reserve(self, directory: PurePath, what: str, document: Document, path: Path) -> None:
        """Keep a directory for something that is no target: a store, or what the server serves."""
        place = os.path.normpath(directory)
        for above in (place, *_parents(place)):
            if above in self._reserved:
                self._add(
                    document,
                    path,
                    f"{place} is inside {self._reserved[above]}; give it a directory of its own",
                )
                return
        for other, kept in self._reserved.items():
            if place in _parents(other):
                self._add(document, path, f"{place} holds {kept}; give it a directory of its own")
                return
        self._reserved[place] = what

    def claim_target(
        self, key_set: str, target: TargetSettings, document: Document, path: Path
    ) -> None:
        """Take the address of one delivery or publication: a directory, a file, a document, a name."""
        if isinstance(target, DeliverSettings):
            self._claim(os.path.normpath(target.path), document, (*path, "path"), directory=True)
        elif isinstance(target, PublishSettings):
            self._claim(os.path.normpath(target.path), document, (*path, "path"), directory=False)
        elif isinstance(target, DocumentSettings):
            self._claim_document(key_set, target, document, path)
        elif not isinstance(target, ObjectSettings) or target.options is not None:
            self._claim_name(target.address, document, path)

    def _claim_name(self, address: str, document: Document, path: Path) -> None:
        """Take what is neither a path nor a document of a store, by the name of the target."""
        owner = self._names.setdefault(address, path)
        if owner != path:
            text = f"{address} is at {dotted(owner)} too; one address belongs to one key set"
            self._add(document, path, text)

    def _claim_document(
        self, key_set: str, target: DocumentSettings, document: Document, path: Path
    ) -> None:
        """Take the document of a store; its name says whose it is."""
        name = f"{target.store}/{document_name(key_set, target.document, target.verifier)}"
        if (owner := self._documents.setdefault(name, path)) != path:
            whose = "" if target.verifier is None else f" of the verifier `{target.verifier}`"
            text = f"the {target.document} document{whose} is kept in the store `{target.store}` at {dotted(owner)} already; remove one of the two"
            self._add(document, (*path, "store"), text)

    def claim_probe(
        self, url: str, shared: tuple[str, ...], document: Document, path: Path
    ) -> None:
        """Take a URL for one key set.

        Args:
            shared: the paths of combined documents that hold this key set; those have many owners.
        """
        address = normal_url(url)
        owner = self._probes.setdefault(address, path[:2])
        if owner == path[:2]:
            if self._owners.setdefault(f"{dotted(path[:2])} {address}", path) != path:
                self._add(
                    document, path, f"{url} is given twice for this key set; remove one of the two"
                )
        elif not any(urlsplit(address).path.endswith(combined) for combined in shared):
            self._add(
                document,
                path,
                f"{url} is a probe of {dotted(owner)} too; one address belongs to one key set",
            )

    def _claim(self, place: str, document: Document, path: Path, *, directory: bool) -> None:
        parents = _parents(place)
        for above in (place, *parents):
            if above in self._reserved:
                self._add(
                    document,
                    path,
                    f"{place} is inside {self._reserved[above]}; choose a place outside it",
                )
                return
        if (owner := self._owners.get(place)) is not None:
            self._add(
                document,
                path,
                f"{place} is at {dotted(owner)} too; one address belongs to one key set",
            )
            return
        for above in parents:
            if (owner := self._owners.get(above)) is not None:
                self._add(
                    document,
                    path,
                    f"{place} is inside {above}, which belongs to {dotted(owner)}; choose a place outside it",
                )
                return
        if directory and (inner := self._above.get(place)) is not None:
            self._add(
                document,
                path,
                f"{place} holds the target at {dotted(inner)}; choose a directory of its own",
            )
            return
        if directory and (
            kept := next((w for p, w in self._reserved.items() if place in _parents(p)), None)
        ):
            self._add(document, path, f"{place} holds {kept}; choose a directory of its own")
            return
        self._owners[place] = path
        for above in parents:
            self._above.setdefault(above, path)

    def _add(self, document: Document, path: Path, text: str) -> None:
        inside = path[len(document.prefix) :]
        self._faults.append(document.fault(inside, text))


def _parents(place: str) -> list[str]:
    """Return every directory above a normalised path, nearest first."""
    found = []
    while (above := os.path.dirname(place)) != place:  # noqa: PTH120  # text only, thousands of times
        found.append(above)
        place = above
    return found


def normal_url(url: str) -> str:
    """Return a URL in the form in which equal addresses are equal (RFC 3986 §6.2.2, §6.2.3)."""
    parts = urlsplit(url)
    port = parts.port
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = (parts.hostname or "").rstrip(".")
    where = f"[{host}]" if ":" in host else host
    where += f":{port}" if port not in {None, default} else ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{where}{parts.path or '/'}{query}"
