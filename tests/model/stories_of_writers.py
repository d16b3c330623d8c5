"""Stories of writers: they stand still, race, come late, or find their ring gone."""

from __future__ import annotations

from rotator.errors import Conflict, RotatorError
from rotator.reconcile.site import Outcome
from rotator.reconcile.tick import tick
from rotator.rehearsal.promise import published_keys
from rotator.rehearsal.walls import Fault
from rotator.rehearsal.world import Process
from rotator.ring import Phase
from tests.model.scene import seconds
from tests.model.stage import Stage, stage

_PASSAGES = 40


def a_writer_that_stands_still() -> None:
    """A writer stops before its write, the keys rotate twice, and it goes on: at every passage."""
    for number in range(_PASSAGES):
        it = stage(conditional=False)
        it.signs(1)
        it.world.hand(it.jwks[0], None)
        it.world.hand(it.signing[0], None)

        def meanwhile(it: Stage = it) -> None:
            first = it.world.ring.active
            while it.world.ring.active == first or len(it.world.ring.in_phase(Phase.RETIRING)) < 2:
                it.settle(it.fast)
                it.next_deadline()

        if not it.at_every_passage(it.slow, meanwhile, number):
            break
        it.settle()


def a_swap_long_after_its_load() -> None:
    """A process has seen the next key; it is taken away, and the process goes on an hour later."""
    for number in range(_PASSAGES):
        it = _not_yet_announced()

        def meanwhile(it: Stage = it) -> None:
            it.jwks[0].fault = Fault.READ_ONLY
            it.world.hand(it.jwks[0], it.jwks[0].past[0])
            it.world.advance(it.policy.propagation_wait)
            it.world.heal()
            it.fast.run(tick)

        if not it.at_every_passage(it.slow, meanwhile, number):
            break
        it.run(seconds(1500))


def _not_yet_announced() -> Stage:
    """Return a stage on which the next key was just published, and nobody has looked."""
    it = stage()
    for _ in range(20):
        it.slow.run(tick)
        kids = {kid for kid, _ in published_keys(it.jwks[0])}
        pending = it.world.ring.in_phase(Phase.PENDING)
        if it.world.ring.active and pending and pending[0].kid in kids and not pending[0].announced:
            return it
    raise AssertionError("the stage is not set")


def a_clock_that_leaps_in_a_tick() -> None:
    """The same at every passage of a tick; the store says what the time is."""
    for number in range(_PASSAGES):
        it = stage()
        it.world.store.witness = True
        it.signs(1)
        it.run(seconds(60))
        it.next_deadline()

        def meanwhile(it: Stage = it) -> None:
            it.fast.host.offset += seconds(3600)

        if not it.at_every_passage(it.fast, meanwhile, number):
            break
        it.fast.host.offset -= seconds(3600)
        it.run(seconds(60))
        outcome = it.slow.run(tick)
        if isinstance(outcome, Outcome) and outcome.observed.suspicious:
            it.world.promise.broken(
                f"a leap elsewhere stops this host: {outcome.observed.suspicious}"
            )


def dates_of_a_slow_look() -> None:
    """A process loads, waits, and only then sees the next key: its term begins when it was seen."""
    for number in range(_PASSAGES):
        it = stage()
        while not (it.world.ring.active and it.world.ring.in_phase(Phase.PENDING)):
            it.slow.run(tick, crash_at=None)
            pending = it.world.ring.in_phase(Phase.PENDING)
            if it.world.ring.active and not pending:
                it.jwks[0].fault = Fault.READ_ONLY
        it.world.advance(seconds(400))

        def meanwhile(it: Stage = it) -> None:
            it.world.advance(it.policy.write_window - seconds(1))
            it.world.heal()
            it.fast.run(tick)

        if not it.at_every_passage(it.slow, meanwhile, number):
            break
        it.run(seconds(1500))


def a_ring_that_is_lost() -> None:
    """The ring is gone while its keys are in use: a new process must mint nothing."""
    it = stage()
    it.signs(1)
    _must_refuse(it, None)


def a_ring_that_is_lost_while_nobody_answers() -> None:
    """The same, and no target answers."""
    it = stage()
    it.signs(1)
    for place in it.world.places.values():
        place.fault = Fault.SILENT
    _must_refuse(it, None)


def a_ring_that_is_old() -> None:
    """A backup of the ring is put back: it must not be taken for the truth."""
    it = stage()
    it.signs(1)
    backup = it.world.store.shelf(it.world.key_set).ring
    it.signs(2)
    _must_refuse(it, backup)


def _must_refuse(it: Stage, ring: bytes | None) -> None:
    it.world.store.put_back(it.world.key_set, ring)
    fresh = Process("fresh", it.world, it.fast.host, it.fast.settings)
    answer = fresh.run(tick)
    if not isinstance(answer, RotatorError) or isinstance(answer, Conflict):
        it.world.promise.broken(f"with its ring gone the key set went on: {answer}")
    if it.world.store.shelf(it.world.key_set).ring != ring:
        it.world.promise.broken("a ring was made up")


def a_creation_that_takes_a_second() -> None:
    """Another process looks while a key is being created: it must leave it to its creator."""
    for number in range(_PASSAGES):
        it = stage()
        if not it.at_every_passage(it.slow, lambda it=it: _a_second_later(it), number):  # type: ignore[misc]
            break
        lost = [e for e in it.world.ring.history if e.event == "key.discarded"]
        if lost:
            it.world.promise.broken(f"{lost[0].kid} was discarded while it was being created")


def _a_second_later(it: Stage) -> None:
    it.world.advance(seconds(1))
    it.settle(it.fast)


def a_creator_that_comes_late() -> None:
    """A creator stands still until others have given its key up, and then puts the material."""
    for number in range(_PASSAGES):
        it = stage()

        def meanwhile(it: Stage = it) -> None:
            for _ in range(4):
                it.settle(it.fast)
                it.world.advance(it.policy.create_timeout / 2 - seconds(1))
            it.settle(it.fast)

        if not it.at_every_passage(it.slow, meanwhile, number):
            break
        it.world.check()
        it.run(seconds(200))
        it.judge(seconds(200))


def two_who_swap_at_once() -> None:
    """Two replicas at once, one of them standing still at every passage."""
    for number in range(_PASSAGES):
        it = stage()
        if not it.at_every_passage(it.slow, lambda it=it: it.settle(it.fast), number):  # type: ignore[misc]
            break
        it.settle()


def kids_that_come_again() -> None:
    """The random source of a host repeats itself (a restored snapshot)."""
    it = stage()
    it.signs(2)
    it.until(lambda: bool(it.world.watch.gone))
    it.world.keys.made = 0
    it.run(seconds(4000))
