"""Until when a key may be used: counted from when the document with it was last seen, and never later than lawful."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rotator.exec.document import SigningKey
from rotator.exec.orders import Orders
from rotator.exec.terms import Terms
from tests.exec.test_orders import orders

NEVER = math.inf


def key(kid: str, revision: int = 1) -> SigningKey:
    """A key; its parts do not matter here."""
    return SigningKey("web", revision, kid, "ES256", b"", {"kid": kid}, "")


@pytest.fixture
def terms() -> Terms:
    """The terms of a signer that has 60 s, 10 of which it needs to end; the first key is there."""
    made: dict[str, Any] = {"signer_lag": 60.0, "stop_timeout": 10.0}
    asked: Orders = orders(**made)
    terms = Terms(asked)
    terms.take(key("first"), None, None)
    return terms


def test_the_newest_has_no_end(terms: Terms) -> None:
    """Until it is replaced; then its end counts from the last sight of it."""
    assert terms.end_at(key("first")) == NEVER
    terms.take(key("second", 2), 100.0, key("first"))
    assert terms.end_at(key("first")) == 100.0 + 60.0 - 10.0
    assert terms.end_at(key("second")) == NEVER
    assert terms.due(key("first"), 101.0)


def test_a_third_key_lengthens_nothing(terms: Terms) -> None:
    """The end of a key stays what it was when the next is replaced too."""
    terms.take(key("second", 2), 100.0, key("first"))
    terms.take(key("third", 3), 130.0, key("first"))
    assert terms.end_at(key("first")) == 150.0
    assert terms.end_at(key("second")) == 180.0


def test_a_key_that_was_not_seen_for_long_has_no_time(terms: Terms) -> None:
    """A reader that is new saw nothing: nothing is lawful then."""
    terms.take(key("second", 2), None, key("first"))
    assert terms.end_at(key("first")) == -NEVER


def test_a_failed_key_is_tried_once_more(terms: Terms) -> None:
    """At the end of the time of the one before, and not between; any other key at once."""
    first, second, third = key("first"), key("second", 2), key("third", 3)
    terms.take(second, 100.0, first)
    terms.failed(second, terms.end_at(first))
    assert not terms.due(first, 149.0)
    assert terms.due(first, 150.0)
    terms.take(third, 120.0, first)
    assert terms.due(first, 121.0)


def test_a_rollback_is_the_end_of_it(terms: Terms) -> None:
    """The key that is in use is the newest again, and has no end; what had failed may be tried again later."""
    first, second = key("first"), key("second", 2)
    terms.take(second, 100.0, first)
    terms.failed(second, 150.0)
    terms.take(key("first", 3), 120.0, first)
    assert not terms.due(first, 1000.0)
    assert (terms.end_at(first), terms.retry_at) == (NEVER, NEVER)
    terms.take(key("second", 4), 500.0, first)
    assert terms.due(first, 501.0)
