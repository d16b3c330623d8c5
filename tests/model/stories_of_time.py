"""Stories of time: each term of the contract, targets and clocks that are late, fast or gone."""

from __future__ import annotations

from dataclasses import replace

from rotator import operations
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, Standby
from rotator.reconcile.tick import tick
from rotator.rehearsal.walls import Fault
from rotator.windows import Windows
from tests.model.scene import every, seconds, tight
from tests.model.stage import SYMMETRIC, Stage, stage, tight_policy


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


def rotations_in_change_windows() -> None:
    """Twenty minutes of each hour: rotations by date and by order; a revocation waits for none."""
    windows = Windows(every(60, 20), zone="Europe/Berlin")
    it = stage(replace(tight_policy(), windows=windows, max_keys=9), follower=True)
    it.run(seconds(8000))
    operations.order_promotion(it.slow.site, None, "now")
    it.run(seconds(3000))
    active = it.world.ring.active
    assert active is not None
    operations.revoke(it.fast.site, [active.kid], "leaked")
    it.run(seconds(200))
    now = it.world.ring.active
    assert now is not None
    assert now.kid != active.kid


def a_kid_that_vanishes() -> None:
    """A hand takes the next key from the JWKS for a moment; somebody looks, and puts it back."""
    it = stage()
    it.signs(1)
    before = it.jwks[0].past[0]
    it.world.advance(it.policy.rotate_every / 2)
    it.world.hand(it.jwks[0], before)
    it.run(seconds(3000))


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
