"""What the tests of the Conjur store share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conjur.places import Ground, ground


@pytest.fixture
def conjur(tmp_path: Path) -> Iterator[Ground]:
    """A server of this test alone, with the variables of the key set `orders`."""
    with ground(tmp_path) as found:
        yield found
