"""The store of the rehearsal keeps the contract of the real ones: a model on a fake wall proves nothing."""

from __future__ import annotations

import pytest

from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.walls import MemoryStore
from rotator.testing.contract import MaterialStoreContract, Place, RingStoreContract


class TestRehearsal(RingStoreContract, MaterialStoreContract):
    """Rings and material in memory; it keeps no documents, for its targets are places of their own."""

    @pytest.fixture
    def place(self) -> Place:
        """One store, with a login for each handle; its world does one thing at a time, so nobody races."""
        store = MemoryStore(TrueTime())
        return Place(lambda: store.login(Gate()), racers=1)
