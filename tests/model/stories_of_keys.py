"""Stories of keys and operators: revoked, pinned, held, lost, too many, of another kind."""

from __future__ import annotations

from dataclasses import replace

from rotator import operations
from rotator.algorithms import kind_of
from rotator.reconcile.tick import tick
from rotator.rehearsal.promise import published_keys
from rotator.rehearsal.ringwatch import material_faults
from rotator.rehearsal.walls import Fault, Place
from rotator.ring import Phase
from tests.model.scene import seconds
from tests.model.stage import SYMMETRIC, Stage, stage, tight_policy


def a_pinned_key() -> None:
    """A key is pinned, and its time comes."""
    it = stage(replace(tight_policy(), max_keys=9))
    it.signs(1)
    active = it.world.ring.active
    assert active is not None
    operations.pin(it.fast.site, active.kid, "kept")
    it.run(seconds(4000))
    for place in it.jwks:
        if active.kid not in {kid for kid, _ in published_keys(place)}:
            it.world.promise.broken(f"{active.kid} is pinned, and not at {place.name}")


def a_held_key_set() -> None:
    """A key set is held, and its dates come."""
    it = stage()
    it.signs(2)
    operations.hold(it.fast.site, "wait")
    it.run(seconds(4000))


def a_revocation_while_held() -> None:
    """A key is revoked while the key set is held: a fresh key must follow."""
    it = stage()
    it.signs(1)
    operations.hold(it.fast.site, "wait")
    revoked = it.world.ring.active
    assert revoked is not None
    operations.revoke(it.fast.site, [revoked.kid], "leaked")
    successor = it.world.ring.active
    it.run(2 * it.policy.propagation_wait)
    if it.world.ring.active == successor:
        it.world.promise.broken(
            "no fresh key follows a revocation: some caches never drop the old one"
        )
    for place in it.jwks:
        if revoked.kid in {kid for kid, _ in published_keys(place)}:
            it.world.promise.broken("a revoked key is still published")


def a_revoked_first_key() -> None:
    """The only key is revoked before it ever signed."""
    it = stage()
    while not it.world.ring.published:
        it.slow.run(tick)
    operations.revoke(it.slow.site, [it.world.ring.published[0].kid], "typo")
    it.run(seconds(1500))


def a_first_key_that_is_discarded() -> None:
    """The first key is lost before it ever signed: verifiers know it, and not its successor."""
    it = stage()
    while not it.jwks[0].document:
        it.slow.run(tick)
    it.world.store.shelf(it.world.key_set).material.clear()
    it.run(seconds(1500))


def material_that_is_lost() -> None:
    """The next key's material is another key's: it must not become active."""
    it = stage()
    it.signs(1)
    key = it.world.ring.in_phase(Phase.PENDING)[0]
    shelf = it.world.store.shelf(it.world.key_set)
    assert key.locator is not None
    shelf.material[key.locator] = (key.kid, it.world.keys.make(key.kind).material)
    start = it.world.now
    while it.world.now < start + seconds(2000):
        it.settle()
        for what in material_faults(it.world.ring, shelf, it.world.keys.proves):
            it.world.promise.broken(what)
        it.next_date()


def a_change_of_kind() -> None:
    """Another algorithm of the same type is wanted."""
    it = stage(replace(tight_policy(kind_of("RS256", 2048)), max_keys=9))
    it.signs(1)
    it.configure(replace(it.policy, kind=kind_of("RS512", 2048)))
    it.run(seconds(2500))


def a_change_of_key_type() -> None:
    """Another key type is wanted, and one JWKS must not mix them."""
    it = stage(replace(tight_policy(kind_of("RS256", 2048)), max_keys=9))
    it.signs(1)
    it.configure(replace(it.policy, kind=kind_of("ES256")))
    it.run(seconds(2500))


def a_rollback() -> None:
    """The previous key comes back, signs on, and must then have its full grace again."""
    it = stage(replace(tight_policy(), max_keys=9))
    it.signs(2)
    it.run(it.policy.grace_wait * 0.9)
    operations.roll_back(it.fast.site, "broken")
    it.run(seconds(1500))
    operations.release(it.fast.site)
    it.run(seconds(3000))


def keys_that_pile_up() -> None:
    """A signing target is down for long: every key stays, and there is an end to the places."""
    it = stage(replace(tight_policy(), max_keys=6), signing=2)
    it.signs(1)
    it.signing[1].fault = Fault.SILENT
    it.run(seconds(9000))


def answers_that_may_be_kept() -> None:
    """What is published says how long it may be kept, and that is what the contract counts with."""
    it = stage()
    it.signs(1)
    document = it.jwks[0].document
    assert document is not None
    lifetimes = (it.policy.jwks_max_age, it.policy.jwks_stale)
    sent = (seconds(document.max_age or 0), seconds(document.stale or 0))
    if sent != lifetimes:
        it.world.promise.broken(f"{sent} is sent, {lifetimes} is configured")


def an_emergency_of_a_new_key() -> None:
    """The store leaked: signers must not have the new key before verifiers can."""
    it = stage()
    it.signs(1)
    world = it.world
    begun = [place.document for place in it.jwks]

    def delivered(place: Place) -> None:
        world.promise.place_changed(place)
        if [place.document for place in it.jwks] == begun:
            world.promise.broken("a new key was delivered before it was published")

    it.signing[0].changed = delivered
    operations.emergency(it.fast.site, "leaked")


def hmac_material_that_is_lost() -> None:
    """An HMAC key set loses the material of its first key, then of the one that signs, which is revoked."""
    it = _made_and_not_published()
    shelf = it.world.store.shelf(it.world.key_set)
    shelf.material.clear()
    it.signs(1)
    lost = it.world.ring.active
    assert lost is not None
    assert lost.locator is not None
    del shelf.material[lost.locator]
    operations.revoke(it.fast.site, [lost.kid], "lost")
    for place in it.jwks:
        if {kid for kid, _ in published_keys(place)} != {k.kid for k in it.world.ring.published}:
            it.world.promise.broken("a lost key keeps its successor from verifiers")
    it.run(seconds(600))


def _made_and_not_published() -> Stage:
    """Return a stage on which a process died between making its first key and publishing it."""
    for number in range(1, 60):
        it = stage(replace(tight_policy(SYMMETRIC), max_keys=9))
        it.slow.run(tick, crash_at=number)
        if it.world.ring.in_phase(Phase.PENDING) and it.jwks[0].document is None:
            return it
    raise AssertionError("the stage is not set")
