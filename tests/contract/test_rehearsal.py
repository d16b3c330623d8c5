"""The stores of the rehearsal keep the contract of the real ones: a model on a fake wall proves nothing."""

from __future__ import annotations

import pytest

from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.elsewhere import Elsewhere
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.walls import KINDS, Fault, MemoryStore
from rotator.testing.contract import MaterialStoreContract, Place, RingStoreContract


class TestRehearsal(RingStoreContract, MaterialStoreContract):
    """Rings and material in memory; it keeps no documents, for its targets are places of their own."""

    @pytest.fixture
    def place(self) -> Place:
        """One store, with a login for each handle; its world does one thing at a time, so nobody races."""
        store = MemoryStore(TrueTime())
        return Place(lambda: store.login(Gate()), racers=1)


class TestElsewhere(RingStoreContract, MaterialStoreContract):
    """The kinds that are asked by calls, each also while every other write fails, or reads lag where they may."""

    @pytest.fixture(
        params=[
            (kind, fault)
            for kind, store in KINDS.items()
            if issubclass(store, Elsewhere)
            for fault in (Fault.NONE, Fault.STUTTERS)
        ],
        ids=lambda param: f"{param[0]} {param[1]}",
    )
    def place(self, request: pytest.FixtureRequest) -> Place:
        """One server, with a login for each handle; threads race for it, for its calls are not one."""
        kind, fault = request.param
        store = KINDS[kind](TrueTime())
        store.fault = fault
        return Place(lambda: store.login(Gate()), racers=4)
