"""The walls in memory: stores of every kind and targets, with every fault that real ones have."""

from __future__ import annotations

from typing import Final

from rotator.rehearsal.faults import Fault
from rotator.rehearsal.labels import LabelStore
from rotator.rehearsal.numbers import NumberStore
from rotator.rehearsal.places import MemoryTarget, Place
from rotator.rehearsal.store import AnyShelf, AnyStore, KeySetShelf, MemoryStore
from rotator.rehearsal.voids import VoidStore

__all__ = [
    "KINDS",
    "AnyShelf",
    "AnyStore",
    "Fault",
    "KeySetShelf",
    "LabelStore",
    "MemoryStore",
    "MemoryTarget",
    "NumberStore",
    "Place",
    "VoidStore",
]

KINDS: Final[dict[str, type[AnyStore]]] = {
    "plain": MemoryStore,
    "labels": LabelStore,
    "numbers": NumberStore,
    "voids": VoidStore,
}
"""Every kind of secrets manager that there is in memory."""
