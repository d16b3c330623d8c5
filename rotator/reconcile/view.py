"""What one tick knows, and its right to write: the ring as loaded, what was seen since, the write window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import (
    Conflict,
    RingMoved,
    StoreCorrupt,
    StoreUnavailable,
)
from rotator.evidence import stamp
from rotator.fence import writing
from rotator.observed import Observed
from rotator.policy import format_duration
from rotator.reconcile import asking, telling
from rotator.reconcile.look import Seen, look_at, no_answer
from rotator.reconcile.mend import Stalled
from rotator.reconcile.site import Site
from rotator.reconcile.together import Bound
from rotator.ring import KeyRing
from rotator.ring_document import read_ring, write_bounded
from rotator.stores import Stored, Target

Change = Callable[[KeyRing], KeyRing | None]
_SWAPS: Final = 5
_READS: Final = 5
_TOGETHER: Final = timedelta(milliseconds=100)


class View:
    """What one tick knows: the ring as loaded, everything seen since, and the right to write.

    Attributes:
        loaded: the ring as the store holds it; revision 0 when there is none.
        ring: the same with the evidence absorbed and changes made; saved by `swap`.
        now: the wall clock, read after the looks, and `read_at` what CLOCK_BOOTTIME said just then.
        patience: how long targets that are not near are waited for, all of them together; None: for as long
            as each takes to answer or to give up.
    """

    def __init__(
        self, site: Site, *, trusting: bool = True, patience: timedelta | None = None
    ) -> None:
        self.site = site
        self.trusting = trusting
        self.patience = patience
        self.seen: tuple[Seen, ...] = ()
        self.asked: tuple[Seen, ...] = ()
        self.observed = Observed()
        self.swapped = False
        self.load()

    def load(self) -> None:
        """Load the ring, and begin a new write window.

        Raises:
            StoreCorrupt, StoreUnavailable, StoreDenied: as the store and the ring have it.
        """
        site = self.site
        self.loaded_at = site.clock.elapsed()
        self.stored: Stored | None = site.rings.load()
        if self.stored is None:
            self.loaded = KeyRing(site.key_set)
        else:
            self.loaded = self._read(self.stored)
        self.ring = self.loaded
        self.version = self.stored.version if self.stored else None
        self.read_clock()
        self.heard_at = (self.now, self.read_at)

    def read_clock(self) -> None:
        """Read both clocks together: a process that stood still in between would think its clock moved."""
        clock = self.site.clock
        for _ in range(_READS):
            self.read_at = clock.elapsed()
            self.now = clock.now()
            if clock.elapsed() - self.read_at <= _TOGETHER:
                break

    def _read(self, stored: Stored) -> KeyRing:
        try:
            return read_ring(stored.document, key_set=self.site.key_set, place=self.site.place)
        except RingMoved:
            raise
        except StoreCorrupt:
            if self.trusting:
                raise
            # Only an operator's recovery or emergency goes on from here, and replaces these bytes.
            return KeyRing(self.site.key_set)

    def look(self) -> None:
        """Look at every target, ask the signers that are due, and hold what is there against the ring."""
        site, targets = self.site, self.site.targets
        bound = Bound(self.patience, self._late) if self.patience is not None else None
        loaded = self.loaded
        checks = asking.due(site, loaded, self.now)
        looks = tuple(
            site.spread(
                lambda t: look_at(t, loaded, site.keys, site.clock), (*targets, *checks), bound
            )
        )
        self.seen, self.asked = looks[: len(targets)], looks[len(targets) :]
        asking.remember(site, loaded, self.asked)

    def _late(self, target: Target) -> Seen:
        waited = format_duration(self.patience or timedelta())
        return no_answer(target, StoreUnavailable(f"it did not answer within {waited}"))

    @property
    def policy_window(self) -> timedelta:
        """How long after its load this tick may still start a write."""
        return self.ring.in_force(self.site.policy).write_window

    def in_time(self) -> bool:
        """True while the write window is open."""
        return self.site.clock.elapsed() - self.loaded_at <= self.policy_window

    def fence(self) -> None:
        """Refuse a write that comes too late after the load: a stalled writer knows old things.

        Raises:
            Stalled: the write window has passed.
        """
        if not self.in_time():
            raise Stalled(
                f"this process stood still between loading the ring of key set {self.site.key_set} "
                "and a write",
                hint="nothing more was written; the next tick begins anew",
            )

    def date(self) -> datetime:
        """Return the date for what happens now: read after the evidence, never before the ring's latest.

        With a suspicious clock, the latest date in the ring: such a clock sets none of its own.
        """
        latest = self.ring.latest
        if self.observed.suspicious and latest is not None:
            return latest
        # Evidence may have cleared the latest date itself: what was loaded counts as well.
        # The wall clock was judged in this tick; from there on CLOCK_BOOTTIME tells the time, for a
        # leap in between would put a date into the ring that stops every other replica.
        now = self.now + (self.site.clock.elapsed() - self.read_at)
        return max(stamp(self.ring, now), stamp(self.loaded, now))

    def swap(self) -> None:
        """Save the ring, one revision up, if nobody else did since it was loaded.

        Raises:
            Conflict: somebody did, or this process stood still.
            StoreUnavailable, StoreDenied: the store did not take it.
        """
        self.fence()
        ring, document = write_bounded(replace(self.ring, revision=self.loaded.revision + 1))
        with writing(self.in_time):
            self.version = self.site.rings.save(document, replacing=self.version)
        self.site.memory.revision = max(self.site.memory.revision, ring.revision)
        before, self.loaded, self.ring, self.swapped = self.loaded, ring, ring, True
        telling.changes(self.site, before, ring, self.observed)


def update(view: View, change: Change) -> bool:
    """Swap a change that does not depend on what was seen at targets, loading again on a conflict.

    Args:
        change: returns the next ring, or None when it no longer applies.

    Returns:
        False when somebody else did it, or it no longer applies.
    """
    for attempt in range(_SWAPS):
        ring = change(view.ring)
        if ring is None:
            return False
        view.ring = ring
        try:
            view.swap()
        except Stalled:
            raise
        except Conflict:
            if attempt == _SWAPS - 1:
                raise
            view.load()
        else:
            return True
    return False
