"""The loop: dispatch what is due, set the alarm, wait; and what happens after each tick.

Workers tick, the main thread only dispatches. A key set is with a worker or in the agenda, never both, so
it is never ticked twice at once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from rotator.daemon import voice
from rotator.daemon.agenda import Agenda, Turn
from rotator.daemon.alarm import Alarm
from rotator.daemon.lanes import Workers
from rotator.daemon.pace import (
    RESTLESS,
    after_conflict,
    after_failure,
    after_outcome,
    share_of,
)
from rotator.daemon.waker import Waker
from rotator.errors import Conflict
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit, Outcome, Site
from rotator.reconcile.tick import tick

HEARTBEAT: Final = timedelta(seconds=30)
_TRUST: Final = timedelta(seconds=1)
_LEAP: Final = timedelta(seconds=1)
_SLOW: Final = timedelta(seconds=5)
_STUCK: Final = timedelta(minutes=2)


@dataclass(slots=True)
class Charge:
    """One key set in the daemon's charge.

    Attributes:
        store: which lane ticks it.
        slow: its last tick failed or took long, so it must not take a place from those that do well.
        since: CLOCK_BOOTTIME at which a worker took it up, None while none has it.
        changes: how many ticks changed something since one found all well.
        conflicts, failures: how many ticks in a row ended so.
        said: what was said once and need not be said at each tick.
    """

    site: Site
    store: str
    slow: bool = False
    since: timedelta | None = None
    changes: int = 0
    conflicts: int = 0
    failures: int = 0
    said: dict[str, str] = field(default_factory=dict)


class Daemon:
    """Ticks key sets when it is time.

    Args:
        sites: the key sets; all of them are ticked at once when `run` begins.
        store_of: the name of the store of a key set: one that hangs holds up only its own key sets.
        clock: both clocks; in tests a moved one.
        emit: where events go.
        waker: wakes and ends `run`.
        workers: threads that tick; in tests one that ticks at once.
        alarm: rings at the earliest turn; without one each turn is up to a second late.
        heartbeat: how often at least the clocks are compared and the alarm is set anew.
        chance: returns a number from 0 to 1.
    """

    def __init__(
        self,
        sites: Iterable[Site],
        *,
        store_of: Callable[[str], str],
        clock: Clock,
        emit: Emit,
        waker: Waker,
        workers: Workers,
        alarm: Alarm | None = None,
        heartbeat: timedelta = HEARTBEAT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._charges = {site.key_set: Charge(site, store_of(site.key_set)) for site in sites}
        self._clock, self._emit, self._waker = clock, emit, waker
        self._workers, self._alarm = workers, alarm
        self._heartbeat, self._chance = heartbeat, chance
        self._agenda = Agenda()
        self._lock = threading.Lock()  # the agenda, and who has which key set
        self._alarm_at: timedelta | None = None
        self._beat: tuple[datetime, timedelta] | None = None
        start = clock.elapsed()
        for key_set in self._charges:
            self._agenda.put(key_set, Turn(start))

    def run(self) -> None:
        """Tick until the waker says stop; then return at once, whatever is under way."""
        while not self._waker.stopping:
            self.compare_clocks()
            self.dispatch()
            delay = self._set_alarm()
            # A second late at most, should the alarm not ring.
            self._waker.wait(min(delay + _TRUST, self._heartbeat).total_seconds())

    def drained(self, timeout: float) -> bool:
        """Start no tick any more; wait up to `timeout` seconds for those under way. True when none is left."""
        self._workers.close()
        return self._workers.wait_idle(timeout)

    def abandon(self) -> None:
        """Say which key sets are left in the middle of a tick; the next tick of anyone finishes it."""
        names = [name for name, charge in self._charges.items() if charge.since is not None]
        voice.abandoned(self._emit, names)

    def dispatch(self) -> int:
        """Hand every key set whose turn has come to a worker; return how many that were."""
        elapsed = self._clock.elapsed()
        with self._lock:
            due = self._agenda.take(elapsed)
        for key_set in due:
            charge = self._charges[key_set]
            self._workers.submit((charge.store, charge.slow), partial(self._turn, charge))
        return len(due)

    def next_at(self) -> timedelta | None:
        """Return the CLOCK_BOOTTIME of the earliest turn, None while every key set is with a worker."""
        with self._lock:
            return self._agenda.next_at()

    def compare_clocks(self) -> None:
        """Notice leaps of the wall clock, absences, and workers that do not come back."""
        now, elapsed = self._clock.now(), self._clock.elapsed()
        before, self._beat = self._beat, (now, elapsed)
        if before is None:
            return
        absence = elapsed - before[1]
        leap = (now - before[0]) - absence
        if absence > 2 * self._heartbeat:
            voice.resumed(self._emit, absence)
        if abs(leap) > _LEAP:
            voice.jumped(self._emit, leap, now)
            with self._lock:
                self._agenda.reconsider(now, elapsed)
        for charge in self._charges.values():
            if charge.since is not None and elapsed - charge.since > _STUCK:
                voice.stuck(self._emit, charge.site, charge.said, elapsed - charge.since)

    def _set_alarm(self) -> timedelta:
        """Set the alarm to the earliest turn, and return how far away that is."""
        with self._lock:
            self._alarm_at = at = self._agenda.next_at()
        if at is None:
            return self._heartbeat
        delay = max(at - self._clock.elapsed(), timedelta(0))
        if self._alarm is not None:
            self._alarm.set(delay)
        return delay

    def _turn(self, charge: Charge) -> None:
        """Tick one key set, in a worker, and enter its next turn."""
        if self._waker.stopping:
            return
        charge.since = started = self._clock.elapsed()
        turn = self._tick(charge)
        if self._clock.elapsed() - started > _SLOW:
            charge.slow = True
        with self._lock:
            charge.since = None
            self._agenda.put(charge.site.key_set, turn)
            earlier = self._alarm_at is None or turn.at < self._alarm_at
        if earlier:
            self._waker.wake()

    def _tick(self, charge: Charge) -> Turn:
        site = charge.site
        share = share_of(site.key_set, self._chance())
        try:
            outcome = tick(site)
            self._went_well(charge, outcome)
            return after_outcome(
                outcome,
                site.policy,
                elapsed=self._clock.elapsed(),
                now=self._clock.now(),
                share=share,
                in_a_row=charge.changes,
            )
        except Conflict:
            charge.conflicts += 1
            return after_conflict(self._clock.elapsed(), self._chance(), charge.conflicts)
        except Exception as error:  # noqa: BLE001 - one key set's fault must not end the others' rotation
            charge.conflicts = charge.changes = 0
            charge.failures += 1
            charge.slow = True
            voice.failing(self._emit, site, charge.said, error)
            return after_failure(site.policy, self._clock.elapsed(), share, charge.failures)

    def _went_well(self, charge: Charge, outcome: Outcome) -> None:
        charge.conflicts = charge.failures = 0
        charge.slow = bool(outcome.failures)
        if outcome.changed:
            charge.changes += 1
        elif (
            not outcome.failures
        ):  # a target that does not keep what it is given shows as a failure
            charge.changes = 0
        voice.healed(self._emit, charge.site, charge.said)
        if not outcome.changed:
            detailed = len(self._charges) <= voice.FLEET
            voice.waiting(self._emit, charge.site, charge.said, outcome.step, detailed=detailed)
        elif charge.changes == RESTLESS + 1:
            voice.restless(self._emit, charge.site, charge.changes)
