"""Everything that a tick of one key set needs from outside, and what a process remembers between ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from rotator.errors import RotatorError, worst_exit_code
from rotator.keys import KeyMaker, NewKey
from rotator.leftovers import Leftover, cleaning_command, left_behind
from rotator.observed import Observed, Sighting
from rotator.policy import RotationPolicy
from rotator.reconcile.look import Clock
from rotator.reconcile.mend import Written
from rotator.reconcile.together import Spread, one_by_one
from rotator.ring import KeyRing
from rotator.step import Do, Step
from rotator.stores import MaterialStore, RingStore, Target

if TYPE_CHECKING:
    from rotator.signers.wall import SignerCheck

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=5)


class Emit(Protocol):
    """Where events go; `docs/events.md` lists them. Never given key material."""

    def __call__(self, level: str, event: str, **fields: Any) -> None:
        """Take one event: `level` is `debug`, `info`, `warning` or `error`."""
        ...


@dataclass(slots=True)
class Failing:
    """A target that fails: why, how often in a row, and when (CLOCK_BOOTTIME) it is tried again.

    `write` is True when it answers and does not take, or does not keep, what is written: only then are
    writes held back until `again_at`, and only a look that shows the right document ends it.
    """

    error: RotatorError
    count: int
    again_at: timedelta
    write: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signer check said: when (CLOCK_BOOTTIME), and with which key, promoted when, in the ring."""

    at: timedelta
    signs: tuple[str, datetime | None]
    seen: Sighting


@dataclass(slots=True)
class Memory:
    """What one process remembers of one key set between ticks; all of it can be lost without harm.

    Attributes:
        revision: the highest revision of the ring that this process saw; 0 when it never saw one.
        base: wall clock and CLOCK_BOOTTIME when this process first, or last, trusted its clock.
        confirmed_at: the last operator's word on the clocks that was in the ring.
        loaded: CLOCK_BOOTTIME of the last load.
        creating: by kid, since when (CLOCK_BOOTTIME) somebody else's `creating` key was seen unchanged.
        spare: a key that was made but came too late to be used; the next creation takes it.
        put: kids of `creating` keys whose material this process put itself.
        wrote: by target, the revision that was written there in the last tick.
        conflicts: by target, how often in a row somebody else was faster.
        said: what was said once and need not be said at each tick.
        asked: by signer check, what it said last.
        shown: by target, the revision that it was last seen with, 0 for none; what is missing was empty.
    """

    revision: int = 0
    base: tuple[datetime, timedelta] | None = None
    confirmed_at: datetime | None = None
    loaded: timedelta | None = None
    creating: dict[str, timedelta] = field(default_factory=dict)
    failing: dict[str, Failing] = field(default_factory=dict)
    spare: NewKey | None = None
    put: set[str] = field(default_factory=set)
    wrote: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    confirmed_known: bool = False

    def drift(self, now: datetime, elapsed: timedelta) -> timedelta:
        """Return how far the wall clock has parted from CLOCK_BOOTTIME since it was trusted."""
        if self.base is None:
            self.base = (now, elapsed)
        return (now - self.base[0]) - (elapsed - self.base[1])

    def operator_confirmed(
        self, ring: KeyRing, now: datetime, elapsed: timedelta, clock_skew: timedelta
    ) -> bool:
        """True when an operator confirmed the clocks since this process last loaded the ring.

        The word is worth something only if our clock fits the time at which it was given.
        """
        said, before, last = ring.clock_confirmed_at, self.confirmed_at, self.loaded
        known = self.confirmed_known
        self.confirmed_at, self.loaded, self.confirmed_known = said, elapsed, True
        if not known or said is None or said == before or last is None:
            return False
        return -clock_skew <= now - said <= (elapsed - last) + clock_skew

    def remember(
        self,
        looks: Mapping[str, RotatorError],
        writes: Mapping[str, RotatorError],
        elapsed: timedelta,
        longest: timedelta = _LONGEST_PAUSE,
    ) -> timedelta | None:
        """Remember which targets fail, so that each next try comes later; return when the first comes.

        Args:
            looks: why targets gave no answer, or not one of ours.
            writes: why targets did not take what was written.
            longest: one resync, for once a target is healthy nothing is late by more.
        """
        found = {**looks, **writes}
        self.failing = {name: item for name, item in self.failing.items() if name in found}
        for name, error in found.items():
            before = self.failing.get(name)
            if before is not None and elapsed < before.again_at:
                continue
            count = before.count + 1 if before else 1
            pause = min(_FIRST_PAUSE * 2 ** min(count - 1, 20), _LONGEST_PAUSE, longest)
            # Without its traceback, whose frames may hold key material.
            kept = error.with_traceback(None)
            self.failing[name] = Failing(kept, count, elapsed + pause, name in writes)
        return min((item.again_at for item in self.failing.values()), default=None)

    def unproven(self, written: Iterable[str]) -> dict[str, RotatorError]:
        """Return which targets failed to keep a write before, and were just written to again."""
        failing = {name: item for name, item in self.failing.items() if item.write}
        return {name: failing[name].error for name in written if name in failing}

    def deferred(self, name: str, elapsed: timedelta) -> RotatorError | None:
        """Return why a target is not written to yet, None when it may be."""
        failing = self.failing.get(name)
        if failing is None or not failing.write or elapsed >= failing.again_at:
            return None
        return failing.error


@dataclass(slots=True)
class Site:
    """One key set as one process sees it.

    Attributes:
        place: where the ring lies, for messages (a path, the name of a secret).
        spread: whether targets are looked at, and written, one by one or at the same time.
        verifiers: the profiles of the verifiers, for what a revocation says.
        first_run: True when the operator said `rotate --first-run`.
        signers: the signer checks, which are looked at beside the targets.
        forgetting: the target that an operator just says is gone: nobody need be told that it was left behind.
        cleaning: returns the command that cleans a target, by its name, once it left the configuration.
    """

    key_set: str
    policy: RotationPolicy
    rings: RingStore
    material: MaterialStore
    targets: tuple[Target, ...]
    keys: KeyMaker
    clock: Clock
    emit: Emit
    memory: Memory = field(default_factory=Memory)
    spread: Spread = one_by_one
    place: str = ""
    first_run: bool = False
    verifiers: tuple[str, ...] = ()
    signers: tuple[SignerCheck, ...] = ()
    forgetting: str = ""
    cleaning: Callable[[str], str] = cleaning_command

    def left_behind(self, ring: KeyRing) -> tuple[Leftover, ...]:
        """Return the targets that the ring remembers and that are configured no more."""
        configured = {item.name for item in (*self.targets, *self.signers)}
        return tuple(left_behind(ring, configured, self.cleaning))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one tick did.

    Attributes:
        changed: something was written, so another tick should follow at once, to look at it.
        retry_at: CLOCK_BOOTTIME at which a failing target may be tried again, None when none fails.
        failures: by target (or `material`), what went wrong.
        observed: what was seen, and `now` when.
    """

    ring: KeyRing
    step: Step
    changed: bool
    written: tuple[Written, ...]
    failures: dict[str, RotatorError]
    retry_at: timedelta | None
    observed: Observed
    now: datetime

    @property
    def exit_code(self) -> int:
        """0 when the desired state is reached or merely waited for; else why it is not.

        A target that is down is a temporary matter of the key set (75), whatever its own store said;
        what will not pass by itself is told apart.
        """
        codes = [75 if code == 69 else code for code in self._codes()]
        return worst_exit_code(codes)

    def _codes(self) -> Iterator[int]:
        yield from (failure.exit_code for failure in self.failures.values())
        if self.step.do is Do.WAIT and self.step.blocked:
            yield 75
