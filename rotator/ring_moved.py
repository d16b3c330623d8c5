"""What stands in a store in the place of a ring that is in another one. Values, bytes and back; pure.

A ring that was moved leaves a tombstone; one that is on its way is recorded, with the locators of its
material, in the store that it goes to before any material is written there. Neither is a ring:
`rotator.ring_reader.read_ring`, and every earlier program, refuses both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rotator.errors import StoreCorrupt
from rotator.ring import KeyRing
from rotator.ring_document import format_date, read_ring, write_ring
from rotator.ring_reader import ARRIVING, MOVED_FORMAT, VERSION

__all__ = ["Moved", "State", "read_either", "write_moved"]


class State(StrEnum):
    """Where the ring is."""

    LEFT = "left"
    ARRIVING = ARRIVING


@dataclass(frozen=True, slots=True)
class Moved:
    """A tombstone, or the record of a ring on its way.

    Attributes:
        state: `LEFT` in the store that the ring was in, `ARRIVING` in the one that it goes to.
        store: the name of the other store.
        at: when.
        ring: as it was when it left; or as it will be, with its locators in this store.
        destroyed: the material that the ring left behind is destroyed.
    """

    state: State
    store: str
    at: datetime
    ring: KeyRing
    destroyed: bool = False

    @property
    def revision(self) -> int:
        """One above the ring's: whoever compares finds that this is newer."""
        return self.ring.revision + 1


def write_moved(moved: Moved) -> bytes:
    """Return the bytes; the same gives the same."""
    document = {
        "format": MOVED_FORMAT,
        "version": VERSION,
        "key_set": moved.ring.key_set,
        "revision": moved.revision,
        "state": moved.state.value,
        "store": moved.store,
        "at": format_date(moved.at),
        "destroyed": moved.destroyed,
        "ring": json.loads(write_ring(moved.ring)),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_either(document: bytes, *, key_set: str, place: str = "") -> KeyRing | Moved:
    """Read a ring, or what stands in its place.

    Raises:
        StoreCorrupt: neither; see `rotator.ring_reader.read_ring`.
    """
    try:
        data = json.loads(document)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != MOVED_FORMAT:
        return read_ring(document, key_set=key_set, place=place)
    try:
        inner = json.dumps(data["ring"]).encode()
        state, at = State(data["state"]), datetime.fromisoformat(data["at"])
        store, destroyed = str(data["store"]), data["destroyed"] is True
        known = data["version"] == VERSION and at.tzinfo is not None
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise StoreCorrupt(
            f"what stands in the place of the ring of key set {key_set} cannot be read ({place})",
            hint="nothing was changed; a newer program may have written it",
        )
    return Moved(state, store, at, read_ring(inner, key_set=key_set, place=place), destroyed)
