"""Fixtures of the end-to-end tests on real servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.servers_e2e.warm import Warm


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What this process itself reads of a store is of no interest."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Return what runs commands in forked processes."""
    warm = Warm()
    yield warm
    warm.close()
