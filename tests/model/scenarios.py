"""Short stories, each of which goes well with the program as it is and ill with some defect in it."""

from __future__ import annotations

from dataclasses import replace

from rotator import operations
from rotator.algorithms import kind_of
from rotator.errors import Conflict, RotatorError
from rotator.keyset import Outcome
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, Standby
from rotator.reconcile import tick
from rotator.rehearsal.promise import published_keys
from rotator.rehearsal.ringwatch import material_faults
from rotator.rehearsal.walls import Fault, Place
from rotator.rehearsal.world import Process
from rotator.ring import Phase
from tests.model.scene import seconds, tight
from tests.model.stage import SYMMETRIC, Stage, stage, tight_policy

_PASSAGES = 40


def rotations_as_tight_as_can_be() -> None:
    """Three rotations exactly at the floors, a server elsewhere, clocks as far apart as allowed."""
    stage(follower=True).run(seconds(4000), prompt=True)


def rotations_ordered_at_once() -> None:
    """`rotate --now`, and no next key yet: one is made, and signs when its propagation has just passed."""
    policy = replace(tight_policy(standby=Standby.JUST_IN_TIME), max_keys=9)
    it = stage(replace(policy, rotate_every=seconds(5000)), follower=True)
    it.signs(1)
    for _ in range(2):
        it.run(seconds(100))
        it.world.advance(2 * it.policy.clock_skew)  # so that the slow clock is past every date
        operations.order_promotion(it.slow.site, None, "now")
        it.run(it.policy.propagation_wait + seconds(60))


def rotations_seen_through_a_cdn() -> None:
    """The same, the publication looked at through caches that keep it as long as we allow."""
    stage(probe=True).run(seconds(6000), prompt=True)


def a_kid_that_vanishes() -> None:
    """A hand takes the next key from the JWKS for a moment; somebody looks, and puts it back."""
    it = stage()
    it.signs(1)
    before = it.jwks[0].past[0]
    it.world.advance(it.policy.rotate_every / 2)
    it.world.hand(it.jwks[0], before)
    it.run(seconds(3000))


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


def a_lowered_token_ttl() -> None:
    """Tokens of 900 s are about; from now on they live 60 s, and the configuration says so."""
    it = stage()
    it.signs(2)
    lower = tight(replace(it.policy, token_ttl=seconds(60), rotate_every=it.policy.rotate_every))
    it.world.reality["token_ttl"].set(it.world.now, seconds(60))
    it.configure(lower)
    it.run(seconds(3000))


def a_clock_that_leaps() -> None:
    """A clock leaps by an hour: its replica must not promote."""
    it = stage()
    it.signs(1)
    it.run(seconds(60))
    it.fast.host.offset += seconds(3600)
    it.run(seconds(200))


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


def a_publication_that_is_late() -> None:
    """A publication takes nothing for a while after the next key was made."""
    it = stage(jwks=2)
    _late(it, 1)


def verifiers_that_are_late() -> None:
    """The same for the verification document of an HMAC key set."""
    it = stage(tight_policy(SYMMETRIC))
    _late(it, 0)


def _late(it: Stage, number: int) -> None:
    place = it.jwks[number]
    while it.world.ring.active is None:
        it.slow.run(tick)
    place.fault = Fault.READ_ONLY
    it.run(it.policy.propagation_wait)
    it.world.heal()
    it.run(seconds(2000))


def a_signing_target_that_is_late() -> None:
    """A signing target takes nothing until the old key's grace, counted from its promotion, has passed."""
    it = stage(signing=2)
    it.signs(1)
    it.signing[1].fault = Fault.READ_ONLY
    it.signs(2)
    it.run(it.policy.grace_wait)
    it.world.heal()
    it.run(seconds(2500))


def a_signing_target_that_lost_its_document() -> None:
    """A signing target loses its document and takes no other: signers go on with the old key."""
    it = stage()
    it.signs(1)
    it.signing[0].fault = Fault.READ_ONLY
    it.world.hand(it.signing[0], None)
    it.signs(2)
    it.run(2 * it.policy.grace_wait)


def a_signing_target_that_comes_back_old() -> None:
    """A signing target is restored to the previous key, and then does not answer."""
    it = stage()
    it.signs(2)
    it.run(seconds(100))
    it.world.hand(it.signing[0], it.signing[0].past[-1])
    it.signing[0].fault = Fault.SILENT
    it.run(2 * it.policy.grace_wait)


def a_signing_target_that_left() -> None:
    """A signing target leaves the configuration with the current key, and signers go on reading it."""
    it = stage(signing=2)
    it.signs(1)
    for process in (it.slow, it.fast):
        left = tuple(name for name in process.settings.targets if name != it.signing[1].name)
        process.configure(replace(process.settings, targets=left))
    it.run(seconds(4000))


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


def a_cdn_that_keeps_for_longer_than_a_period() -> None:
    """A CDN keeps the JWKS for two periods, whatever we say (EKS: a week, and a new key each week)."""
    it = stage(replace(tight_policy(), rotate_every=seconds(3000), max_keys=9), probe=True)
    it.jwks[0].true = None
    it.jwks[0].longer_cache = seconds(6000)
    it.signs(1)
    it.run(seconds(3500))


def a_long_absence() -> None:
    """Nothing runs for days; then the overdue key must wait for a next one's propagation."""
    it = stage(tight_policy(standby=Standby.JUST_IN_TIME))
    it.signs(1)
    it.world.advance(seconds(5 * 86400))
    it.run(seconds(2000))


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


def kids_that_come_again() -> None:
    """The random source of a host repeats itself (a restored snapshot)."""
    it = stage()
    it.signs(2)
    it.until(lambda: bool(it.world.watch.gone))
    it.world.keys.made = 0
    it.run(seconds(4000))


def a_server_elsewhere_that_serves_old() -> None:
    """Somebody lowers how long answers may be kept, while a target goes on sending the old ones."""
    it = stage(replace(tight_policy(), jwks_max_age=seconds(600)), jwks=2)
    policy: RotationPolicy = tight(it.policy)
    it = stage(policy, jwks=2)
    it.signs(1)
    it.jwks[1].fault = Fault.READ_ONLY
    it.configure(tight(replace(policy, jwks_max_age=seconds(5))))
    it.run(2 * policy.propagation_wait)
    it.world.heal()
    it.run(seconds(3000))


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


def a_signing_target_nobody_else_knows() -> None:
    """One replica delivers to a new target, and another, which does not know it, rotates."""
    it = stage()
    it.signs(1)
    world = it.world
    new = world.place("signing-new", DocumentKind.SIGNING)
    with_it = replace(it.slow.settings, targets=(*it.slow.settings.targets, new.name))
    it.slow.configure(with_it)
    while new.document is None:
        it.slow.run(tick)
    it.slow.host.offset += seconds(86400)  # it does nothing from now on
    start = world.now
    while world.now < start + seconds(4000):
        it.settle(it.fast)
        it.next_date()
