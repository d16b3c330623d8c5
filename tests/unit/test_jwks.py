"""The JWKS is a whitelist (rule 8)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.algorithms import PRIVATE_MEMBERS, kind_of
from rotator.errors import StoreCorrupt
from rotator.jwks import estimated_size, public_jwk, read_jwks, render_jwks, same_public_half
from rotator.keys import Keys
from rotator.ring import Key, KeyRing, Phase

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(kid: str, phase: Phase, day: int = 0, algorithm: str = "ES256") -> Key:
    """Return a key with made-up public members."""
    at = NOW + timedelta(days=day)
    public = {"kty": "EC", "crv": "P-256", "x": f"x{kid}", "y": f"y{kid}"}
    return Key(kid, algorithm, 256, phase, kid, at, public, pending_at=at, activated_at=at)


def test_current_then_next_then_previous_and_nothing_else() -> None:
    """Libraries that take the first key that fits meet the current one; ended ones are not there."""
    phases = [
        ("old", Phase.RETIRING, 0),
        ("older", Phase.RETIRING, -1),
        ("now", Phase.ACTIVE, 1),
        ("next", Phase.PENDING, 2),
        ("making", Phase.CREATING, 3),
        ("gone", Phase.RETIRED, -2),
        ("bad", Phase.REVOKED, -3),
        ("torn", Phase.DISCARDED, -4),
    ]
    ring = KeyRing("web", 1, tuple(key(*row) for row in phases))
    kids = [jwk["kid"] for jwk in json.loads(render_jwks(ring))["keys"]]
    assert kids == ["now", "next", "old", "older"]


def test_members_are_whitelisted() -> None:
    """Whatever else a ring may hold, only the public parameters are published."""
    odd = replace(
        key("a", Phase.ACTIVE), public={**(key("a", Phase.ACTIVE).public or {}), "d": "no"}
    )
    jwk = public_jwk(odd)
    assert list(jwk) == ["kty", "kid", "use", "alg", "crv", "x", "y"]
    assert not PRIVATE_MEMBERS & set(jwk)


def test_hmac_never_reaches_a_jwks() -> None:
    """An oct key is refused, not skipped."""
    secret = Key("h", "HS256", 256, Phase.ACTIVE, "h", NOW, None, "check", activated_at=NOW)
    with pytest.raises(StoreCorrupt):
        render_jwks(KeyRing("web", 1, (secret,)))


def test_an_empty_jwks_is_never_rendered() -> None:
    """PyJWT, php-jwt and jwks-rsa raise on one; the last good one stays."""
    with pytest.raises(StoreCorrupt, match="empty"):
        render_jwks(KeyRing("web", 1))


def test_reading_passes_over_what_is_no_key() -> None:
    """RFC 7517 §5: unknown members of the set do not spoil the others."""
    found = read_jwks(b'{"keys":[1,{"kty":"EC"},{"kid":7},{"kid":"a","kty":"EC"}],"more":1}')
    assert found is not None
    assert list(found) == ["a"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys":{}}', b"<html>", b"\xff", b"[" * 100_000]
)
def test_what_is_no_jwks_is_none(body: bytes) -> None:
    """An error page is not an empty JWKS."""
    assert read_jwks(body) is None


def test_a_kid_with_another_public_half_is_not_the_same_key() -> None:
    """A verifier would fail on it, so it does not count as announced."""
    mine = key("a", Phase.ACTIVE)
    assert same_public_half(mine, {**public_jwk(mine), "x5t": "extra members do no harm"})
    assert not same_public_half(mine, {**public_jwk(mine), "x": "other"})
    assert not same_public_half(mine, {**public_jwk(mine), "alg": "ES384"})
    assert not same_public_half(mine, {n: v for n, v in public_jwk(mine).items() if n != "use"})


@pytest.mark.parametrize("name", ["RS256", "PS512", "ES256", "ES512", "EdDSA"])
def test_the_estimate_is_never_too_small(name: str) -> None:
    """A key that was let in by the estimate fits."""
    kind = kind_of(name, 2048 if name[1] == "S" and name[0] in "RP" else None)
    new = Keys().make(kind)
    made = Key(new.kid, name, kind.size, Phase.ACTIVE, "l", NOW, new.public, activated_at=NOW)
    assert len(render_jwks(KeyRing("w", 1, (made,)))) <= estimated_size(kind) + len('{"keys":[]}')
