"""Every installed backend is held to the contract, and none can be forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.inspection import Inspectable, Role
from rotator.stores import backend_names
from rotator.testing.contract import (
    DocumentStoreContract,
    MaterialStoreContract,
    Place,
    RingStoreContract,
)
from tests.contract.openers import OPENERS

ROOT = Path(__file__).resolve().parents[2]


def test_no_backend_is_forgotten() -> None:
    """Folders in backends/, installed entry points and openers here are the same list."""
    folders = {path.parent.name for path in (ROOT / "backends").glob("*/__init__.py")}
    assert {f"rotator_{name}" for name in backend_names()} == folders
    assert set(backend_names()) == set(OPENERS)


class TestBackend(RingStoreContract, MaterialStoreContract, DocumentStoreContract):
    """Every backend of this distribution keeps all three contracts."""

    @pytest.fixture(params=backend_names())
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
        """A place in which nothing is stored yet, for each installed backend in turn."""
        return OPENERS[request.param](tmp_path)

    def test_it_can_be_inspected(self, place: Place) -> None:
        """`check` and `policy` have something to say of every built-in store."""
        store = place.open()
        assert isinstance(store, Inspectable)
        assert store.inspect().findings
        for role in Role:
            assert store.policy(role).endswith("\n")
        assert store.rings("orders").load() is None, "inspecting writes nothing"
