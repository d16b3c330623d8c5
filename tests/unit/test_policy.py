"""The timing contract: each clause, each term, the smallest safe value."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.algorithms import kind_of
from rotator.policy import RotationPolicy, broken_clauses, format_duration

SECOND = timedelta(seconds=1)
SAFE = RotationPolicy(
    kind_of("RS256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=10)
)


def test_the_defaults_are_safe() -> None:
    """What nobody configured keeps the contract."""
    assert broken_clauses(SAFE) == ()


@pytest.mark.parametrize(
    "term", ["jwks_max_age", "jwks_stale", "verifier_cache", "clock_skew", "resync"]
)
def test_each_term_of_the_propagation_floor_counts(term: str) -> None:
    """At the floor it is safe; one second more in any term, and it is not."""
    tight = replace(SAFE, propagation=SAFE.propagation_floor)
    assert broken_clauses(tight) == ()
    longer = replace(tight, **{term: getattr(tight, term) + SECOND})
    (violation,) = broken_clauses(longer)
    assert violation.field == "propagation"
    assert term in [found.name for found in violation.terms]
    assert violation.smallest_safe == format_duration(tight.propagation + SECOND)
    assert violation.smallest_safe in str(violation)


@pytest.mark.parametrize(
    ("term", "times"), [("token_ttl", 1), ("leeway", 1), ("signer_lag", 1), ("clock_skew", 2)]
)
def test_each_term_of_the_grace_floor_counts(term: str, times: int) -> None:
    """The same for grace; the clock skew counts twice."""
    tight = replace(SAFE, grace=SAFE.grace_floor, propagation=timedelta(days=2))
    assert broken_clauses(tight) == ()
    longer = replace(tight, **{term: getattr(tight, term) + SECOND})
    (violation,) = broken_clauses(longer)
    assert violation.field == "grace"
    assert violation.smallest_safe == format_duration(SAFE.grace_floor + times * SECOND)


def test_a_period_must_hold_a_propagation() -> None:
    """A next key must be able to propagate within one period."""
    floor = SAFE.propagation + SAFE.jwks_max_age + SAFE.jwks_stale
    assert broken_clauses(replace(SAFE, rotate_every=floor)) == ()
    (violation,) = broken_clauses(replace(SAFE, rotate_every=floor - SECOND))
    assert violation.field == "rotate_every"
    assert violation.smallest_safe == format_duration(floor)


def test_max_keys_must_hold_the_overlap() -> None:
    """4 + ⌈grace / rotate_every⌉ keys may be published at once."""
    policy = replace(SAFE, token_ttl=timedelta(days=200), max_keys=7)
    assert broken_clauses(policy) == ()
    (violation,) = broken_clauses(replace(policy, max_keys=6))
    assert (violation.field, violation.value, violation.smallest_safe) == ("max_keys", "6", "7")


def test_hmac_has_no_http_caches() -> None:
    """The first two terms are 0 for HMAC."""
    policy = replace(SAFE, kind=kind_of("HS256"), propagation=timedelta(hours=1, minutes=10))
    assert broken_clauses(policy) == ()
    assert policy.cached == timedelta(0)


def test_a_longer_cache_seen_at_a_probe_lengthens_the_wait() -> None:
    """It stands in for the two HTTP terms, and never refuses a configuration."""
    slow = replace(SAFE, observed_cache=timedelta(days=7))
    assert (
        slow.propagation_wait
        == timedelta(days=7) + SAFE.verifier_cache + SAFE.clock_skew + SAFE.resync
    )
    assert broken_clauses(slow) == ()


def test_the_write_window() -> None:
    """60 seconds, or half of the smaller of propagation and grace."""
    assert SAFE.write_window == timedelta(seconds=60)
    quick = replace(
        SAFE,
        token_ttl=timedelta(seconds=4),
        signer_lag=timedelta(0),
        leeway=timedelta(0),
        clock_skew=timedelta(0),
    )
    assert quick.write_window == timedelta(seconds=2)
    assert quick.create_timeout == timedelta(seconds=2)
    assert SAFE.create_timeout == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(days=90), "90d"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(seconds=22200), "6h10m"),
        (timedelta(milliseconds=250), "250ms"),
        (-timedelta(minutes=5), "-5m"),
    ],
)
def test_durations_are_written_as_they_are_configured(value: timedelta, text: str) -> None:
    """A message can be pasted back into the configuration."""
    assert format_duration(value) == text
