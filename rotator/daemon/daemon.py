"""The loop: dispatch what is due, set the alarm, wait; and what happens after each tick.

Workers tick, the main thread only dispatches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from rotator.daemon import voice
from rotator.daemon.agenda import Turn
from rotator.daemon.alarm import Alarm
from rotator.daemon.charges import Charge, Charges
from rotator.daemon.lanes import Workers
from rotator.daemon.pace import (
    RESTLESS,
    after_conflict,
    after_failure,
    after_outcome,
    share_of,
)
from rotator.daemon.state import DaemonState, KeySetState, Observer, after_tick, store_in
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
_STATUS: Final = timedelta(hours=1)

EachPass = Callable[[], timedelta]
"""Called in each pass of the loop; returns after how long it must be called again at the latest."""


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
        state: where others read how it goes; one of its own when left out.
        observer: told of every tick, if anybody is to be.
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
        state: DaemonState | None = None,
        observer: Observer | None = None,
    ) -> None:
        start = clock.elapsed()
        self._charges = Charges(sites, store_of, start)
        self.state = state or DaemonState(clock.now())
        self._observer = observer
        self._clock, self._emit, self._waker = clock, emit, waker
        self._workers, self._alarm = workers, alarm
        self._heartbeat, self._chance = heartbeat, chance
        self._alarm_at: timedelta | None = None
        self._beat: tuple[datetime, timedelta] | None = None
        self._status_at = start
        self.said = ""
        """The last status, as a sentence."""
        for key_set in self._charges.names():
            self.state.put(KeySetState(key_set, store_in(store_of(key_set))))

    def run(self, each_pass: EachPass | None = None) -> None:
        """Tick until the waker says stop; then return at once, whatever is under way.

        Args:
            each_pass: called in this thread once the clocks were compared and what is due was dispatched.
        """
        while not self._waker.stopping:
            self.compare_clocks()
            self.dispatch()
            again = self._heartbeat if each_pass is None else each_pass()
            delay = self._set_alarm()
            # A second late at most, should the alarm not ring.
            self._waker.wait(min(delay + _TRUST, self._heartbeat, again).total_seconds())

    def replace(
        self,
        sites: Iterable[Site],
        store_of: Callable[[str], str],
        *,
        changed: Collection[str],
        done: Callable[[], None],
    ) -> None:
        """Go over to the key sets of another configuration; in the thread of `run`, between two passes.

        What a process remembers of a key set goes over with it. A tick under way ends as it began.

        Args:
            changed: key sets that are ticked at once, as new ones are; the others keep their turns.
            done: called when nothing of the configuration before is in use any more, maybe in a worker.
        """
        with self._charges.lock:
            elapsed = self._clock.elapsed()
            made = self._charges.replace(sites, store_of, elapsed, changed=changed, done=done)
            for name in made.new:
                self.state.put(KeySetState(name, store_in(store_of(name))))
            for site in made.gone:
                self.state.drop(site.key_set)
                if self._observer is not None:
                    self._observer.dropped(site.key_set)
        for site in made.gone:
            voice.dropped(self._emit, site)
        if not made.busy:
            done()

    def drained(self, timeout: float) -> bool:
        """Start no tick any more; wait up to `timeout` seconds for those under way. True when none is left."""
        self._workers.close()
        return self._workers.wait_idle(timeout)

    def abandon(self) -> None:
        """Say which key sets are left in the middle of a tick; the next tick of anyone finishes it."""
        names = [charge.site.key_set for charge in self._charges.under_way()]
        voice.abandoned(self._emit, names)

    def dispatch(self) -> int:
        """Hand every key set whose turn has come to a worker; return how many that were."""
        due = self._charges.take(self._clock.elapsed())
        for charge in due:
            turn = partial(self._turn, charge, charge.ticket)
            self._workers.submit((charge.store, charge.slow), turn)
        return len(due)

    def next_at(self) -> timedelta | None:
        """Return the CLOCK_BOOTTIME of the earliest turn, None while every key set is with a worker."""
        return self._charges.next_at()

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
            self._charges.reconsider(now, elapsed)
        for charge in self._charges.under_way():
            if charge.since is not None and elapsed - charge.since > _STUCK:
                voice.stuck(self._emit, charge.site, charge.said, elapsed - charge.since)
        if elapsed - self._status_at >= _STATUS:
            self._status_at = elapsed - (elapsed - self._status_at) % _STATUS
            self.said = voice.status(self._emit, self.state, now)

    def _set_alarm(self) -> timedelta:
        """Set the alarm to the earliest turn, and return how far away that is."""
        self._alarm_at = at = self._charges.next_at()
        if at is None:
            return self._heartbeat
        delay = max(at - self._clock.elapsed(), timedelta(0))
        if self._alarm is not None:
            self._alarm.set(delay)
        return delay

    def _turn(self, charge: Charge, ticket: int) -> None:
        """Tick one key set, in a worker, and enter its next turn."""
        if self._waker.stopping:
            return
        started = self._clock.elapsed()
        site = self._charges.begin(charge, ticket, started)
        if site is None:
            return
        turn = self._tick(charge, site)
        ended = self._clock.elapsed()
        charge.slow = charge.slow or ended - started > _SLOW
        left = self._charges.end(charge, turn, ended)
        if self._alarm_at is None or (at := self.next_at()) is None or at < self._alarm_at:
            self._waker.wake()
        for done in left:
            done()

    def _tick(self, charge: Charge, site: Site) -> Turn:
        share = share_of(site.key_set, self._chance())
        try:
            outcome = tick(site)
            self._went_well(charge, site, outcome)
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
            self._note_failure(charge, site, error)
            voice.failing(self._emit, site, charge.said, error)
            return after_failure(site.policy, self._clock.elapsed(), share, charge.failures)

    def _went_well(self, charge: Charge, site: Site, outcome: Outcome) -> None:
        charge.conflicts = charge.failures = 0
        charge.slow = bool(outcome.failures)
        if outcome.changed:
            charge.changes += 1
        elif (
            not outcome.failures
        ):  # a target that does not keep what it is given shows as a failure
            charge.changes = 0
        with self._charges.lock:
            if site.key_set in self._charges:  # else it left the configuration during this tick
                store, now = store_in(charge.store), self._clock.now()
                self.state.put(after_tick(store, outcome, site.policy, now))
                if self._observer is not None:
                    self._observer.ticked(site, outcome)
        # Said after it is noted: whoever hears of it finds it at /readyz and /metrics.
        voice.healed(self._emit, site, charge.said)
        if not outcome.changed:
            detailed = len(self._charges) <= voice.FLEET
            voice.waiting(self._emit, site, charge.said, outcome.step, detailed=detailed)
        elif charge.changes == RESTLESS + 1:
            voice.restless(self._emit, site, charge.changes)

    def _note_failure(self, charge: Charge, site: Site, error: Exception) -> None:
        with self._charges.lock:
            if site.key_set not in self._charges:
                return
            before = self.state.find(site.key_set)
            if before is None:
                before = KeySetState(site.key_set, store_in(charge.store))
            reason, _ = voice.reason_of(error)
            self.state.put(replace(before, failing=reason, failures=charge.failures))
            if self._observer is not None:
                self._observer.failed(site, error)
