"""Verifier profiles: they raise, lower and limit, and never make a policy less safe."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.algorithms import kind_of
from rotator.policy import RotationPolicy, broken_clauses
from rotator.profiles import (
    PROFILES,
    advice,
    apply_profiles,
    changed_by,
    find_profile,
    objections,
)

POLICY = RotationPolicy(
    kind_of("RS256"), token_ttl=timedelta(minutes=15), signer_lag=timedelta(minutes=5)
)


def test_raises_and_lowers() -> None:
    """ASP.NET caches for 12h and 5 % more; a load balancer of AWS takes ten keys."""
    policy = apply_profiles(replace(POLICY, max_keys=20, leeway=timedelta()), ["aspnet", "alb"])
    assert policy.verifier_cache == timedelta(hours=12, minutes=36)
    assert policy.leeway == timedelta(minutes=5)
    assert policy.max_keys == 10


@pytest.mark.parametrize("name", PROFILES)
def test_never_less_safe(name: str) -> None:
    """Whatever was configured stays, where it is the safer value."""
    careful = replace(
        POLICY, verifier_cache=timedelta(days=3), leeway=timedelta(hours=1), max_keys=5
    )
    assert apply_profiles(careful, [name]) == careful
    applied = apply_profiles(POLICY, [name])
    assert applied.verifier_cache >= POLICY.verifier_cache
    assert applied.leeway >= POLICY.leeway
    assert applied.max_keys <= POLICY.max_keys


@pytest.mark.parametrize("name", PROFILES)
def test_default_policy_suits_every_profile(name: str) -> None:
    """The defaults of DESIGN §3 are safe with each of them, alone."""
    assert broken_clauses(apply_profiles(POLICY, [name])) == ()


@pytest.mark.parametrize("name", PROFILES)
def test_table_is_well_formed(name: str) -> None:
    """Names as people type them, figures within reason, sentences without a period."""
    profile = PROFILES[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", profile.name)
    assert timedelta() <= profile.blind <= timedelta(days=1)
    assert timedelta() <= profile.leeway <= timedelta(minutes=5)
    assert profile.algorithms
    assert not any(note.endswith(".") for note in profile.notes)
    assert profile.keeps >= timedelta()
    assert isinstance(advice([name]), tuple)


def test_several_together() -> None:
    """The slowest decides, and it is named."""
    policy = apply_profiles(POLICY, ["pyjwt", "istio", "aspnet"])
    assert policy.verifier_cache == PROFILES["aspnet"].blind
    assert changed_by(POLICY, ["pyjwt", "istio", "aspnet"]) == {"verifier_cache": "aspnet"}
    assert changed_by(POLICY, ["pyjwt"]) == {}


@pytest.mark.parametrize(
    ("algorithm", "name", "said"),
    [
        ("ES256", "alb", "it verifies RS256"),
        ("EdDSA", "aspnet", "does not verify EdDSA"),
        ("PS256", "aws-jwt-verify", "does not verify PS256"),
        ("HS256", "envoy", "HMAC"),
    ],
)
def test_algorithms_that_no_duration_can_mend(algorithm: str, name: str, said: str) -> None:
    """Objections are sentences."""
    (text,) = objections(replace(POLICY, kind=kind_of(algorithm)), [name])
    assert said in text


def test_mixed_kty() -> None:
    """python-jose breaks on keys of two types (`allow_mixed_kty` says that there will be)."""
    assert objections(POLICY, ["python-jose"]) == ()
    assert objections(replace(POLICY, allow_mixed_kty=True), ["python-jose"])


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("jose", "`jose-node`"),
        ("ASPNet", "`aspnet`"),
        ("envoi", "`envoy`"),
        ("aws_sts", "`aws-sts`"),
    ],
)
def test_nearest_name(wrong: str, meant: str) -> None:
    """A misspelt profile is refused with the one that was meant."""
    with pytest.raises(ValueError, match="there is no verifier profile") as caught:
        find_profile(wrong)
    assert meant in str(caught.value)


def test_frozen_caches_are_said() -> None:
    """`check` must tell what no duration covers."""
    assert any("no duration covers that" in line for line in advice(["istio"]))
    assert any("no duration covers that" in line for line in advice(["envoy-async"]))
    assert not any("no duration covers that" in line for line in advice(["pyjwt"]))
    assert any("until it meets a kid" in line for line in advice(["go-oidc"]))
