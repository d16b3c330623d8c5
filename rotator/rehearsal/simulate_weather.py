"""The weather of a rehearsal: what goes wrong in it, drawn from a seed.

Only what the promise of DESIGN §3 has to bear: stores and targets that fail, processes that are killed or stand
still in the midst of a tick, clocks that step within what is allowed or leap so that it can be detected. No hand
writes at a target, and no operator orders anything.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from rotator.policy import RotationPolicy
from rotator.rehearsal.walls import AnyStore, Fault, Place

if TYPE_CHECKING:
    from rotator.rehearsal.simulate_cast import Replica

_TARGET_FAULTS: Final = (Fault.SILENT, Fault.DENIED, Fault.READ_ONLY, Fault.LATE_ERROR, Fault.LIES)
_BAD_DAYS: Final = 24  # pieces of bad weather in each `rotate_every`, on average
_NEAR_A_DATE: Final = 0.6  # of them, drawn to just around a date at which something is due
_LONGEST: Final = 0.05  # of `rotate_every`: how long one lasts at most
_PASSAGES: Final = 60  # a tick has about as many calls before and after which it can stop
_KINDS: Final = ("target", "target", "store", "crash", "crash", "pause", "step", "leap")


@dataclass(slots=True)
class Weather:
    """What goes wrong, and when it is over.

    Attributes:
        seen: how often each kind of it was there.
        next_at: true time of the next piece.
        ends: what is over when, each with what it was.
    """

    rng: random.Random
    policy: RotationPolicy
    store: AnyStore
    places: list[Place]
    replicas: list[Replica]
    next_at: datetime
    seen: Counter[str] = field(default_factory=Counter)
    ends: list[tuple[datetime, AnyStore | Place | Replica]] = field(default_factory=list)

    def next_change(self) -> datetime:
        """Return the true time at which the weather changes next."""
        return min([self.next_at, *(end for end, _ in self.ends)])

    def change(self, now: datetime, dates: list[datetime]) -> None:
        """End what is over, and begin what is to begin.

        Args:
            dates: when processes want to do something, in true time.
        """
        for end, what in [item for item in self.ends if item[0] <= now]:
            self.ends.remove((end, what))
            self._end(what)
        if self.next_at <= now:
            self._begin(now)
            self.next_at = self._after(now, dates)

    def clear(self) -> None:
        """End all that goes on."""
        for _, what in self.ends:
            self._end(what)
        self.ends.clear()

    def _after(self, now: datetime, dates: list[datetime]) -> datetime:
        every, resync = self.policy.rotate_every, self.policy.resync
        ahead = [date for date in dates if date > now + 2 * resync]
        if ahead and self.rng.random() < _NEAR_A_DATE:
            at = min(ahead) + resync * self.rng.uniform(-1, 1)
            if at < now + every:
                return at
        return now + max(every / _BAD_DAYS * self.rng.expovariate(1), timedelta(seconds=1))

    def _lasting(self) -> timedelta:
        """Return how long it lasts: short more often than long, each scale as likely as the next."""
        shortest = self.policy.resync.total_seconds() / 10
        longest = max(self.policy.rotate_every.total_seconds() * _LONGEST, 10 * shortest)
        return timedelta(seconds=math.exp(self.rng.uniform(math.log(shortest), math.log(longest))))

    def _begin(self, now: datetime) -> None:
        kind, until = self.rng.choice(_KINDS), now + self._lasting()
        if kind == "target":
            place = self.rng.choice(self.places)
            if place in [what for _, what in self.ends]:
                return
            place.fault = self.rng.choice(_TARGET_FAULTS)
            self.ends.append((until, place))
        elif kind == "store":
            if self.store in [what for _, what in self.ends]:
                return
            self.store.fault = self.rng.choice(self.store.faults)
            self.ends.append((until, self.store))
        else:
            replica = self.rng.choice(self.replicas)
            if not self._befalls(kind, replica, until):
                return
        self.seen[kind] += 1

    def _befalls(self, kind: str, replica: Replica, until: datetime) -> bool:
        """Let something befall a process or its host; False when it cannot just now."""
        half = self.policy.clock_skew / 2
        unaware = replica.site.memory.base is None and not self.store.witness
        if replica.ill or (kind == "leap" and unaware):
            return False  # an error that nobody could detect is beyond the promise
        if kind == "step":
            replica.host.offset = half * self.rng.uniform(-1, 1)
        elif kind == "crash":
            replica.crash_at = self.rng.randrange(1, _PASSAGES)
        elif kind == "pause":
            replica.pause_at, replica.paused_for = self.rng.randrange(_PASSAGES), self._lasting()
        else:
            far = self.rng.choice((1, 24, 24 * 400)) * timedelta(hours=1) + 3 * half
            replica.host.offset = self.rng.choice((-1, 1)) * far
            replica.ill = True
            self.ends.append((until, replica))
        return True

    def _end(self, what: AnyStore | Place | Replica) -> None:
        if isinstance(what, (AnyStore, Place)):
            what.fault = Fault.NONE
        else:
            what.host.offset = self.policy.clock_skew / 2 * self.rng.uniform(-1, 1)
            what.ill = False
