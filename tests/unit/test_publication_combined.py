"""One JWKS out of several: every key, every revision, the shortest lifetimes, no kid twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rotator.publication.combined import Published, combine
from rotator.publication.whitelist import Refused

AT = datetime(2031, 1, 1, tzinfo=UTC)


def published(revision: int, *kids: str, max_age: int = 300, stale: int = 600) -> Published:
    """Return a published JWKS of Ed25519 keys."""
    keys = [{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": "AAAA"} for kid in kids]
    return Published(json.dumps({"keys": keys}).encode(), revision, max_age, stale, AT)


def test_it_carries_every_key_and_each_revision_in_the_order_given() -> None:
    together = combine({"web": published(3, "b", "a"), "jobs": published(8, "c")})
    assert [key["kid"] for key in json.loads(together.body)["keys"]] == ["b", "a", "c"]
    assert list(together.revisions.items()) == [("web", 3), ("jobs", 8)]


def test_its_lifetimes_are_the_shortest() -> None:
    together = combine(
        {"web": published(1, "a", max_age=60, stale=900), "jobs": published(1, "b", stale=5)}
    )
    assert (together.max_age, together.stale) == (60, 5)


def test_a_kid_in_two_key_sets_is_refused() -> None:
    with pytest.raises(Refused, match="web and jobs share the kid a"):
        combine({"web": published(1, "a"), "jobs": published(1, "b", "a")})


def test_nothing_is_no_document() -> None:
    with pytest.raises(Refused):
        combine({})


def test_a_part_with_a_private_member_is_refused() -> None:
    part = published(1, "a")
    body = part.body.replace(b'"x"', b'"d": "AAAA", "x"')
    with pytest.raises(Refused, match="private member 'd'"):
        combine({"web": Published(body, 1, 1, 1, AT)})
