"""Stories of stores: answers that are lost, and what a kind of secrets manager does in its own way."""

from __future__ import annotations

import json
from dataclasses import replace

from rotator import operations
from rotator.errors import RotatorError
from rotator.operations.done import Done
from rotator.reconcile.site import Site
from rotator.reconcile.tick import tick
from rotator.rehearsal.clocks import START
from rotator.rehearsal.elsewhere import A_STUTTER, Elsewhere
from rotator.rehearsal.walls import Fault, VoidStore
from rotator.ring import Phase
from tests.model.scene import seconds
from tests.model.stage import Stage, stage, tight_policy

_PASSAGES = 60


def a_creation_whose_answer_was_lost() -> None:
    """A process never hears that the ring took its new key; it tries again when the history has forgotten it."""
    it = stage()
    it.world.store.fault = Fault.LATE_ERROR
    it.fast.run(tick)
    it.world.heal()
    creating = it.world.ring.in_phase(Phase.CREATING)
    if not creating:
        return  # this kind of store finds out by itself that it was saved
    lost = creating[0].kid
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


def answers_that_are_lost() -> None:
    """Every third write fails, before or after its effect: keys rotate all the same, and none is lost."""
    _rotates_in_spite_of(Fault.STUTTERS)


def reads_that_lag() -> None:
    """For a moment after a write, reads show what was there before: keys rotate all the same, and none is lost."""
    _rotates_in_spite_of(Fault.STALE)


def a_key_revoked_as_soon_as_it_was_made() -> None:
    """A next key is revoked while reads do not show its material yet: it must be gone all the same."""
    it = stage(replace(tight_policy(), max_keys=9))
    store = it.world.store
    if not isinstance(store, Elsewhere):
        return  # a call that is one does not lag
    it.signs(1)
    key = it.world.ring.in_phase(Phase.PENDING)[0]
    it.slow.run(lambda site: operations.revoke(site, [key.kid], "typo"))
    it.world.advance(seconds(3))
    store.fault = Fault.STALE
    store.lag(f"{it.world.key_set}/material/{key.locator}")
    it.settle()
    it.run(seconds(100))


def _rotates_in_spite_of(fault: Fault) -> None:
    if not isinstance(stage().world.store, Elsewhere):
        return  # a call that is one does not get lost in between
    for turn in range(A_STUTTER):
        it = stage(replace(tight_policy(), max_keys=9))
        store = it.world.store
        assert isinstance(store, Elsewhere)
        store.fault, store.writes = fault, turn
        it.signs(3, within=4 * it.policy.rotate_every)
        for entry in it.world.ring.history:
            if entry.event == "key.discarded":
                it.world.promise.broken(f"{entry.kid} was lost: {entry.reason}")


def two_who_change_a_ring_at_once() -> None:
    """The same as two who make the first one: a promotion is due, and one of them stands still in it."""
    for number in range(_PASSAGES):
        it = stage()
        it.signs(1)
        it.next_deadline()
        it.world.advance(2 * it.policy.clock_skew)
        if not it.at_every_passage(it.slow, lambda it=it: it.settle(it.fast), number):  # type: ignore[misc]
            break
        it.settle()
        for process in (it.slow, it.fast):
            outcome = process.run(tick)
            if isinstance(outcome, RotatorError):
                it.world.promise.broken(f"two at once leave a ring that stops all: {outcome}")


def an_order_in_the_midst_of_a_promotion() -> None:
    """An operator's order and a promotion at once: whoever is told that it was taken finds it in the ring."""
    for number in range(_PASSAGES):
        it = stage()
        it.signs(1)
        it.next_deadline()
        it.world.advance(2 * it.policy.clock_skew)
        taken: list[Done] = []

        def order(site: Site, taken: list[Done] = taken) -> None:
            taken.append(operations.hold(site, "wait"))

        it.slow.begin(order, number)
        if it.slow.work is None:
            break
        it.settle(it.fast)
        it.slow.go_on()
        if taken and it.world.ring.hold is None:
            it.world.promise.broken("an order that was confirmed is not in the ring")


def a_put_long_after_its_end() -> None:
    """A creator stands still before it puts its material, until nobody reckons with it any more."""
    for number in range(_PASSAGES):
        it = stage()

        def meanwhile(it: Stage = it) -> None:
            made = it.world.ring.in_phase(Phase.CREATING)
            while made and it.world.ring.find(made[0].kid) is not None:
                it.settle(it.fast)
                it.world.advance(it.policy.create_timeout)

        if not it.at_every_passage(it.slow, meanwhile, number):
            break
        it.world.check()
        it.run(seconds(100))


def a_mirror_that_is_down() -> None:
    """Signers read at two stores; one is down while the keys rotate, and its signers go on with the old key."""
    it = stage(replace(tight_policy(), max_keys=9), signing=2)
    it.signing[1].home = it.world.mirror
    it.signs(1)
    it.world.mirror.fault = Fault.SILENT
    it.signs(2)
    it.run(2 * it.policy.grace_wait)
    it.world.heal()
    it.run(seconds(100))
    active = it.world.ring.active
    for place in it.signing:
        held = json.loads(place.document.body)["kid"] if place.document else None
        if active is None or held != active.kid:
            it.world.promise.broken(f"{place.name} is not repaired")


def a_store_that_swallows_material() -> None:
    """A store says that it took material, and never has it: new keys must not be made without end."""
    it = stage()
    it.world.store.fault = Fault.LIES
    it.run(seconds(1800))
    if it.world.keys.made > 6:
        it.world.promise.broken(f"{it.world.keys.made} keys were made in half an hour")


def an_emergency_while_reads_lag() -> None:
    """The store leaked, and reads show an older ring than the targets: whatever comes of it, nothing lies about."""
    it = stage(replace(tight_policy(), max_keys=9))
    it.signs(1)
    it.next_deadline()
    it.world.advance(2 * it.policy.clock_skew)
    it.world.store.fault = Fault.STALE
    it.fast.run(tick)
    it.slow.run(lambda site: operations.emergency(site, "leaked"))
    it.world.check()
    it.world.heal()
    leaked = {key.kid for key in it.world.ring.published}
    it.slow.run(lambda site: operations.emergency(site, "leaked"))
    it.settle()
    if leaked & {key.kid for key in it.world.ring.published}:
        it.world.promise.broken("the same command again does not end the emergency")
