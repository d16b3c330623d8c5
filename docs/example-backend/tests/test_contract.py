import pytest

from rotator.testing import contract as c


class TestSqlite(c.RingStoreContract, c.MaterialStoreContract, c.DocumentStoreContract):
    @pytest.fixture
    def place(self, tmp_path):  # noqa: ANN001, ANN201
        (tmp_path / "keys.db").touch()
        return c.Place.of_backend("sqlite", {"path": str(tmp_path / "keys.db")}, racers=4)
