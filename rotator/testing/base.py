"""What all contracts share: where a test finds its store, and the guard that keeps every test in."""
# ruff: noqa: S101  # asserts are what a contract is made of

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rotator.stores import Store, find_backend


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stores of one test are: opened as often as the test likes, each time the same place.

    Args:
        open: opens one more handle on the place.
        address: the name of the backend and its settings (as JSON would hold them), by which another
            process opens the same place; None for a store that lives in this process, whose races are
            then run between threads.
        racers: how many processes or threads race; fewer where each call costs money.
        preload: modules that every racer needs, such as an SDK that `open` imports; loaded once for all.
    """

    open: Callable[[], Store]
    address: tuple[str, Mapping[str, Any]] | None = None
    racers: int = 16
    preload: tuple[str, ...] = ()

    @classmethod
    def of_backend(
        cls,
        name: str,
        settings: Mapping[str, Any],
        *,
        racers: int = 16,
        preload: tuple[str, ...] = (),
    ) -> Place:
        """Return the place that an installed backend opens with these settings.

        Raises:
            BackendMissing: no such backend is installed.
        """
        backend = find_backend(name)
        parsed = backend.settings()(**settings)
        return cls(lambda: backend.open(parsed), (name, dict(settings)), racers, preload)


class Contract:
    """The base of all contracts: refuses, when the class is made, a subclass that leaves a test out."""

    @pytest.fixture
    def place(self) -> Place:
        """Return a place in which nothing is stored yet; every subclass gives its own."""
        raise NotImplementedError("a subclass of a contract gives the fixture `place`")

    def __init_subclass__(cls, **keywords: object) -> None:
        """Hold the subclass to every test of its contracts.

        Raises:
            TypeError: a test is overridden or deleted without `@pytest.mark.xfail(reason=…)`.
        """
        super().__init_subclass__(**keywords)
        for base in cls.__mro__[1:]:
            if not base.__module__.startswith("rotator.testing."):
                continue
            for name in vars(base):
                found = getattr(cls, name, None)
                if name.startswith("test_") and not _is_kept(found, vars(base)[name]):
                    raise TypeError(
                        f"{cls.__name__} overrides {name} of {base.__name__}: a test of the contract "
                        "stays, or is marked xfail with a reason"
                    )

    def test_the_contract_is_whole(self) -> None:
        """A test that was deleted or replaced after the class was made is missed."""
        for base in type(self).__mro__[1:]:
            for name, test in vars(base).items():
                if name.startswith("test_") and base.__module__.startswith("rotator.testing."):
                    assert _is_kept(getattr(type(self), name, None), test), f"{name} was replaced"


def _is_kept(found: object, original: object) -> bool:
    return found is original or any(
        mark.name == "xfail" and mark.kwargs.get("reason")
        for mark in getattr(found, "pytestmark", ())
    )
