"""A store and targets in memory, with every fault that real ones have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.errors import Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.observed import DocumentKind
from rotator.policy import ZERO
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.pauses import Gate
from rotator.secret import Secret
from rotator.stores import (
    Document,
    ServerTime,
    Sight,
    Stored,
    Version,
    VersionToken,
)


class Fault(StrEnum):
    """What is wrong with a store or a target."""

    NONE = "none"
    SILENT = "silent"
    """Neither answers nor takes anything."""
    DENIED = "denied"
    """Refuses everything."""
    READ_ONLY = "read-only"
    """Answers, and refuses every write."""
    LATE_ERROR = "late-error"
    """Takes a write, and then fails to say so."""
    LIES = "lies"
    """Says that it took a write, and goes on returning what was there."""


def _answer(fault: Fault, name: str) -> None:
    if fault is Fault.SILENT:
        raise StoreUnavailable(f"no answer from {name}")
    if fault is Fault.DENIED:
        raise StoreDenied(f"{name} refuses")


def _accept(fault: Fault, name: str) -> None:
    _answer(fault, name)
    if fault is Fault.READ_ONLY:
        raise StoreDenied(f"{name} is read-only")


def _confirm(fault: Fault, name: str) -> None:
    if fault is Fault.LATE_ERROR:
        raise StoreUnavailable(f"no answer from {name} to a write")


@dataclass(slots=True)
class KeySetShelf:
    """What a store holds of one key set."""

    ring: bytes | None = None
    version: int = 0
    material: dict[str, tuple[str, Secret]] = field(default_factory=dict)


class MemoryStore:
    """A secrets manager in memory; `login` gives each process its own way in.

    Attributes:
        fault: what is wrong with it.
        numbered: True when places for material are numbered, and used again and again.
        witness: True when it says what the time is, as a server elsewhere would.
        saved: called after each save with the key set, the bytes before, and the bytes after.
    """

    def __init__(self, true: TrueTime) -> None:
        self.true = true
        self.fault = Fault.NONE
        self.witness = False
        self.numbered = False
        self.saved: Callable[[str, bytes | None, bytes], None] = lambda _name, _old, _new: None
        self.shelves: dict[str, KeySetShelf] = {}

    def login(self, gate: Gate) -> StoreLogin:
        """Return the store as one process sees it."""
        return StoreLogin(self, gate)

    def shelf(self, key_set: str) -> KeySetShelf:
        """Return what lies there of one key set."""
        return self.shelves.setdefault(key_set, KeySetShelf())

    def put_back(self, key_set: str, ring: bytes | None) -> None:
        """Restore an older ring behind everybody's back, as a restored backup would."""
        shelf = self.shelf(key_set)
        shelf.ring, shelf.version = ring, shelf.version + 1


@dataclass(slots=True)
class StoreLogin:
    """`rotator.stores.Store` of one process."""

    store: MemoryStore
    gate: Gate

    def rings(self, key_set: str) -> MemoryRings:
        """Return the ring store of a key set."""
        return MemoryRings(self.store, self.gate, key_set)

    def material(self, key_set: str) -> MemoryMaterial:
        """Return the material store of a key set."""
        return MemoryMaterial(self.store, self.gate, key_set)

    def documents(self) -> None:
        """No documents here: targets are `MemoryTarget`."""
        return

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True)
class MemoryRings:
    """`rotator.stores.RingStore`: compare-and-set on one ring."""

    store: MemoryStore
    gate: Gate
    key_set: str

    def load(self) -> Stored | None:
        """Return the ring, None when there is none."""
        self.gate()
        _answer(self.store.fault, "the store")
        shelf = self.store.shelf(self.key_set)
        found = None
        if shelf.ring is not None:
            said = ServerTime(self.store.true.now, ZERO) if self.store.witness else None
            found = Stored(shelf.ring, Version(str(shelf.version)), said)
        self.gate()
        return found

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring that `replacing` names; no pause before it, for the fence was passed just now."""
        fault = self.store.fault
        _accept(fault, "the store")
        shelf = self.store.shelf(self.key_set)
        present = None if shelf.ring is None else str(shelf.version)
        if present != replacing:
            raise Conflict("the ring was changed by somebody else")
        before, shelf.ring = shelf.ring, document
        shelf.version += 1
        version = Version(str(shelf.version))
        self.store.saved(self.key_set, before, document)
        self.gate()
        _confirm(fault, "the store")
        return version


@dataclass(slots=True)
class MemoryMaterial:
    """`rotator.stores.MaterialStore`: written once, destroyed at the end."""

    store: MemoryStore
    gate: Gate
    key_set: str

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a place named after the key, or the first free number."""
        if not self.store.numbered:
            return f"key-{kid}"
        number = 1
        while f"slot-{number}" in taken:
            number += 1
        return f"slot-{number}"

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write material; no pause before it, for the fence was passed just now."""
        fault = self.store.fault
        _accept(fault, "the store")
        shelf = self.store.shelf(self.key_set).material
        if locator in shelf and shelf[locator][0] != kid:
            raise StoreCorrupt(f"{locator} holds another key's material")
        if fault is not Fault.LIES:
            shelf[locator] = (kid, material)
        self.gate()
        _confirm(fault, "the store")

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return material, None when this kid's is not there."""
        self.gate()
        _answer(self.store.fault, "the store")
        there = self.store.shelf(self.key_set).material.get(locator)
        self.gate()
        return there[1] if there is not None and there[0] == kid else None

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy material, if it is this kid's."""
        self.gate()
        fault = self.store.fault
        _accept(fault, "the store")
        shelf = self.store.shelf(self.key_set).material
        if locator in shelf and shelf[locator][0] == kid and fault is not Fault.LIES:
            del shelf[locator]
        self.gate()
        _confirm(fault, "the store")


class Place:
    """Where a derived document lies, and what readers find there.

    Attributes:
        conditional: it compares before it writes; an object store without conditions does not.
        fault: what is wrong with it, for those who write and look; readers are served all the same.
        document: what is there.
        past: everything that was there before.
        longer_cache: what a CDN in front makes of our cache lifetimes, where that is longer.
        true: for a place behind a CDN, the time: a probe then sees what its edge has kept.
        changed: called after each change.
    """

    def __init__(
        self, name: str, kind: DocumentKind, *, conditional: bool = True, independent: bool = True
    ) -> None:
        self.name = name
        self.kind = kind
        self.conditional = conditional
        self.independent = independent
        self.fault = Fault.NONE
        self.document: Document | None = None
        self.past: list[Document] = []
        self.longer_cache: timedelta = ZERO
        self.true: TrueTime | None = None
        self.kept: tuple[Document | None, datetime] | None = None
        self.changed: Callable[[Place], None] = lambda _place: None
        self._writes = 0

    def put(self, document: Document | None) -> None:
        """Put a document there, or take it away, asking nobody."""
        if self.document is not None:
            self.past = [*self.past[-20:], self.document]
        self._writes += 1
        token = VersionToken(str(self._writes))
        self.document = None if document is None else replace(document, token=token)
        self.changed(self)

    @property
    def cache(self) -> timedelta:
        """How long caches may go on serving what is there."""
        document = self.document
        if document is None or self.kind is not DocumentKind.JWKS:
            return ZERO
        sent = timedelta(seconds=(document.max_age or 0) + (document.stale or 0))
        return max(sent, self.longer_cache)

    def at_the_edge(self) -> Document | None:
        """Return what a reader through the CDN finds: as old as its lifetime allows."""
        if self.true is None:
            return self.document
        if self.kept is None or self.kept[0] is None or self.kept[1] <= self.true.now:
            self.kept = (self.document, self.true.now + self.cache)
        return self.kept[0]


@dataclass(slots=True)
class MemoryTarget:
    """`rotator.stores.Target`: a place as one process writes to it and looks at it."""

    place: Place
    gate: Gate
    writable: bool = True

    @property
    def name(self) -> str:
        """The place's name; a probe's is told apart."""
        return self.place.name if self.writable else f"probe:{self.place.name}"

    @property
    def kind(self) -> DocumentKind:
        """The kind of document that belongs there."""
        return self.place.kind

    @property
    def independent(self) -> bool:
        """True when it is read by another way than the ring's store."""
        return self.place.independent

    def look(self) -> Sight:
        """Return what is there."""
        self.gate()
        _answer(self.place.fault, self.name)
        document = self.place.document if self.writable else self.place.at_the_edge()
        cache = None if self.writable or document is None else self.place.cache
        self.gate()
        return Sight(document, cache=cache)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Write, comparing token and revision where the place can."""
        place = self.place
        if place.conditional:
            self.gate()
        fault = place.fault
        _accept(fault, self.name)
        there = place.document
        if place.conditional:
            if (there.token if there else None) != replacing:
                raise Conflict(f"{self.name} changed since it was looked at")
            ours = there is not None and there.key_set == document.key_set
            if ours and there is not None and (there.revision or 0) > (document.revision or 0):
                raise Conflict(f"{self.name} carries a higher revision")
        if fault is not Fault.LIES:
            place.put(document)
        self.gate()
        _confirm(fault, self.name)
