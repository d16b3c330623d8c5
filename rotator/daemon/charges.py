"""Which key sets the daemon has in its charge, when each is ticked next, and who is at it just now.

A key set is with a worker, in the agenda, or in the lane of its store; never in two of them, so it is never
ticked twice at once, whatever a reload does meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.daemon.agenda import Agenda, Turn
from rotator.reconcile.site import Site


@dataclass(slots=True)
class Charge:
    """One key set in the daemon's charge.

    Attributes:
        site: what the next tick begins with; a reload replaces it.
        store: which lane ticks it.
        slow: its last tick failed or took long, so it must not take a place from those that do well.
        since: CLOCK_BOOTTIME at which a worker took it up, None while none has it.
        ticket: a job that was submitted with another number has lost its turn.
        anew: a reload changed it during a tick, which another must follow at once.
        gone: it left the configuration during a tick, which none follows.
        changes: how many ticks changed something since one found all well.
        conflicts, failures: how many ticks in a row ended so.
        said: what was said once and need not be said at each tick.
    """

    site: Site
    store: str
    slow: bool = False
    since: timedelta | None = None
    ticket: int = 0
    anew: bool = False
    gone: bool = False
    changes: int = 0
    conflicts: int = 0
    failures: int = 0
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a reload did: the sites that left, the names that are new, and whether an old tick goes on."""

    gone: tuple[Site, ...]
    new: tuple[str, ...]
    busy: bool


class Charges:
    """The key sets in the daemon's charge; all of it may be called from any thread.

    Args:
        start: CLOCK_BOOTTIME of the first turn of each.
    """

    def __init__(
        self, sites: Iterable[Site], store_of: Callable[[str], str], start: timedelta
    ) -> None:
        self.lock = threading.RLock()
        self._all = {site.key_set: Charge(site, store_of(site.key_set)) for site in sites}
        self._parting: dict[str, Charge] = {}  # gone, but for the tick under way
        self._ticking: dict[str, Charge] = {}  # kept apart, for each pass of the loop asks for them
        self._leaving: list[tuple[set[str], Callable[[], None]]] = []
        self._agenda = Agenda()
        for key_set in self._all:
            self._agenda.put(key_set, Turn(start))

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key_set: str) -> bool:
        return key_set in self._all

    def names(self) -> list[str]:
        """Return the names of the key sets."""
        with self.lock:
            return list(self._all)

    def take(self, elapsed: timedelta) -> list[Charge]:
        """Take from the agenda whose turn has come, the longest overdue first."""
        with self.lock:
            return [self._all[name] for name in self._agenda.take(elapsed)]

    def next_at(self) -> timedelta | None:
        """Return the CLOCK_BOOTTIME of the earliest turn, None while every key set is with a worker."""
        with self.lock:
            return self._agenda.next_at()

    def reconsider(self, now: datetime, elapsed: timedelta) -> None:
        """Work in a leap of the wall clock, see `Agenda.reconsider`."""
        with self.lock:
            self._agenda.reconsider(now, elapsed)

    def under_way(self) -> list[Charge]:
        """Return those that a worker has, those that left the configuration meanwhile among them."""
        with self.lock:
            return list(self._ticking.values())

    def begin(self, charge: Charge, ticket: int, elapsed: timedelta) -> Site | None:
        """Return what a worker is to tick, None when its job has lost its turn."""
        with self.lock:
            if charge.ticket != ticket:
                return None
            charge.since = elapsed
            self._ticking[charge.site.key_set] = charge
            return charge.site

    def end(self, charge: Charge, turn: Turn, elapsed: timedelta) -> list[Callable[[], None]]:
        """Note the end of a tick; return what is to be called since nothing older is in use any more."""
        name = charge.site.key_set
        with self.lock:
            charge.since = None
            del self._ticking[name]
            if charge.gone:
                self._parting.pop(name, None)
            else:
                if charge.anew:
                    turn, charge.slow = Turn(elapsed), False
                self._agenda.put(name, turn)
            charge.anew = False
            for busy, _ in self._leaving:
                busy.discard(name)
            left = [done for busy, done in self._leaving if not busy]
            self._leaving = [item for item in self._leaving if item[0]]
            return left

    def replace(
        self,
        sites: Iterable[Site],
        store_of: Callable[[str], str],
        elapsed: timedelta,
        *,
        changed: Collection[str],
        done: Callable[[], None],
    ) -> Replaced:
        """Go over to the key sets of another configuration, see `Daemon.replace`."""
        wanted = {site.key_set: site for site in sites}
        with self.lock:
            busy = {charge.site.key_set for charge in self.under_way()}
            gone = [self._all[name] for name in self._all if name not in wanted]
            new = tuple(name for name in wanted if name not in self._all)
            for charge in gone:
                self._part_with(charge)
            for name, site in wanted.items():
                self._take_over(name, site, store_of(name), elapsed, changed=name in changed)
            if busy:
                self._leaving.append((busy, done))
        return Replaced(tuple(charge.site for charge in gone), new, bool(busy))

    def _part_with(self, charge: Charge) -> None:
        name = charge.site.key_set
        del self._all[name]
        self._agenda.remove(name)
        if charge.since is None:
            charge.ticket += 1
        else:
            charge.gone = True
            self._parting[name] = charge

    def _take_over(
        self, name: str, site: Site, store: str, elapsed: timedelta, *, changed: bool
    ) -> None:
        charge = self._all.get(name) or self._parting.pop(name, None)
        if charge is None:
            self._all[name] = Charge(site, store)
            self._agenda.put(name, Turn(elapsed))
            return
        self._all[name] = charge
        changed, charge.gone = changed or charge.gone, False
        site.memory = charge.site.memory
        charge.site = site
        if not changed:
            return
        charge.store, charge.slow = store, False
        charge.changes = charge.conflicts = charge.failures = 0
        if charge.since is not None:
            charge.anew = True
        else:
            # It may wait in the lane of a store that hangs: that job has lost its turn.
            charge.ticket += 1
            self._agenda.put(name, Turn(elapsed))
