"""The contract of a `DocumentStore`: conditional writes, and no document replaces one of a higher revision."""
# ruff: noqa: S101  # asserts are what a contract is made of

from __future__ import annotations

from typing import Final

import pytest

from rotator.errors import Conflict
from rotator.stores import Document, DocumentStore, Store, VersionToken
from rotator.testing.base import Contract, Place
from rotator.testing.race import Task, race

NAME: Final = "orders/signing"


def documents_of(store: Store) -> DocumentStore:
    """Return the documents of a store; one without has no business with this contract."""
    documents = store.documents()
    assert documents is not None, "this store keeps no documents: do not join DocumentStoreContract"
    return documents


def present(documents: DocumentStore, name: str = NAME) -> Document:
    """Return the document as it is stored now; there must be one."""
    found = documents.read(name)
    assert found is not None
    return found


class DocumentStoreContract(Contract):
    """What every `DocumentStore` does."""

    def test_no_document_is_none(self, place: Place) -> None:
        """Where nothing was ever written, the answer is None."""
        assert documents_of(place.open()).read(NAME) is None

    @pytest.mark.parametrize(
        "body",
        [b"", b'{"kid": "a"}', b"\xff\x00 binary \r\n", b"x" * 48_000],
        ids=["empty", "JSON", "binary", "48 KB"],
    )
    def test_what_is_written_is_read(self, place: Place, body: bytes) -> None:
        """Body, key set and revision come back, with a token."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(body, "orders", 7), replacing=None)
        found = present(documents_of(place.open()))
        assert (found.body, found.key_set, found.revision) == (body, "orders", 7)
        assert found.token

    def test_a_write_replaces_the_token_it_names(self, place: Place) -> None:
        """The next document takes the place of the present one, under a new token."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(b"one", "orders", 1), replacing=None)
        first = present(documents)
        documents.write(NAME, Document(b"two", "orders", 2), replacing=first.token)
        second = present(documents)
        assert (second.body, second.revision) == (b"two", 2)
        assert second.token != first.token

    def test_a_first_write_never_replaces(self, place: Place) -> None:
        """Whoever saw nothing there does not overwrite something."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(b"one", "orders", 1), replacing=None)
        with pytest.raises(Conflict):
            documents.write(NAME, Document(b"two", "orders", 2), replacing=None)
        assert present(documents).body == b"one"

    def test_a_stale_write_is_refused(self, place: Place) -> None:
        """A stalled writer's document does not land, even with the same revision."""
        documents, stalled = documents_of(place.open()), documents_of(place.open())
        documents.write(NAME, Document(b"one", "orders", 1), replacing=None)
        seen = present(stalled).token
        documents.write(NAME, Document(b"two", "orders", 2), replacing=present(documents).token)
        for revision in (1, 2, 3):
            with pytest.raises(Conflict):
                stalled.write(NAME, Document(b"old", "orders", revision), replacing=seen)
        assert present(documents).body == b"two"

    def test_a_write_that_replaces_nothing_is_refused(self, place: Place) -> None:
        """What was removed in between is not put back by a writer that saw it."""
        documents = documents_of(place.open())
        with pytest.raises(Conflict):
            documents.write(
                NAME, Document(b"one", "orders", 1), replacing=VersionToken("no such token")
            )
        assert documents.read(NAME) is None

    def test_a_higher_revision_is_never_replaced(self, place: Place) -> None:
        """The fence holds even for a writer that names the present token."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(b"nine", "orders", 9), replacing=None)
        with pytest.raises(Conflict):
            documents.write(
                NAME, Document(b"eight", "orders", 8), replacing=present(documents).token
            )
        assert (present(documents).body, present(documents).revision) == (b"nine", 9)

    def test_the_same_revision_is_replaced(self, place: Place) -> None:
        """A document that somebody changed by hand is mended from the ring of its revision."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(b"changed by hand", "orders", 9), replacing=None)
        documents.write(NAME, Document(b"nine", "orders", 9), replacing=present(documents).token)
        assert present(documents).body == b"nine"

    def test_revisions_above_nine_are_numbers(self, place: Place) -> None:
        """10 is above 9, and 9 is below 10."""
        documents = documents_of(place.open())
        documents.write(NAME, Document(b"nine", "orders", 9), replacing=None)
        documents.write(NAME, Document(b"ten", "orders", 10), replacing=present(documents).token)
        with pytest.raises(Conflict):
            documents.write(
                NAME, Document(b"nine", "orders", 9), replacing=present(documents).token
            )
        assert present(documents).body == b"ten"

    def test_documents_do_not_touch_each_other(self, place: Place) -> None:
        """Names that begin alike are different documents."""
        documents = documents_of(place.open())
        names = ["orders/signing", "orders/signing2", "orders/verification", "orders-2/signing"]
        for number, name in enumerate(names):
            documents.write(
                name, Document(name.encode(), name.split("/")[0], number), replacing=None
            )
        documents.delete(names[0])
        assert documents.read(names[0]) is None
        for name in names[1:]:
            assert present(documents, name).body == name.encode()

    def test_deleted_is_gone(self, place: Place) -> None:
        """Deleting is harmless twice, and makes room for a first write."""
        documents = documents_of(place.open())
        documents.delete(NAME)
        documents.write(NAME, Document(b"one", "orders", 1), replacing=None)
        documents.delete(NAME)
        documents.delete(NAME)
        assert documents_of(place.open()).read(NAME) is None
        documents.write(NAME, Document(b"again", "orders", 1), replacing=None)
        assert present(documents).body == b"again"

    def test_one_first_write_wins_the_race(self, place: Place) -> None:
        """Of many that saw nothing there, one writes."""
        said = race(place, Task("document", name=NAME))
        assert said.count("won") == 1
        found = present(documents_of(place.open()))
        winner = said.index("won")
        assert (found.body, found.revision) == (f"racer {winner}".encode(), winner)
