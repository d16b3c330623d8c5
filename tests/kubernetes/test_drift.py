"""What somebody does to a Secret or a ConfigMap by hand: the tests of every kind of place, on a real API server."""

from __future__ import annotations

import pytest

from tests.drift.test_drift import (
    Ground,
    ground_of,
    test_filled_by_somebody_else,
    test_found_told_and_mended,
    test_set_back_to_an_older_revision,
    world,
)
from tests.kubernetes.conftest import Space
from tests.kubernetes.hands import config_map, secret
from tests.unit.daemon_world import World

__all__ = [
    "test_filled_by_somebody_else",
    "test_found_told_and_mended",
    "test_set_back_to_an_older_revision",
    "world",
]


@pytest.fixture(params=[secret, config_map], ids=["secret", "configmap"])
def ground(request: pytest.FixtureRequest, world: World, space: Space) -> Ground:
    """One ground for each of the two."""
    return ground_of(world, request.param(space))
