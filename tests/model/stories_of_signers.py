"""Stories of signers that are asked for tokens: late ones, stubborn ones, ones that go back."""

from __future__ import annotations

from dataclasses import replace

from rotator import operations
from rotator.rehearsal.issuers import Issuer
from tests.model.scene import seconds
from tests.model.stage import Stage, stage, tight_policy


def a_signer_that_stays() -> None:
    """It goes on with the old key long after `signer_lag`, and some day follows."""
    it = stage(replace(tight_policy(), max_keys=9), asked_every=seconds(15))
    it.signs(1)
    it.run(it.policy.signer_lag)
    _issuer(it).stays = True
    it.signs(2)
    it.run(1.5 * it.policy.grace_wait)
    _issuer(it).begin_anew()
    it.run(1.2 * it.policy.grace_wait)


def a_rollback_while_a_signer_stays() -> None:
    """What it said before it followed fits the key that comes back; it really follows back much later."""
    it = stage(replace(tight_policy(), max_keys=9), asked_every=seconds(15))
    it.signs(1)
    it.run(it.policy.signer_lag + seconds(20))
    _issuer(it).every = seconds(9000)
    it.signs(2)
    it.run(it.policy.signer_lag + seconds(20))
    _issuer(it).stays = True
    operations.roll_back(it.fast.site, "broken")
    it.run(seconds(30))
    operations.release(it.fast.site)
    it.run(it.policy.grace_wait - seconds(100))
    _issuer(it).lag = seconds(0)
    _issuer(it).begin_anew()
    it.run(seconds(300))


def a_signer_that_goes_back() -> None:
    """It was seen with the new key, and restored with the old one before that is retired."""
    it = stage(replace(tight_policy(), max_keys=9), asked_every=seconds(200))
    it.signs(1)
    it.run(it.policy.signer_lag)
    issuer = _issuer(it)
    old = issuer.place.document
    it.signs(2)
    it.until(lambda: any(key.superseded_at is not None for key in it.world.ring.keys))
    it.run(it.policy.grace_wait - seconds(100))
    issuer.every = seconds(9000)
    issuer.stays = True
    issuer.place.put(old)
    it.run(it.policy.grace_wait)


def _issuer(it: Stage) -> Issuer:
    (issuer,) = it.world.issuers.values()
    return issuer
