"""A live key is adopted while its tokens are about: killed, or standing still, at every passage."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.algorithms import Kind, kind_of
from rotator.keys import NewKey
from rotator.observed import DocumentKind
from rotator.operations.adopt import adopt
from rotator.operations.done import Done
from rotator.operations.live_jwks import Wish
from rotator.operations.live_key import LiveKey
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.tick import tick
from rotator.rehearsal.pauses import Crash
from rotator.rehearsal.promise import Used
from rotator.rehearsal.ringwatch import orphans
from rotator.ring import Phase
from rotator.stores import Document
from tests.model.scene import seconds
from tests.model.stage import ASYMMETRIC, SYMMETRIC, Stage, stage, tight_policy

_PASSAGES = 60
_KID = "live-2024"


class Adoption:
    """A stage on which a key that somebody else made signs, and its old JWKS is read."""

    def __init__(self, kind: Kind = ASYMMETRIC, *, numbered: bool = False) -> None:
        self.it: Stage = stage(tight_policy(kind), jwks=2)
        world = self.it.world
        world.store.numbered = numbered
        live, other = world.keys.make(kind), world.keys.make(kind)
        self.live, self.other = live, other
        if not kind.symmetric:
            keys = [_published(live, _KID), _published(other, "old-2023")]
            body = json.dumps({"keys": keys}).encode()
            self.it.jwks[0].put(Document(body, None, None))
            print_ = (_KID, str((live.public or {})["x"]))
            # A signer that goes on with its own copy until it reads what is delivered.
            world.promise.used.append(Used(self.it.signing[0].name, print_, world.now))

    @property
    def wish(self) -> Wish:
        """What the operator says."""
        return Wish(
            LiveKey(self.live.public, 256, self.live.material), _KID, self.live.kind.algorithm
        )

    def act(self, site: Site) -> Done:
        """Adopt."""
        return adopt(site, self.wish)

    def verify(self) -> None:
        """The key signs, the next one is on its way, the old one is still verified, nothing is left over."""
        world = self.it.world
        active = world.ring.active
        assert active is not None
        assert active.kid == _KID
        assert [key.phase for key in world.ring.in_phase(Phase.PENDING)] == [Phase.PENDING]
        if not self.live.kind.symmetric:
            assert [key.kid for key in world.ring.in_phase(Phase.RETIRING)] == ["old-2023"]
        assert not orphans(world.ring, world.store.remains(world.key_set))


def _published(key: NewKey, kid: str) -> dict[str, str]:
    return {**(key.public or {}), "kid": kid, "use": "sig", "alg": key.kind.algorithm}


@pytest.mark.parametrize("kind", [ASYMMETRIC, SYMMETRIC], ids=str)
@pytest.mark.parametrize("numbered", [False, True])
def test_killed_at_every_passage(kind: Kind, *, numbered: bool) -> None:
    """Replicas tick after the crash and do no harm; the same command again finishes it."""
    for number in range(1, _PASSAGES):
        made = Adoption(kind, numbered=numbered)
        it = made.it
        ended = it.slow.run(made.act, crash_at=number)
        begun = it.world.ring.revision > 0
        if begun or not kind.symmetric:
            # Nothing of HMAC shows that a ring is to come: before that its cron must not run.
            for _ in range(4):
                it.settle()
                it.world.advance(seconds(40))
        again = it.slow.run(made.act)
        assert isinstance(again, Done), again
        it.settle()
        made.verify()
        if not isinstance(ended, Crash):
            assert number > 8
            return
    raise AssertionError("it never came to its end")


def test_a_stalled_adoption_beside_another() -> None:
    """The command stands still at every passage while it is given again elsewhere."""
    for number in range(1, _PASSAGES):
        made = Adoption()
        it = made.it
        it.slow.begin(made.act, number)
        if it.slow.work is None:
            break
        assert isinstance(it.fast.run(made.act), Done)
        it.settle(it.fast)
        it.slow.go_on()
        it.settle()
        made.verify()


def test_it_rotates_away_on_schedule() -> None:
    """After `rotate_every` the next key signs; the adopted one leaves when its last token is gone."""
    made = Adoption()
    it = made.it
    assert isinstance(it.slow.run(made.act), Done)
    it.settle()
    since = it.world.now
    it.until(lambda: it.world.ring.active is not None and it.world.ring.active.kid != _KID)
    assert it.world.now >= since + it.policy.rotate_every - it.policy.clock_skew
    it.until(lambda: it.world.ring.find(_KID) is None)
    assert it.world.ring.find("old-2023") is None
    assert it.world.promise.checks > 10


def test_another_kind_is_an_announced_rotation() -> None:
    """A live key of another algorithm than configured is followed as soon as the next has propagated."""
    made = Adoption()
    it = made.it
    for process in (it.slow, it.fast):
        policy = process.settings.policy
        process.site.policy = tight_policy(kind_of("ES384"))
        assert policy.kind != process.site.policy.kind
    assert isinstance(it.slow.run(made.act), Done)
    it.settle()
    (coming,) = it.world.ring.in_phase(Phase.PENDING)
    assert coming.algorithm == "ES384"
    wait = it.world.ring.in_force(it.policy).propagation_wait
    it.world.advance(wait + 2 * it.policy.clock_skew + timedelta(seconds=1))
    it.settle()
    assert it.world.ring.active is not None
    assert it.world.ring.active.kid == coming.kid


def test_a_tick_leaves_an_unfinished_adoption_alone() -> None:
    """However long it stands: no key is made, none is discarded, and the tick says what to do."""
    made = Adoption()
    it = made.it
    for number in range(1, _PASSAGES):
        it.slow.run(made.act, crash_at=number)
        if it.world.ring.in_phase(Phase.CREATING):
            break
    ring = it.world.ring
    it.world.advance(timedelta(days=2))
    outcome = it.fast.run(tick)
    assert isinstance(outcome, Outcome)
    assert outcome.exit_code == 75
    assert it.world.ring.keys == ring.keys
    assert it.jwks[0].document is not None
    assert it.jwks[0].document.key_set is None
    assert it.world.places[it.jwks[0].name].kind is DocumentKind.JWKS
