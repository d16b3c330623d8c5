"""The contract of a `MaterialStore`: written once, given back whole, destroyed for good, never mixed up."""
# ruff: noqa: S101  # asserts are what a contract is made of

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Final

import pytest

from rotator.errors import StoreCorrupt
from rotator.secret import Secret
from rotator.stores import MaterialStore
from rotator.testing.base import Contract, Place
from rotator.testing.race import Task, race

KID: Final = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
OTHER: Final = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbW"
ONE: Final = Secret(b"material-one " * 4)
TWO: Final = Secret(b"material-two " * 4)

DIFFICULT_KIDS: Final = (
    "-begins-with-a-dash",
    "_begins_with_an_underscore",
    ".begins.with.a.dot",
    "..",
    "../../../etc/passwd",
    "a/b",
    "a\\b",
    "with a blank ",
    "Case",
    "case",
    "a:b?c#d%2F&e=f",
    "${HOME} $(id) `id`",
    "ключ-\U0001f511",
    "line\nbreak",
    "https://issuer.example/keys/2024?v=1",
    "arn:aws:kms:eu-central-1:111122223333:key/1234abcd",
    "x" * 300,
)
"""Kids that adopted keys really have, and some that nobody should have."""


class MaterialStoreContract(Contract):
    """What every `MaterialStore` does."""

    def test_what_is_put_is_got(self, place: Place) -> None:
        """Material comes back as it was, from this handle and from another."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        assert store.get(locator, KID) == ONE
        assert place.open().material("orders").get(locator, KID) == ONE

    @pytest.mark.parametrize(
        "material",
        [
            pytest.param(b"\0", id="one zero byte"),
            pytest.param(bytes(range(256)), id="every byte"),
            pytest.param(b" \r\n text \n\n", id="blanks at both ends"),
            pytest.param(b"x" * 3272, id="as long as RSA-4096 in PEM"),
        ],
    )
    def test_every_material_is_kept_whole(self, place: Place, material: bytes) -> None:
        """Nothing is trimmed, decoded or rewritten."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, Secret(material))
        assert store.get(locator, KID) == Secret(material)

    def test_what_was_never_put_is_none(self, place: Place) -> None:
        """The answer that a kid is not there is None, and no error."""
        store = place.open().material("orders")
        assert store.get(store.allocate(KID, frozenset()), KID) is None

    def test_a_put_can_be_repeated(self, place: Place) -> None:
        """Whoever died between writing and hearing of it writes again."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        store.put(locator, KID, ONE)
        place.open().material("orders").put(locator, KID, ONE)
        assert store.get(locator, KID) == ONE

    def test_material_is_written_once(self, place: Place) -> None:
        """Other material of the same kid is refused, and what is there stays."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        with _refused_without_telling():
            store.put(locator, KID, TWO)
        assert store.get(locator, KID) == ONE

    def test_another_kid_is_refused(self, place: Place) -> None:
        """A locator is never shared: not even the same bytes are taken for another kid's."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        for material in (ONE, TWO):
            with _refused_without_telling():
                store.put(locator, OTHER, material)
        assert store.get(locator, KID) == ONE

    def test_another_kid_gets_nothing(self, place: Place) -> None:
        """Material is given out only under its own kid."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        with contextlib.suppress(StoreCorrupt):
            assert store.get(locator, OTHER) is None

    def test_destroyed_is_gone(self, place: Place) -> None:
        """Once destroyed, no handle gives the material out, and destroying again is harmless."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        store.destroy(locator, KID)
        assert store.get(locator, KID) is None
        assert place.open().material("orders").get(locator, KID) is None
        store.destroy(locator, KID)
        place.open().material("orders").destroy(locator, KID)

    def test_destroying_what_never_was_is_harmless(self, place: Place) -> None:
        """A crash before `put` leaves a locator in the ring and nothing behind it."""
        store = place.open().material("orders")
        store.destroy(store.allocate(KID, frozenset()), KID)

    def test_another_kid_is_not_destroyed(self, place: Place) -> None:
        """Whatever a ring says, nobody destroys a key under the name of another."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        store.put(locator, KID, ONE)
        with contextlib.suppress(StoreCorrupt):
            store.destroy(locator, OTHER)
        assert store.get(locator, KID) == ONE

    def test_destroying_one_leaves_the_others(self, place: Place) -> None:
        """Each kid is an object of its own."""
        store = place.open().material("orders")
        one = store.allocate(KID, frozenset())
        two = store.allocate(OTHER, frozenset({one}))
        store.put(one, KID, ONE)
        store.put(two, OTHER, TWO)
        store.destroy(one, KID)
        assert store.get(two, OTHER) == TWO

    def test_key_sets_do_not_share_material(self, place: Place) -> None:
        """The same kid in two key sets is two objects."""
        store = place.open()
        orders, billing = store.material("orders"), store.material("billing")
        here, there = orders.allocate(KID, frozenset()), billing.allocate(KID, frozenset())
        orders.put(here, KID, ONE)
        assert billing.get(there, KID) is None
        billing.put(there, KID, TWO)
        orders.destroy(here, KID)
        assert billing.get(there, KID) == TWO

    def test_allocate_is_pure(self, place: Place) -> None:
        """A locator is a name made from its arguments: nothing is reserved, nothing is written."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        assert store.allocate(KID, frozenset()) == locator
        assert place.open().material("orders").allocate(KID, frozenset()) == locator
        assert store.get(locator, KID) is None

    def test_allocate_avoids_what_is_taken(self, place: Place) -> None:
        """A kid that returns while its old material is not yet known to be destroyed gets a new place."""
        store = place.open().material("orders")
        taken: set[str] = set()
        for _ in range(5):
            locator = store.allocate(KID, frozenset(taken))
            assert locator not in taken
            taken.add(locator)

    def test_difficult_kids(self, place: Place) -> None:
        """Any kid finds a place of its own, whatever is in it, and keeps its own material."""
        store = place.open().material("orders")
        placed = dict(_placed(store))
        assert len(set(placed.values())) == len(DIFFICULT_KIDS)
        for number, (kid, locator) in enumerate(placed.items()):
            assert store.get(locator, kid) == Secret(f"material {number}".encode())
            assert locator.isprintable()
            assert len(locator) <= 512, "a ring has to hold it"
        for kid, locator in placed.items():
            store.destroy(locator, kid)
            assert store.get(locator, kid) is None

    def test_one_kid_wins_the_race_for_a_locator(self, place: Place) -> None:
        """Of many that put at one locator, one is told that it did, and its material is there."""
        store = place.open().material("orders")
        locator = store.allocate(KID, frozenset())
        said = race(place, Task("put", name=locator))
        assert said.count("won") == 1
        winner = said.index("won")
        assert store.get(locator, f"kid-{winner}") == Secret(bytes([winner]) * 32)


def _placed(store: MaterialStore) -> Iterator[tuple[str, str]]:
    taken: frozenset[str] = frozenset()
    for number, kid in enumerate(DIFFICULT_KIDS):
        locator = store.allocate(kid, taken)
        store.put(locator, kid, Secret(f"material {number}".encode()))
        taken |= {locator}
        yield kid, locator


@contextlib.contextmanager
def _refused_without_telling() -> Iterator[None]:
    """Expect StoreCorrupt, and neither material in anything that a log could print of it."""
    with pytest.raises(StoreCorrupt) as refused:
        yield
    printed = "".join(traceback.format_exception(refused.value))
    for secret in (ONE, TWO):
        assert secret.reveal().decode() not in printed
