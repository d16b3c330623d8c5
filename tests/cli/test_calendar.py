"""The calendar: the real decisions, driven through time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator import transitions
from rotator.algorithms import kind_of
from rotator.calendar import forecast, remembered, rotations
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, Standby
from rotator.ring import Key, KeyRing, Phase
from rotator.step import Do, Step

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(minutes=15), signer_lag=timedelta(minutes=5)
)
TARGETS = {"files:/s": DocumentKind.SIGNING, "file:/j": DocumentKind.JWKS}


def told(ring: KeyRing, policy: RotationPolicy = POLICY, days: int = 365) -> tuple[Step, ...]:
    """Return the calendar of some days."""
    return forecast(ring, policy, NOW, NOW + days * DAY, TARGETS)


def summary(steps: tuple[Step, ...]) -> list[tuple[str, str, timedelta]]:
    """Return what happens to which key after what time."""
    return [(s.do.value, s.kid, (s.due_at or NOW) - NOW) for s in steps]


def test_a_year_from_nothing() -> None:
    """A first key, four rotations, and each key retired after its grace."""
    steps = told(KeyRing("web"))
    assert rotations(steps) == 4
    grace = timedelta(minutes=35)
    assert summary(steps)[:7] == [
        ("create", "+1", timedelta(0)),
        ("promote", "+1", timedelta(0)),
        ("create", "+2", timedelta(0)),
        ("promote", "+2", 90 * DAY),
        ("create", "+3", 90 * DAY),
        ("retire", "+1", 90 * DAY + grace),
        ("destroy", "+1", 90 * DAY + grace),
    ]


def test_just_in_time() -> None:
    """The next key is created only as long before its due date as it must be."""
    steps = told(KeyRing("web"), replace(POLICY, standby=Standby.JUST_IN_TIME))
    created = [at for do, _, at in summary(steps) if do == "create"]
    assert created[1] == 90 * DAY - POLICY.propagation_wait - 2 * POLICY.resync
    assert rotations(steps) == 4


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "HS512"])
def test_every_kind(algorithm: str) -> None:
    """Symmetric kinds have a calendar, too."""
    assert rotations(told(KeyRing("web"), replace(POLICY, kind=kind_of(algorithm)))) == 4


def ring_with(**orders: Any) -> KeyRing:
    """Return a ring with a current and a next key, made just now."""
    public = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}
    names = ("current", "next")
    first, second = (
        Key(kid, "ES256", 256, Phase.CREATING, kid, NOW, public=public) for kid in names
    )
    ring = KeyRing("web", revision=1, keys=(first, second), holders={"files:/s": ("current",)})
    for kid in names:
        ring = transitions.created(ring, kid, NOW)
    ring = transitions.promote(ring, "current", NOW, "first")
    coming = ring.find("next")
    assert coming is not None
    ring = ring.with_key(replace(coming, announced={"file:/j": NOW}))
    return replace(ring, **orders)


def test_an_order_comes_first() -> None:
    """`--now` is done once the next key has propagated."""
    ring = transitions.order_promotion(ring_with(), "current", NOW, "a test")
    assert ("promote", "next", DAY) in summary(told(ring, days=10))


def test_a_hold_has_an_empty_calendar() -> None:
    """Nothing happens until somebody releases it."""
    ring = transitions.hold(ring_with(), NOW, "a test")
    assert told(ring, days=1000) == ()


def test_a_pinned_key_never_retires() -> None:
    """It stays, whatever comes."""
    ring = transitions.pin(ring_with(), "current", NOW, "a test")
    assert not [s for s in told(ring) if s.do is Do.RETIRE and s.kid == "current"]


def test_a_creation_left_half_done_is_finished() -> None:
    """Whoever is creating a key is taken for dead; the calendar goes on."""
    ring = ring_with()
    key = Key("half", "ES256", 256, Phase.CREATING, "half", NOW, public=ring.keys[0].public)
    ring = transitions.discard(ring, "next", NOW, "kind-unwanted", write_window=timedelta(0))
    ring = ring.with_key(key)
    steps = told(ring, days=100)
    assert ("take-over", "half", POLICY.create_timeout) in summary(steps)
    assert rotations(steps) == 1


def test_what_the_ring_remembers() -> None:
    """A pending key is where its terms stand; signers hold what they were last seen with."""
    observed = remembered(ring_with(), {**TARGETS, "file:/new": DocumentKind.JWKS})
    assert set(observed.sightings["file:/j"].kids) == {"current", "next"}
    assert observed.sightings["file:/new"].kids == ("current",)
    assert observed.sightings["files:/s"].kids == ("current",)
