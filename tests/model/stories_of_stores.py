"""Stories of stores: answers that are lost, and what a kind of secrets manager does in its own way."""

from __future__ import annotations

from dataclasses import replace

from rotator.reconcile.tick import tick
from rotator.rehearsal.clocks import START
from rotator.rehearsal.walls import Fault, VoidStore
from rotator.ring import Phase
from tests.model.scene import seconds
from tests.model.stage import stage, tight_policy


def a_creation_whose_answer_was_lost() -> None:
    """A process never hears that the ring took its new key; it tries again when the history has forgotten it."""
    it = stage()
    it.world.store.fault = Fault.LATE_ERROR
    it.fast.run(tick)
    it.world.heal()
    lost = it.world.ring.in_phase(Phase.CREATING)[0].kid
    while it.world.ring.find(lost) or any(entry.kid == lost for entry in it.world.ring.history):
        it.settle(it.slow)
        it.next_date()
    it.world.advance(it.policy.rotate_every)
    it.settle(it.fast)
    it.run(seconds(2000))


def a_store_that_lets_nobody_destroy() -> None:
    """Nobody may delete in the store: keys must go on rotating, until too much has gathered there."""
    it = stage(replace(tight_policy(), max_keys=9))
    it.signs(1)
    it.world.store.fault = Fault.KEEPS
    it.run(6 * it.policy.rotate_every)
    active = it.world.ring.active
    if active is None or it.world.now > (active.activated_at or START) + 2 * it.policy.rotate_every:
        it.world.promise.broken("no key follows any more")
    it.world.heal()
    it.run(seconds(100))
    it.judge(seconds(100))


def slots_that_run_out() -> None:
    """A store has places for two keys only: one replica waits for the next, and loses nothing that it saw."""
    it = stage(replace(tight_policy(), max_keys=9), kind="voids")
    assert isinstance(it.world.store, VoidStore)
    it.world.store.most = 2
    it.signs(1)
    first = it.world.ring.active
    assert first is not None
    it.slow.host.offset += seconds(86400)  # it does nothing from now on
    start = it.world.now
    while it.world.now < start + 3 * it.policy.grace_wait:
        it.settle(it.fast)
        it.next_date()
    if it.world.ring.find(first.kid) is not None:
        it.world.promise.broken(f"{first.kid} stays, for want of a place for another")
