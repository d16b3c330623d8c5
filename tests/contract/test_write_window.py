"""A process that stands still in the midst of a write sends nothing more, over every server elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.errors import StoreUnavailable
from rotator.fence import writing
from rotator.secret import Secret
from rotator.stores import Document, Store, backend_names
from tests.contract.openers import OPENERS

REMOTE = sorted(set(backend_names()) - {"file"})


@pytest.fixture(params=REMOTE)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty place on a real server."""
    opened = OPENERS[request.param](tmp_path).open()
    yield opened
    opened.close()


def test_nothing_is_sent_after_the_window(store: Store) -> None:
    """Neither ring nor material nor document is written; what is there stays as it is."""
    rings, material, documents = store.rings("orders"), store.material("orders"), store.documents()
    assert documents is not None
    first = rings.save(b'{"ring": 1}', replacing=None)
    locator = material.allocate("kid", frozenset())
    with writing(lambda: False):
        with pytest.raises(StoreUnavailable, match="stood still"):
            rings.save(b'{"ring": 2}', replacing=first)
        with pytest.raises(StoreUnavailable, match="stood still"):
            material.put(locator, "kid", Secret(b"late"))
        with pytest.raises(StoreUnavailable, match="stood still"):
            documents.write("orders/jwks", Document(b"{}", "orders", 2), replacing=None)
    stored = rings.load()
    assert stored is not None
    assert (stored.document, stored.version) == (b'{"ring": 1}', first)
    assert material.get(locator, "kid") is None
    assert documents.read("orders/jwks") is None


def test_the_window_ends_between_two_calls_of_one_write(tmp_path: Path) -> None:
    """AWS takes two calls for a save: the second is not sent, and the ring is the one before."""
    rings = OPENERS["aws"](tmp_path).open().rings("orders")
    first = rings.save(b'{"ring": 1}', replacing=None)
    answers = [True, False]
    with writing(lambda: answers.pop(0)), pytest.raises(StoreUnavailable, match="stood still"):
        rings.save(b'{"ring": 2}', replacing=first)
    assert answers == []
    stored = rings.load()
    assert stored is not None
    assert stored.document == b'{"ring": 1}'
