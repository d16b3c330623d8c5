"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.bench import Bench
from tests.cli.forge import Forge, shared


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a configuration of one ES256 key set that has no ring yet."""
    return Bench(tmp_path)


@pytest.fixture
def running(bench: Bench) -> Bench:
    """Return the same after its first run: one key signs, the next is announced."""
    bench.good("rotate")
    return bench


@pytest.fixture(scope="session")
def forge() -> Forge:
    """Return what runs commands in forked processes."""
    return shared()
