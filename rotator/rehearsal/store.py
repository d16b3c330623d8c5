"""Secrets managers in memory: what every kind of them is to the world, and the simplest of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, Protocol
from urllib.parse import quote

from rotator.errors import Conflict, StoreCorrupt
from rotator.policy import ZERO
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.faults import Fault, accept, answer, confirm, release
from rotator.rehearsal.pauses import Gate
from rotator.secret import Secret
from rotator.stores import ServerTime, Store, Stored, Version


class AnyShelf(Protocol):
    """What a store holds of one key set, for whoever looks at the world from outside or damages it."""

    @property
    def ring(self) -> bytes | None:
        """The ring, None when there is none."""
        ...

    @property
    def material(self) -> MutableMapping[str, tuple[str, Secret]]:
        """By locator, the kid and its material."""
        ...


class AnyStore(ABC):
    """A secrets manager of any kind; `login` gives each process its own way in.

    Attributes:
        faults: what can go wrong with this kind, for whoever breaks it.
        fault: what is wrong with it.
        numbered: True when places for material are numbered, and used again and again.
        witness: True when it says what the time is, as a server elsewhere would.
        saved: called after each save with the key set, the bytes before, and the bytes after.
    """

    faults: ClassVar[tuple[Fault, ...]] = (
        Fault.SILENT,
        Fault.DENIED,
        Fault.LATE_ERROR,
        Fault.KEEPS,
    )

    def __init__(self, true: TrueTime) -> None:
        self.true = true
        self.fault = Fault.NONE
        self.witness = False
        self.numbered = False
        self.saved: Callable[[str, bytes | None, bytes], None] = lambda _name, _old, _new: None

    @abstractmethod
    def login(self, gate: Gate) -> Store:
        """Return the store as one process sees it."""

    @abstractmethod
    def shelf(self, key_set: str) -> AnyShelf:
        """Return what lies there of one key set."""

    @abstractmethod
    def put_back(self, key_set: str, ring: bytes | None) -> None:
        """Restore an older ring behind everybody's back, as a restored backup would."""

    @abstractmethod
    def remains(self, key_set: str) -> set[tuple[str, str]]:
        """Return the locator and the kid of all material that could still be got out of it."""


@dataclass(slots=True)
class KeySetShelf:
    """What a store in memory holds of one key set."""

    ring: bytes | None = None
    version: int = 0
    material: MutableMapping[str, tuple[str, Secret]] = field(default_factory=dict)


class MemoryStore(AnyStore):
    """The simplest secrets manager: each call is one, and happens at once."""

    def __init__(self, true: TrueTime) -> None:
        super().__init__(true)
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

    def remains(self, key_set: str) -> set[tuple[str, str]]:
        """Return the locator and the kid of all material that could still be got out of it."""
        return {(locator, kid) for locator, (kid, _) in self.shelf(key_set).material.items()}


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
        answer(self.store.fault, "the store")
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
        accept(fault, "the store")
        shelf = self.store.shelf(self.key_set)
        present = None if shelf.ring is None else str(shelf.version)
        if present != replacing:
            raise Conflict("the ring was changed by somebody else")
        before, shelf.ring = shelf.ring, document
        shelf.version += 1
        version = Version(str(shelf.version))
        self.store.saved(self.key_set, before, document)
        self.gate()
        confirm(fault, "the store")
        return version


@dataclass(slots=True)
class MemoryMaterial:
    """`rotator.stores.MaterialStore`: written once, destroyed at the end."""

    store: MemoryStore
    gate: Gate
    key_set: str

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a place named after the key, or the first free number."""
        name = "slot" if self.store.numbered else f"key-{quote(kid, safe='')}"
        free = (f"{name}-{number}" for number in count(1))
        return next(locator for locator in free if locator not in taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write material; no pause before it, for the fence was passed just now."""
        fault = self.store.fault
        accept(fault, "the store")
        shelf = self.store.shelf(self.key_set).material
        if locator in shelf and shelf[locator] != (kid, material):
            raise StoreCorrupt(f"{locator} holds other material")
        if fault is not Fault.LIES:
            shelf[locator] = (kid, material)
        self.gate()
        confirm(fault, "the store")

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return material, None when this kid's is not there."""
        self.gate()
        answer(self.store.fault, "the store")
        there = self.store.shelf(self.key_set).material.get(locator)
        self.gate()
        return there[1] if there is not None and there[0] == kid else None

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy material, if it is this kid's."""
        self.gate()
        fault = self.store.fault
        release(fault, "the store")
        shelf = self.store.shelf(self.key_set).material
        if locator in shelf and shelf[locator][0] == kid and fault is not Fault.LIES:
            del shelf[locator]
        self.gate()
        confirm(fault, "the store")
