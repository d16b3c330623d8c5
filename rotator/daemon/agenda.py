"""When each key set is to be ticked next. Pure: no clock, no thread.

Times count in CLOCK_BOOTTIME, which nobody can set; the date behind a time is kept beside it, so that a
leap of the wall clock can be worked in.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_ZERO: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Turn:
    """When a key set is to be ticked.

    Attributes:
        at: CLOCK_BOOTTIME.
        date: the date by the wall clock that asks for it, where one does; `at` may be earlier.
    """

    at: timedelta
    date: datetime | None = None


class Agenda:
    """The next turn of each key set, the earliest at hand. Asking whether anything is due costs one look."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}
        self._heap: list[tuple[timedelta, int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, key_set: str, turn: Turn) -> None:
        """Enter the next turn of a key set in place of an earlier entry."""
        self._turns[key_set] = turn
        self._push(key_set, turn)
        if len(self._heap) > 2 * len(self._turns) + 64:  # mostly entries that were replaced
            self._rebuild()

    def remove(self, key_set: str) -> bool:
        """Forget the turn of a key set; True when it had one."""
        return self._turns.pop(key_set, None) is not None

    def take(self, elapsed: timedelta) -> list[str]:
        """Remove and return the key sets whose turn has come, the longest overdue first."""
        due = []
        while (first := self._first()) is not None and first[0] <= elapsed:
            heapq.heappop(self._heap)
            del self._turns[first[2]]
            due.append(first[2])
        return due

    def next_at(self) -> timedelta | None:
        """Return the CLOCK_BOOTTIME of the earliest turn, None when there is none."""
        first = self._first()
        return None if first is None else first[0]

    def reconsider(self, now: datetime, elapsed: timedelta) -> None:
        """Work in a leap of the wall clock: dates that are nearer now bring their turns forward.

        Turns are never put off: to look too early is harmless, and the next look knows better.
        """
        for key_set, turn in self._turns.items():
            if turn.date is not None:
                nearer = elapsed + max(turn.date - now, _ZERO)
                if nearer < turn.at:
                    self._turns[key_set] = Turn(nearer, turn.date)
        self._rebuild()

    def _first(self) -> tuple[timedelta, int, str] | None:
        while self._heap:
            first = self._heap[0]
            turn = self._turns.get(first[2])
            if turn is not None and turn.at == first[0]:
                return first
            heapq.heappop(self._heap)  # replaced since
        return None

    def _push(self, key_set: str, turn: Turn) -> None:
        self._count += 1
        heapq.heappush(self._heap, (turn.at, self._count, key_set))

    def _rebuild(self) -> None:
        self._heap = []
        for key_set, turn in self._turns.items():
            self._push(key_set, turn)
