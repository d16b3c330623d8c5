"""The contract of the walls, to be joined by the tests of every backend in ten lines:

    from rotator.testing.contract import MaterialStoreContract, Place, RingStoreContract

    class TestMyStore(RingStoreContract, MaterialStoreContract):
        @pytest.fixture
        def place(self, tmp_path):
            return Place.of_backend("mine", {"path": str(tmp_path / "store")})

Each test gets a place in which nothing is stored yet. A store that keeps documents joins
`DocumentStoreContract` too. A contract test can be neither overridden nor deleted; one that a store
cannot keep is named, with the reason, and goes on being run:

        @pytest.mark.xfail(reason="Conjur has no conditional write", strict=True)
        def test_nested_save(self, place):
            super().test_nested_save(place)

Needs pytest; run it in an environment in which the backend is installed, for the races start processes
that find it by its entry point.
"""

from __future__ import annotations

import pytest

for _module in ("base", "documents", "material", "rings"):
    pytest.register_assert_rewrite(f"rotator.testing.{_module}")

from rotator.testing.base import Contract, Place  # noqa: E402  # rewritten only from here on
from rotator.testing.documents import DocumentStoreContract  # noqa: E402
from rotator.testing.material import DIFFICULT_KIDS, MaterialStoreContract  # noqa: E402
from rotator.testing.rings import RingStoreContract  # noqa: E402

__all__ = [
    "DIFFICULT_KIDS",
    "Contract",
    "DocumentStoreContract",
    "MaterialStoreContract",
    "Place",
    "RingStoreContract",
]
