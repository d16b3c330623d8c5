"""The walls over a secrets manager elsewhere: rings and material as one process reaches them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotator.errors import Conflict, StoreCorrupt, StoreUnavailable
from rotator.policy import ZERO
from rotator.rehearsal.objects import Kept
from rotator.secret import Secret
from rotator.stores import ServerTime, Stored, Version

if TYPE_CHECKING:
    from rotator.rehearsal.elsewhere import Way


@dataclass(slots=True)
class Login:
    """`rotator.stores.Store` of one process."""

    way: Way

    def rings(self, key_set: str) -> Rings:
        """Return the ring store of a key set."""
        return Rings(self.way, f"{key_set}/ring")

    def material(self, key_set: str) -> Material:
        """Return the material store of a key set."""
        return Material(self.way, f"{key_set}/material")

    def documents(self) -> None:
        """No documents here: targets are `MemoryTarget`."""
        return

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True)
class Rings:
    """`rotator.stores.RingStore` on one object."""

    way: Way
    name: str

    def load(self) -> Stored | None:
        """Return the ring, None when there is none. Raises StoreCorrupt when somebody took it away."""
        found = self.way.step(lambda: self.way.head(self.name))
        if found is None:
            return None
        value, version = found
        if not isinstance(value, bytes):
            raise StoreCorrupt("the ring was deleted")
        store = self.way.store
        said = ServerTime(store.true.now, ZERO) if store.witness else None
        return Stored(value, Version(version), said)

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring that `replacing` names."""
        way, nonce = self.way, self.way.nonce()
        return Version(way.step(lambda: way.replace(self.name, document, replacing, nonce)))


@dataclass(slots=True)
class Material:
    """`rotator.stores.MaterialStore`, one object for each key."""

    way: Way
    prefix: str

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a place that is not taken. Raises StoreUnavailable where their number is limited."""
        return self.way.locator(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write material once."""
        way, nonce = self.way, self.way.nonce()
        way.step(lambda: self._put(locator, Kept(kid, material), nonce))

    def _put(self, locator: str, kept: Kept, nonce: str) -> None:
        name = f"{self.prefix}/{locator}"
        there, version = self.way.head(name) or (None, None)
        if there is None and (version is None or self.way.reuses):
            with contextlib.suppress(Conflict):
                self.way.replace(name, kept, version, nonce)
                return
            there, version = self.way.head(name) or (None, None)
            if there is None:
                raise StoreUnavailable(f"somebody else wrote over {locator} meanwhile")
        if there != kept:
            raise StoreCorrupt(f"{locator} holds other material")

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return material, None when this kid's is not there."""
        found = self.way.step(lambda: self.way.head(f"{self.prefix}/{locator}"))
        there = found[0] if found is not None else None
        return there.material if isinstance(there, Kept) and there.kid == kid else None

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy material, if it is this kid's."""
        self.way.erase(f"{self.prefix}/{locator}", kid)
