"""A real issuer that keeps using the old key: noticed, named, and the old key is not retired under it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from rotator.reconcile.site import Site
from rotator.ring import Phase
from rotator.signers.url import UrlCheck
from tests.signers.running import RunningIssuer, issuing
from tests.unit.daemon_world import HOUR, MINUTE, World

RESYNC, PERIOD = 30 * MINUTE, 8 * HOUR


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.waker.close()


def checked(world: World, issuer: RunningIssuer, *, holds: bool) -> Site:
    """Return a key set that rotates every eight hours, with a check of an issuer."""
    site = world.site(rotate_every=PERIOD, propagation=HOUR, resync=RESYNC)
    site.signers = (UrlCheck(issuer.url, every=site.policy.resync, holds=holds),)
    return site


def said(world: World, event: str) -> list[dict[str, Any]]:
    return world.log.named(event)


def verifies(world: World, token: str) -> bool:
    """Tell whether the published JWKS verifies a token."""
    keys = jwt.PyJWKSet.from_json((world.path / "web.json").read_text())
    kid = jwt.get_unverified_header(token)["kid"]
    found = [key for key in keys.keys if key.key_id == kid]
    if not found:
        return False
    jwt.decode(token, found[0].key, algorithms=["EdDSA"])
    return True


def token_of(issuer: RunningIssuer) -> str:
    """Fetch a token as a client does."""
    return str(UrlCheck(issuer.url, every=MINUTE).look().token.reveal().decode())  # type: ignore[union-attr]


def test_a_signer_that_keeps_the_old_key(world: World) -> None:
    """It is named once `signer_lag` has passed, holds its key back for a day, and lets go when it follows."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=True)
        daemon = world.daemon([site])
        world.go_on(daemon, HOUR)
        first = world.ring().active
        assert first is not None
        issuer.tell("stay")
        world.go_on(daemon, PERIOD)
        ring = world.ring()
        assert ring.active is not None
        assert ring.active.kid != first.kid
        (drift,) = said(world, "signer.drift")
        assert drift["target"] == f"signer:{issuer.url}"
        assert drift["kid"] == first.kid
        assert f"instead of {ring.active.kid}" in drift["reason"]
        world.go_on(daemon, 5 * HOUR)
        kept = world.ring().find(first.kid)
        assert kept is not None
        assert (kept.phase, kept.superseded_at) == (Phase.RETIRING, None)
        assert verifies(world, token_of(issuer))
        issuer.tell("follow")
        world.go_on(daemon, HOUR)
        gone = world.ring().find(first.kid)
        assert gone is None
        assert verifies(world, token_of(issuer))
    assert said(world, "signer.healed")
    everything = str(world.log.events)
    assert "secret-subject" not in everything
    assert "eyJ" not in everything  # how every token begins


def test_a_signer_that_goes_back(world: World) -> None:
    """It is asked once more before the end, however rarely it is asked: then the old key's grace starts anew."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=True)
        site.signers = (UrlCheck(issuer.url, every=100 * HOUR, holds=True),)
        daemon = world.daemon([site])
        world.go_on(daemon, HOUR)
        first = world.ring().active
        assert first is not None
        issuer.tell("stay")
        issuer.tell("follow")
        world.go_on(daemon, PERIOD - HOUR)
        while not said(world, "key.superseded"):
            world.go_on(daemon, MINUTE)
        issuer.tell("back")
        world.go_on(daemon, HOUR)
        kept = world.ring().find(first.kid)
        assert kept is not None
        assert kept.superseded_at is None
        assert [item["kid"] for item in said(world, "key.unsuperseded")] == [first.kid]


@pytest.mark.parametrize("holds", [True, False])
def test_an_issuer_that_is_not_up_yet(world: World, holds: bool) -> None:
    """No answer before the first key neither hinders the first run nor counts as a fault; later it does."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=holds)
    daemon = world.daemon([site])
    world.go_on(daemon, MINUTE / 2)
    ring = world.ring()
    assert ring.active is not None
    assert not said(world, "target.failing")
    world.go_on(daemon, HOUR)
    (failing,) = said(world, "target.failing")
    assert failing["target"] == f"signer:{issuer.url}"
    world.go_on(daemon, PERIOD + HOUR)
    kept = world.ring().find(ring.active.kid)
    assert (kept is not None) is holds  # unseen, it may still use its first key
    assert len(said(world, "target.failing")) == 1


def test_a_check_that_only_warns(world: World) -> None:
    """The same signer is named, and its key goes in its time: `hold: false` trusts `signer_lag`."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=False)
        daemon = world.daemon([site])
        world.go_on(daemon, HOUR)
        first = world.ring().active
        assert first is not None
        issuer.tell("stay")
        world.go_on(daemon, PERIOD + HOUR)
        assert world.ring().find(first.kid) is None
        reasons = [drift["reason"] for drift in said(world, "signer.drift")]
        assert f"it signs with {first.kid} (previous)" in reasons[0]
        assert any("has ended" in reason for reason in reasons)
        assert not verifies(world, token_of(issuer))


def test_a_check_that_is_told_to_only_warn(world: World) -> None:
    """From then on nothing waits for what it was seen with, and nobody has to forget it."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=True)
        daemon = world.daemon([site])
        world.go_on(daemon, HOUR)
        first = world.ring().active
        assert first is not None
        issuer.tell("stay")
        world.go_on(daemon, PERIOD + HOUR)
        assert world.ring().find(first.kid) is not None
        site.signers = (UrlCheck(issuer.url, every=RESYNC, holds=False),)
        world.go_on(daemon, 2 * HOUR)
        assert world.ring().find(first.kid) is None


def test_a_kid_that_lies(world: World) -> None:
    """The new kid on a signature of the old key is drift at once, and holds the old key back."""
    with issuing(world.path / "web-signing" / "signing.json") as issuer:
        site = checked(world, issuer, holds=True)
        daemon = world.daemon([site])
        world.go_on(daemon, HOUR)
        first = world.ring().active
        issuer.tell("stay")
        issuer.tell("lie")
        assert first is not None
        world.go_on(daemon, PERIOD + HOUR)
        assert world.ring().find(first.kid) is not None
        (reason,) = {drift["reason"] for drift in said(world, "signer.drift")}
        assert f"is signed by {first.kid}" in reason
