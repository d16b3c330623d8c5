"""Fixtures of the tests of `rotator exec`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exec.bench import Bench
from tests.exec.forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What runs commands in forks."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def make(tmp_path: Path, forks: Forks) -> Iterator[Callable[..., Bench]]:
    """Makes the bench of a test, which has no key yet; each is at a place of its own."""
    made: list[Bench] = []

    def bench(**more: Any) -> Bench:
        home = tmp_path / f"bench-{len(made)}"
        home.mkdir()
        made.append(Bench(home, forks, **more))
        return made[-1]

    yield bench
    for one in made:
        one.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """A bench whose first key signs and whose next one is announced."""
    bench = make()
    bench.rotate()
    return bench
