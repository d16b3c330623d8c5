"""A rehearsal: one key set of a configuration, run for years in a world in memory, by the real `tick`.

Nothing happens in small steps: time jumps to the next date at which a process has something to do, or at
which something changes that it would see. The looks in between, which find nothing, are counted and not made.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from rotator.daemon.pace import after_conflict, after_failure, after_outcome, shorter
from rotator.errors import Conflict, RotatorError
from rotator.observed import DocumentKind
from rotator.operations import order_promotion
from rotator.policy import RotationPolicy
from rotator.reconcile.site import Outcome
from rotator.reconcile.tick import tick
from rotator.rehearsal.clocks import START, Host
from rotator.rehearsal.pauses import Crash
from rotator.rehearsal.places import Place
from rotator.rehearsal.simulate_cast import ELSEWHERE, Cast, Named, Replica
from rotator.rehearsal.simulate_record import Record
from rotator.rehearsal.simulate_tally import Tally
from rotator.rehearsal.simulate_weather import Weather
from rotator.rehearsal.walls import AnyStore
from rotator.rehearsal.world import Settings
from rotator.ring import Phase

_KIND_OF_STORE: Final = {"aws": "labels", "vault": "numbers", "conjur": "voids"}
_FAR: Final = datetime.max.replace(tzinfo=START.tzinfo)
_RESTART: Final = timedelta(seconds=10)
_INSTANT: Final = timedelta(milliseconds=2)
_CALM: Final = timedelta(minutes=1)
_LOOKS: Final = 16  # in each `rotate_every` at least, also when nothing seems to ask for one
_LONGEST_PAUSE: Final = timedelta(minutes=5)  # between two tries at what fails
_MOST_ROUNDS: Final = 10_000  # changes at one moment; a life has some dozens


class Rehearsal:
    """One rehearsal of one key set.

    Args:
        seed: decides everything that is left to chance.
        calm: nothing goes wrong.
        hurried: each key is ordered to be replaced at once (`rotate --now`), and clocks go from one end of what is
            allowed to the other, so that terms are as short as they ever can be.

    Attributes:
        record: what really lay where, for whoever judges it.
        found: breaches of the promise of DESIGN §3, as its own watch saw them, in sentences.
        ticks: how many were really made.
    """

    def __init__(self, cast: Cast, seed: int, *, calm: bool = False, hurried: bool = False) -> None:
        self.cast = cast
        self.calm = calm or hurried
        self.hurried = hurried
        self.rng = random.Random(f"{seed} {cast.key_set}")  # noqa: S311 - to be repeated by its seed
        told = cast.told or cast.policy
        kind = _KIND_OF_STORE.get(cast.backend, "plain")
        self.world = Named(cast.key_set, cast.policy, self.rng.getrandbits(32), kind)
        self.world.watch.policy = told
        self.world.store.witness = kind != "plain"  # a server elsewhere says what the time is
        self.world.watch.max_keys = told.max_keys
        self.record = Record(self.world.true)
        self.tally = Tally(self.world.true, cast.backend)
        self.found: list[str] = []
        self.ticks = 0
        self.epoch = 0
        self.world.promise.broken = self.found.append
        judged = self.world.store.saved
        self.world.store.saved = lambda name, old, new: self._saved(judged, name, old, new)
        self._settings = Settings(told, self._build(), cast.probed)
        self.replicas = [self._replica(number) for number in range(cast.replicas)]
        self.weather = Weather(
            self.rng,
            told,
            self.world.store,
            [self.world.places[spot.name] for spot in cast.spots],
            self.replicas,
            _FAR,
        )

    def run(
        self, duration: timedelta, progress: Callable[[float], None] = lambda _done: None
    ) -> None:
        """Run for so long, from the first key on; `progress` is told what part of it is done."""
        end = START + duration
        for replica in self.replicas:
            replica.site.first_run = True  # an operator's word: nothing was there before
        self._settle_first()
        if not self.calm:
            self.weather.next_at = self.world.now + _CALM
        while True:
            coming = self._next()
            if coming > end:
                break
            self.world.advance(coming - self.world.now)
            self._happens()
            progress((self.world.now - START) / duration)
        self.world.advance(end - self.world.now)
        for replica in self.replicas:
            self._count_rest(replica)
            if replica.work is not None:
                replica.die()
        self.world.check()
        progress(1.0)

    def _build(self) -> tuple[str, ...]:
        cast, world = self.cast, self.world
        homes: dict[str, AnyStore | None] = {"own": world.store, "other": world.mirror}
        for spot in cast.spots:
            world.place(spot.name, spot.kind, home=homes.get(spot.store))
        if cast.servers:
            world.follower(ELSEWHERE)
        for name in cast.probed:
            world.places[name].true = world.true
        judged = world.promise.place_changed
        for place in world.places.values():
            place.changed = lambda place: self._changed(judged, place)
            if cast.told is not None and place.kind is DocumentKind.JWKS:
                # What is sent is understated with the rest; what caches really do is not.
                place.longer_cache = cast.policy.cached
        return tuple(spot.name for spot in cast.spots)

    def _replica(self, number: int) -> Replica:
        half = self.cast.policy.clock_skew / 2
        # The first two are as far apart as is allowed.
        offset = (-half, half)[number] if number < 2 else half * self.rng.uniform(-1, 1)
        host = Host(f"replica {number + 1}", self.world.true, offset)
        replica = Replica(host.name, self.world, host, self._settings, tally=self.tally)
        self.world.processes.append(replica)
        return replica

    def _settle_first(self) -> None:
        for _ in range(4):
            for outcome in self.world.settle():
                if outcome.ring.active is not None:
                    for replica in self.replicas:
                        replica.site.first_run = False
            self.world.advance(timedelta(seconds=1))
        for replica in self.replicas:
            replica.wake = self.world.now

    def _saved(
        self,
        judged: Callable[[str, bytes | None, bytes], None],
        name: str,
        old: bytes | None,
        new: bytes,
    ) -> None:
        judged(name, old, new)
        self.record.ring_saved(self.world.ring)
        # The swap comes before `put`, and after `destroy` when it is confirmed.
        self.tally.material(len(self.world.store.remains(name)))
        if self.hurried:
            self._clocks()
        self.epoch += 1

    def _changed(self, judged: Callable[[Place], None], place: Place) -> None:
        judged(place)
        self.record.place_changed(place)
        self.epoch += 1

    def _next(self) -> datetime:
        coming = [replica.goes_on_at or replica.wake for replica in self.replicas]
        followed = [item.due for item in self.world.followers if item.due is not None]
        return max(min([*coming, *followed, self.weather.next_change()]), self.world.now)

    def _happens(self) -> None:
        now = self.world.now
        before = self.epoch
        if self.weather.next_change() <= now:
            self.weather.change(now, self.world.deadlines())
            self.epoch += 1
        for replica in self.replicas:
            if replica.goes_on_at is not None and replica.goes_on_at <= now:
                replica.goes_on_at = None
                replica.go_on()
                replica.wake = now
        if self.epoch != before:
            self._something_changed()
        for _ in range(_MOST_ROUNDS):
            self._rouse()
            due = [item for item in self.replicas if item.wake <= now and item.goes_on_at is None]
            if not due and not self._hurries():
                return
            if not due:
                continue
            before = self.epoch
            self._tick(self.rng.choice(due))
            if self.epoch != before:
                self._something_changed()
        raise AssertionError(f"{now}: what the replicas do comes to no end")

    def _hurries(self) -> bool:
        """Order the next rotation; False when it is ordered already, or nobody is in a hurry."""
        if not self.hurried or self.world.ring.promote is not None:
            return False
        replica = self.rng.choice(self.replicas)
        replica.run(lambda site: order_promotion(site, None, "a rehearsal", ignore_windows=True))
        replica.wake = self.world.now
        return self.world.ring.promote is not None

    def _clocks(self) -> None:
        """Let every second rotation begin on slow clocks and end on fast ones."""
        ring, half = self.world.ring, self.cast.policy.clock_skew / 2
        superseded = all(key.superseded_at for key in ring.in_phase(Phase.RETIRING))
        announced = any(key.announced for key in ring.in_phase(Phase.PENDING))
        fast = superseded and announced and len(self.record.promotions) % 2 == 0
        for replica in self.replicas:
            replica.host.offset = half if fast else -half

    def _rouse(self) -> None:
        """End the rest of those whose time has come."""
        for replica in self.replicas:
            if replica.wake <= self.world.now:
                self._count_rest(replica)

    def _something_changed(self) -> None:
        """Let whoever rests see it at its next look, which is some time within its resync."""
        for replica in self.replicas:
            if replica.rests_since is not None:
                look = self.world.now + replica.settings.policy.resync * self.rng.random()
                self._count_rest(replica)
                replica.wake = min(replica.wake, look)

    def _count_rest(self, replica: Replica) -> None:
        if replica.rests_since is not None:
            interval = shorter(replica.settings.policy.resync, 0.5)
            self.tally.idle(replica.rests_since, self.world.now, interval, replica.idle_look)
            replica.rests_since = None

    def _tick(self, replica: Replica) -> None:
        self.ticks += 1
        now, before = self.world.now, self.epoch
        if replica.pause_at is not None:
            passages, replica.pause_at = replica.pause_at, None
            replica.begin(tick, passages)
            if replica.work is not None:
                replica.goes_on_at = now + replica.paused_for
            return
        crash_at = None
        if not replica.ill:  # begun anew, it would not know that its clock leapt
            crash_at, replica.crash_at = replica.crash_at, None
        ended = replica.run(tick, crash_at=crash_at)
        if isinstance(ended, Crash):
            replica.in_a_row = replica.failures = 0
            replica.wake = now + _RESTART * self.rng.uniform(0.1, 10)
            return
        self._arrange(replica, ended, rests=self.epoch == before)

    def _arrange(self, replica: Replica, ended: Outcome | RotatorError, *, rests: bool) -> None:
        """Enter the next turn of a replica, as the daemon would.

        Args:
            rests: nothing changed during this tick, not by anybody.
        """
        policy, share = replica.settings.policy, self.rng.random()
        true, host = self.world.true, replica.host
        elapsed = true.now - host.booted
        if isinstance(ended, Outcome):
            replica.failures = 0
            replica.in_a_row = replica.in_a_row + 1 if ended.changed else 0
            turn = after_outcome(
                ended,
                policy,
                elapsed=elapsed,
                now=true.now + host.offset,
                share=share,
                in_a_row=replica.in_a_row,
            )
            settled = rests and not ended.changed and _all_tried(ended, elapsed, policy)
        else:
            replica.failures += 1
            if isinstance(ended, Conflict):
                turn, settled = after_conflict(elapsed, share, replica.failures), False
            else:
                turn = after_failure(policy, elapsed, share, replica.failures)
                settled = rests and turn.at - elapsed >= _patience(policy)
        replica.wake = host.booted + turn.at
        if settled:
            # Until then each look would find what this one found: on to the date, or to what changes.
            replica.rests_since = true.now
            dates = [true.now + policy.rotate_every / _LOOKS]
            if turn.date is not None:
                dates.append(max(host.reads(turn.date), true.now + _INSTANT))
            replica.wake = min(dates)


def _all_tried(outcome: Outcome, elapsed: timedelta, policy: RotationPolicy) -> bool:
    """True when nothing that failed is tried again soon: the pauses have grown to their longest."""
    return outcome.retry_at is None or outcome.retry_at - elapsed >= _patience(policy)


def _patience(policy: RotationPolicy) -> timedelta:
    return min(policy.resync, _LONGEST_PAUSE) / 2
