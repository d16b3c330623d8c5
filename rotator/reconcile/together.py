"""Doing the same with several targets: one after the other, or at the same time in a bounded number of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, Protocol, TypeVar

from rotator.errors import RotatorError

AT_A_TIME: Final = 64
"""How many targets of one key set are looked at, or written to, at the same time: each that hangs holds one."""

_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(frozen=True, slots=True)
class Bound(Generic[_A, _B]):
    """How long is waited for all of them together, and what stands for one that takes longer.

    What such a one has begun goes on by itself, and what comes of it is not waited for.
    """

    patience: timedelta
    late: Callable[[_A], _B]


class Spread(Protocol):
    """Does something with each of several items and returns what came of them, in the order of the items."""

    def __call__(
        self, act: Callable[[_A], _B], items: Iterable[_A], bound: Bound[_A, _B] | None = None
    ) -> Sequence[_B]:
        """Act on all of them.

        Raises:
            BaseException: what `act` raised, for the first item in order.
        """
        ...


def one_by_one(
    act: Callable[[_A], _B], items: Iterable[_A], bound: Bound[_A, _B] | None = None
) -> Sequence[_B]:
    """Act on one item after the other in this thread: for targets that are near, and do not hang.

    No bound holds here, and the first failure ends it.
    """
    del bound
    return [act(item) for item in items]


def together(
    act: Callable[[_A], _B], items: Iterable[_A], bound: Bound[_A, _B] | None = None
) -> Sequence[_B]:
    """Act on all items at the same time: what one takes is not added to what another takes.

    The threads are made for these items and end with them, so that those of one key set which hang take none
    from another. They are daemon threads: a call that never returns must not keep the process from ending.
    One item without a bound is acted on in this thread.
    """
    todo = list(items)
    if len(todo) < 2 and bound is None:
        return [act(item) for item in todo]
    return _Round(act, todo).results(bound)


class _Round(Generic[_A, _B]):
    def __init__(self, act: Callable[[_A], _B], items: Sequence[_A]) -> None:
        self._act = act
        self._items = items
        self._todo = deque(range(len(items)))
        self._results: dict[int, _B] = {}
        self._failures: dict[int, BaseException] = {}
        self._changed = threading.Condition()

    def results(self, bound: Bound[_A, _B] | None) -> Sequence[_B]:
        for _ in range(min(len(self._items), AT_A_TIME)):
            threading.Thread(target=self._work, name="target", daemon=True).start()
        patience = None if bound is None else bound.patience.total_seconds()
        with self._changed:
            try:
                self._changed.wait_for(self._over, patience)
            finally:
                self._todo.clear()  # also when whoever waits is interrupted: nothing more begins
            results, failures = dict(self._results), dict(self._failures)
        for index in sorted(failures):
            raise failures[index]
        if bound is None:
            return [results[index] for index in range(len(self._items))]
        return [
            results[index] if index in results else bound.late(item)
            for index, item in enumerate(self._items)
        ]

    def _over(self) -> bool:
        return len(self._results) + len(self._failures) == len(self._items)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._todo:
                    return
                index = self._todo.popleft()
            try:
                result = self._act(self._items[index])
            except BaseException as error:  # noqa: BLE001 - raised again where the results are waited for
                with self._changed:
                    self._failures[index] = error
                    self._changed.notify_all()
            else:
                with self._changed:
                    self._results[index] = result
                    self._changed.notify_all()


class Once(Generic[_A]):
    """Things that several threads ask for and only the first makes, such as the material of a key.

    That it cannot be made is kept as well: it is not tried again for each that asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Hashable, _A] = {}
        self._failed: dict[Hashable, RotatorError] = {}

    def get(self, name: Hashable, make: Callable[[], _A]) -> _A:
        """Return the thing of a name, made at most once.

        Raises:
            RotatorError: what `make` raised, now or before.
        """
        with self._lock:
            if name in self._failed:
                # Without the traceback of the first, whose frames may hold key material.
                raise self._failed[name].with_traceback(None)
            if name not in self._made:
                try:
                    self._made[name] = make()
                except RotatorError as error:
                    self._failed[name] = error
                    raise
            return self._made[name]
