"""What lies in a secrets manager elsewhere, by name: rings, material, and what somebody's hand makes of them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotator.secret import Secret

if TYPE_CHECKING:
    from rotator.rehearsal.elsewhere import Elsewhere


@dataclass(frozen=True, slots=True)
class Kept:
    """Material as it lies in an object, with the kid that it belongs to."""

    kid: str
    material: Secret


Value = bytes | Kept | None
"""What an object holds: a ring, material, or nothing any more."""


class Refused(Exception):
    """The server answered, and did not do it: what is there is not what the call counts on."""


class Shelf:
    """What a server holds of one key set by right, for whoever damages the world."""

    def __init__(self, store: Elsewhere, key_set: str) -> None:
        self._store = store
        self._key_set = key_set
        self.material: MutableMapping[str, tuple[str, Secret]] = Lying(
            store, f"{key_set}/material/"
        )

    @property
    def ring(self) -> bytes | None:
        """The ring."""
        found = self._store.current(f"{self._key_set}/ring")
        return found if isinstance(found, bytes) else None


class Lying(MutableMapping[str, tuple[str, Secret]]):
    """The material of a key set by its locator; what is set here is set by somebody's hand."""

    def __init__(self, store: Elsewhere, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def __getitem__(self, locator: str) -> tuple[str, Secret]:
        found = self._store.current(self._prefix + locator)
        if not isinstance(found, Kept):
            raise KeyError(locator)
        return found.kid, found.material

    def __setitem__(self, locator: str, kept: tuple[str, Secret]) -> None:
        self._store.by_hand(self._prefix + locator, Kept(*kept))

    def __delitem__(self, locator: str) -> None:
        self._store.by_hand(self._prefix + locator, None)

    def __iter__(self) -> Iterator[str]:
        for name in list(self._store.objects):
            if name.startswith(self._prefix) and isinstance(self._store.current(name), Kept):
                yield name.removeprefix(self._prefix)

    def __len__(self) -> int:
        return sum(1 for _ in self)
