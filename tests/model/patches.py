"""How a fault is put into the program for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

from rotator.policy import RotationPolicy

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


def instead(owner: Any, name: str, new: Any) -> Patch:
    """Return a patch that replaces one thing."""
    return lambda: mock.patch.object(owner, name, new)


@contextlib.contextmanager
def together(*patches: Patch) -> Iterator[None]:
    """Put several patches in at once."""
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        yield


def floor_without(floor: str, name: str) -> Patch:
    """Leave one term out of a floor of the timing contract."""
    whole = getattr(RotationPolicy, floor).fget

    def lacking(policy: RotationPolicy) -> timedelta:
        term = 2 * policy.clock_skew if name == "2 × clock_skew" else getattr(policy, name)
        left: timedelta = whole(policy) - term
        return left

    return instead(RotationPolicy, floor, property(lacking))


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault: what it is called, what it breaks, how it is put in, and where it shows.

    `kind` is the kind of secrets manager over which it shows.
    """

    name: str
    breaks: str
    patch: Patch
    scenario: Callable[[], None]
    kind: str = "plain"
