"""The walls in memory: a store and targets, with every fault that real ones have."""

from __future__ import annotations

from rotator.rehearsal.faults import Fault
from rotator.rehearsal.places import MemoryTarget, Place
from rotator.rehearsal.store import KeySetShelf, MemoryStore

__all__ = ["Fault", "KeySetShelf", "MemoryStore", "MemoryTarget", "Place"]
