"""Stories of stores: answers that are lost, and what a kind of secrets manager does in its own way."""

from __future__ import annotations

from rotator.reconcile.tick import tick
from rotator.rehearsal.walls import Fault
from rotator.ring import Phase
from tests.model.scene import seconds
from tests.model.stage import stage


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
