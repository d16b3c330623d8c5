"""Compare-and-set on a variable of a server that has none.

Conjur gives every write of a variable the next version number, under a unique key: the versions are one ordered log.
So each value carries the number that its writer expected to get (`expects`), and a random nonce, without which an equal
value would make no version. A version whose `expects` is its own number counts; any other is *void*: its writer
was overtaken. The newest that counts is the *head*. A writer reads the head, writes with `expects` one above the latest
number, and reads that number back: its own bytes there are the proof that nobody came between.

The server keeps twenty versions, so twenty void ones in a row would lose the head. Losers wait longer each time,
and from eight void versions on nobody writes before the variable has been quiet for a moment.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from rotator.plugin import ServerTime, StoreUnavailable
from rotator_conjur.client import Conjur

MANY_VOID: Final = 8
"""From this many void versions on, a write waits until nobody else writes."""

_ROUNDS: Final = (
    40  # of waiting for a chance to write; the waits grow, so this is a minute at the very most
)
_FIRST_WAIT: Final = 0.02  # seconds
_LONGEST_WAIT: Final = 1.5  # seconds
_PATIENCE: Final = 10.0  # seconds


class Entry(Protocol):
    """One version, parsed."""

    @property
    def expects(self) -> int | None:
        """The version number that its writer expected; None if it is not of our writing."""
        ...


_E = TypeVar("_E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Look(Generic[_E]):
    """A variable as it was seen.

    Attributes:
        latest: the number of the latest version; 0 where there is none.
        head: the newest version that counts.
        head_version: its number; 0 without one.
        seen: what the latest version holds, void or not; None where there is none.
        time: the witness of the clock.
    """

    latest: int
    head: _E | None
    head_version: int
    seen: _E | None
    time: ServerTime | None = None

    @property
    def void(self) -> int:
        """How many versions stand above the head."""
        return self.latest - self.head_version


class History(Generic[_E]):
    """The versions of one variable.

    Args:
        parse: makes an entry of the bytes of a version.
    """

    def __init__(self, conjur: Conjur, variable: str, parse: Callable[[bytes], _E]) -> None:
        self._conjur = conjur
        self.variable = variable
        self._parse = parse

    @property
    def place(self) -> str:
        """Where the variable is, for messages."""
        return f"Conjur at {self._conjur.url}"

    def look(self) -> Look[_E]:
        """Read the latest version and the head.

        Raises:
            StoreDenied, StoreUnavailable: no answer.
        """
        for _ in range(_ROUNDS):
            numbers, witness = self._conjur.versions(self.variable)
            found = self._walk(numbers, witness)
            if found is not None:
                return found
        raise StoreUnavailable(
            f"the versions of {self.variable!r} in {self.place} change faster than they can be read",
            hint="see who else writes it; it is tried again",
        )

    def _walk(self, numbers: list[int], witness: ServerTime | None) -> Look[_E] | None:
        """Go down from the latest version to the head; None when a version vanished on the way."""
        latest = numbers[-1] if numbers else 0
        seen: _E | None = None
        for number in reversed(numbers):
            value = self._conjur.value(self.variable, number)
            if value is None:
                return None
            entry = self._parse(value)
            seen = entry if number == latest else seen
            if entry.expects == number:
                return Look(latest, entry, number, seen, witness)
        return Look(latest, None, 0, seen, witness)

    def newest(self, wanted: Callable[[_E], bool], known: set[int]) -> int:
        """Return the number of the newest version that is wanted; 0 if none is.

        Args:
            known: numbers of versions that are known not to be; grows with what is read.
        """
        numbers, _ = self._conjur.versions(self.variable)
        for number in reversed(numbers):
            if number in known:
                continue
            value = self._conjur.value(self.variable, number)
            if value is not None and wanted(self._parse(value)):
                return number
            known.add(number)
        return 0

    def holds(self, number: int, value: bytes) -> bool:
        """Tell whether a version has a value."""
        return self._conjur.value(self.variable, number) == value

    def append(self, look: Look[_E], make: Callable[[int], bytes]) -> Look[_E] | None:
        """Write the version after the latest one seen; None when that became somebody else's.

        Args:
            make: the value for the number that it expects.

        Raises:
            StoreUnavailable: there was no answer, and it cannot be said whether it was written.
        """
        number = look.latest + 1
        value = make(number)
        failure: StoreUnavailable | None = None
        try:
            self._conjur.put(self.variable, value)
        except StoreUnavailable as error:
            failure = error
        found = self._conjur.value(self.variable, number)
        if found is None:
            raise failure or StoreUnavailable(
                f"what was written to {self.variable!r} in {self.place} cannot be read back",
                hint="is `url` the Leader's? a follower lags behind",
            )
        if found != value:
            return None
        entry = self._parse(value)
        return Look(number, entry, number, entry)

    def quiet(self, look: Look[_E]) -> Look[_E]:
        """Return the variable as it is before a write; where many versions are void, once nobody writes it.

        Raises:
            StoreUnavailable: others went on writing all the time.
        """
        waits = Waits()
        while look.head_version and look.void >= MANY_VOID:
            waits.longer(
                f"{look.void} versions of {self.variable} are void and others go on writing"
            )
            again = self.look()
            if again.latest == look.latest:
                return again  # our own write becomes the head, far from the end of what is kept
            look = again
        return look


class Waits:
    """Waits that grow, with a jitter, so that replicas part."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._next = _FIRST_WAIT

    def longer(self, why: str) -> None:
        """Wait, up to twice as long as the last time.

        Raises:
            StoreUnavailable: it was waited long enough; `why` is its message.
        """
        if time.monotonic() - self._began > _PATIENCE:
            raise StoreUnavailable(
                why,
                hint="let fewer replicas rotate one key set; it is tried again at the next tick",
            )
        time.sleep(random.uniform(self._next / 4, self._next))  # noqa: S311 - parts replicas, keeps no secret
        self._next = min(self._next * 2, _LONGEST_WAIT)
