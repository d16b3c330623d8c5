"""The contract of a `RingStore`: compare-and-set that no racer, crash or second handle gets around."""
# ruff: noqa: S101  # asserts are what a contract is made of

from __future__ import annotations

import pytest

from rotator.errors import Conflict
from rotator.stores import RingStore, Version
from rotator.testing.base import Contract, Place
from rotator.testing.race import Task, race

RING = b'{"format": "rotator.ring/1", "revision": 1}'
NEXT = b'{"format": "rotator.ring/1", "revision": 2}'
OTHER = b'{"format": "rotator.ring/1", "revision": 2, "by": "another"}'


def document_of(ring: RingStore) -> bytes:
    """Return the ring as it is stored now; there must be one."""
    found = ring.load()
    assert found is not None
    return found.document


class RingStoreContract(Contract):
    """What every `RingStore` does."""

    def test_no_ring_is_none(self, place: Place) -> None:
        """Where nothing was ever saved, the answer is None, and asking changes nothing."""
        ring = place.open().rings("orders")
        assert ring.load() is None
        assert ring.load() is None

    def test_what_is_saved_is_loaded(self, place: Place) -> None:
        """Bytes come back as they were, with the version that `save` returned."""
        ring = place.open().rings("orders")
        version = ring.save(RING, replacing=None)
        found = ring.load()
        assert found is not None
        assert (found.document, found.version) == (RING, version)
        assert isinstance(version, str)
        assert version

    def test_a_save_replaces_the_version_it_names(self, place: Place) -> None:
        """The next ring takes the place of the present one, under a new version."""
        ring = place.open().rings("orders")
        first = ring.save(RING, replacing=None)
        second = ring.save(NEXT, replacing=first)
        assert second != first
        assert document_of(ring) == NEXT

    def test_a_first_save_never_replaces(self, place: Place) -> None:
        """Whoever believes that there is no ring does not overwrite one."""
        ring = place.open().rings("orders")
        ring.save(RING, replacing=None)
        with pytest.raises(Conflict):
            ring.save(OTHER, replacing=None)
        assert document_of(ring) == RING

    def test_a_stale_save_is_refused(self, place: Place) -> None:
        """An old version replaces nothing, however often it tries."""
        ring = place.open().rings("orders")
        first = ring.save(RING, replacing=None)
        ring.save(NEXT, replacing=first)
        for _ in range(2):
            with pytest.raises(Conflict):
                ring.save(OTHER, replacing=first)
        assert document_of(ring) == NEXT

    def test_a_save_that_replaces_nothing_is_refused(self, place: Place) -> None:
        """A ring that is gone is not put back by whoever still remembers its version."""
        store = place.open()
        remembered = store.rings("elsewhere").save(RING, replacing=None)
        with pytest.raises(Conflict):
            store.rings("orders").save(NEXT, replacing=remembered)
        with pytest.raises(Conflict):
            store.rings("orders").save(NEXT, replacing=Version("no such version"))
        assert store.rings("orders").load() is None

    def test_nested_save(self, place: Place) -> None:
        """A save between the load and the save of another makes the other lose, without any timing."""
        outer, inner = place.open().rings("orders"), place.open().rings("orders")
        outer.save(RING, replacing=None)
        found_outside = outer.load()
        assert found_outside is not None
        found_inside = inner.load()
        assert found_inside is not None
        inner.save(NEXT, replacing=found_inside.version)
        with pytest.raises(Conflict):
            outer.save(OTHER, replacing=found_outside.version)
        assert document_of(outer) == document_of(inner) == NEXT

    def test_a_loser_goes_on_after_loading_again(self, place: Place) -> None:
        """A Conflict is no state: the next load and save work."""
        ring = place.open().rings("orders")
        first = ring.save(RING, replacing=None)
        ring.save(NEXT, replacing=first)
        with pytest.raises(Conflict):
            ring.save(OTHER, replacing=first)
        found = ring.load()
        assert found is not None
        ring.save(OTHER, replacing=found.version)
        assert document_of(ring) == OTHER

    def test_a_second_handle_sees_a_save_at_once(self, place: Place) -> None:
        """No handle serves what it remembers."""
        one, two = place.open(), place.open()
        version = one.rings("orders").save(RING, replacing=None)
        assert document_of(two.rings("orders")) == RING
        two.rings("orders").save(NEXT, replacing=version)
        assert document_of(one.rings("orders")) == NEXT

    def test_key_sets_do_not_touch_each_other(self, place: Place) -> None:
        """Names that begin alike, or hold what separates names elsewhere, are different key sets."""
        store = place.open()
        names = ["a", "a.b", "a-b", "a_b", "a.b.c", "1", "ring", "lock", "x" * 63]
        for name in names:
            store.rings(name).save(name.encode(), replacing=None)
        for name in names:
            assert document_of(store.rings(name)) == name.encode()

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param(b'{"k": "' + b"x" * 48_000 + b'"}', id="48 KB"),
            pytest.param('{"k": "ключ \u2028 \U0001f511"}'.encode(), id="beyond ASCII"),
            pytest.param(b'{ "k" : 1.50 ,\r\n\t"k2":"\\u0041" }\n\n', id="every blank kept"),
        ],
    )
    def test_bytes_are_kept_as_they_are(self, place: Place, document: bytes) -> None:
        """A store does not read, wrap visibly or rewrite what it keeps."""
        ring = place.open().rings("orders")
        ring.save(document, replacing=None)
        assert document_of(ring) == document

    def test_one_first_save_wins_the_race(self, place: Place) -> None:
        """Of many replicas that start on an empty store, one saves the first ring."""
        said = race(place, Task("first"))
        assert said.count("won") == 1
        winner = said.index("won")
        assert document_of(place.open().rings("orders")) == f"racer {winner}".encode()

    def test_no_save_is_lost_in_a_race(self, place: Place) -> None:
        """Every save that returned is in the ring that is left."""
        task = Task("count")
        assert set(race(place, task)) == {"won"}
        assert int(document_of(place.open().rings("orders"))) == place.racers * task.times

    def test_a_store_can_be_closed_twice(self, place: Place) -> None:
        """Closing is harmless, and takes nothing away from other handles."""
        one, two = place.open(), place.open()
        one.rings("orders").save(RING, replacing=None)
        one.close()
        one.close()
        assert document_of(two.rings("orders")) == RING
        two.close()
