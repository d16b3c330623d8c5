"""What consumers of a document read, and what a lost race leaves behind."""

from __future__ import annotations

import json

import pytest

from rotator.errors import ConfigError, Conflict
from rotator.stores import Document
from rotator_conjur.envelopes import Envelope, parse
from rotator_conjur.splice import Written
from rotator_conjur.splice import parse as parse_document
from tests.conjur.places import SIGNING, Ground

BODIES = [
    b"{}",
    b"{ }",
    b'{"keys": []}',
    b'{\n  "kid": "a",\n  "pem": "-----BEGIN\\n"\n}\n',
    b'{"rotator": 1}',
    b'{"a": {"rotator": {"x": 1}}}',
    b'{"a": "\\"rotator\\":{}}"}',
    b"[1, 2]",
    b'"text}"',
    b"text }",
    b"",
    b"\xff\x00",
    b" {}",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("key_set", ["orders", None, 'odd"}{name'])
def test_every_byte_comes_back(body: bytes, key_set: str | None) -> None:
    """With the key set, the revision and the cache lifetimes."""
    written = Written(b"", body, 3, "nonce", key_set, 7, 300, 0)
    found = parse_document(written.dump())
    assert found.content == written.content
    assert (found.expects, found.nonce) == (3, "nonce")


@pytest.mark.parametrize("body", [b"{}", b'{"keys": [{"kty": "EC"}]}', b'{\n "kid": "a"\n}\n'])
def test_json_stays_json(body: bytes) -> None:
    """A consumer parses the value and finds the document, and one member more."""
    value = json.loads(Written(b"", body, 3, "nonce", "orders", 7).dump())
    assert value.pop("rotator")["revision"] == 7
    assert value == json.loads(body)


@pytest.mark.parametrize(
    "value", [b"", b"text", b'{"rotator":{"expects":1}}', b'{"rotator":{}}', b"[]", b"\xff"]
)
def test_what_is_not_ours_is_foreign(value: bytes) -> None:
    """It has no revision, and is its own body."""
    found = parse_document(value)
    assert (found.body, found.expects, found.revision) == (value, None, None)


def test_a_consumer_reads_the_document(conjur: Ground) -> None:
    """The latest value of the variable, by any client."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=None)
    value = conjur.client().value(SIGNING)
    assert value is not None
    assert json.loads(value)["kid"] == "a"


def test_what_was_written_by_hand_is_seen(conjur: Ground) -> None:
    """As somebody else's document, which the next tick then mends."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=None)
    conjur.server.set(SIGNING, b'{"kid": "by hand"}')
    found = documents.read("orders/signing")
    assert found is not None
    assert (found.body, found.key_set, found.revision) == (b'{"kid": "by hand"}', None, None)
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=found.token)
    found = documents.read("orders/signing")
    assert found is not None
    assert (found.body, found.revision) == (b'{"kid": "a"}', 4)


def test_a_revision_by_hand_does_not_get_below_ours(conjur: Ground) -> None:
    """The fence looks at what we wrote last as well as at what everybody sees."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b"{}", "orders", 9), replacing=None)
    conjur.server.set(SIGNING, b"by hand")
    found = documents.read("orders/signing")
    assert found is not None
    with pytest.raises(Conflict, match="revision 9, above 8"):
        documents.write("orders/signing", Document(b"{}", "orders", 8), replacing=found.token)


def test_a_losers_document_is_seen_until_it_is_put_back(conjur: Ground) -> None:
    """A loser that died before it could: the document that everybody reads is the one that counts."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=None)
    loser = Written(b"", b'{"kid": "b"}', 1, "loser", "orders", 4)
    conjur.server.set(SIGNING, loser.dump())
    found = documents.read("orders/signing")
    assert found is not None
    assert (found.body, found.revision) == (b'{"kid": "b"}', 4)
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=found.token)
    value = conjur.client().value(SIGNING)
    assert value is not None
    assert json.loads(value)["kid"] == "a"


def test_a_loser_puts_the_winners_document_back(conjur: Ground) -> None:
    """Nobody reads its document for longer than that takes."""
    documents = conjur.store().documents()
    history = documents._history("orders/signing")
    before = history.look()
    documents.write("orders/signing", Document(b'{"kid": "a"}', "orders", 4), replacing=None)
    assert (
        history.append(before, lambda n: Written(b"", b"{}", n, "loser", "orders", 4).dump())
        is None
    )
    documents._put_back(history, history.look())
    value = conjur.client().value(SIGNING)
    assert value is not None
    assert json.loads(value)["kid"] == "a"


def test_an_earlier_document_is_in_no_version(conjur: Ground) -> None:
    """A signer that may read the document may read its versions, and there is a private key in each."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b'{"kid": "earlier"}', "orders", 4), replacing=None)
    found = documents.read("orders/signing")
    assert found is not None
    later = Document(b'{"kid": "later"}', "orders", 5)
    documents.write("orders/signing", later, replacing=found.token)
    kept = conjur.server.versions(SIGNING).values()
    assert len(kept) == 20
    assert not any(b"earlier" in value for value in kept)
    found = documents.read("orders/signing")
    assert found is not None
    assert (found.body, found.revision) == (later.body, 5)


def test_an_earlier_jwks_may_stay(conjur: Ground) -> None:
    """There is nothing secret in it."""
    documents = conjur.store().documents()
    documents.write("orders/jwks", Document(b'{"keys": [1]}', "orders", 4), replacing=None)
    found = documents.read("orders/jwks")
    assert found is not None
    documents.write("orders/jwks", Document(b'{"keys": [2]}', "orders", 5), replacing=found.token)
    assert len(conjur.server.versions("rotator/orders/jwks")) == 2


def test_a_deleted_document_is_in_no_version(conjur: Ground) -> None:
    """For a signing document holds a private key."""
    documents = conjur.store().documents()
    documents.write("orders/signing", Document(b'{"kid": "secret"}', "orders", 4), replacing=None)
    documents.delete("orders/signing")
    assert documents.read("orders/signing") is None
    assert not any(b"secret" in value for value in conjur.server.versions(SIGNING).values())


@pytest.mark.parametrize(
    "name", ["orders", "orders/", "orders/ring", "orders/material/slot-01", "orders/../x", "A/b"]
)
def test_names_that_are_none(conjur: Ground, name: str) -> None:
    """No document takes the place of a ring or of material."""
    with pytest.raises(ConfigError, match="cannot hold"):
        conjur.store().documents().read(name)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"format": "rotator.conjur-ring/1", "expects": "1", "body": ""}',
        b'{"format": "rotator.conjur-ring/1", "expects": true, "body": ""}',
        b'{"format": "rotator.conjur-ring/1", "expects": 1, "body": "%"}',
        b'{"format": "rotator.conjur-ring/1", "expects": 1, "body": "", "kid": 1}',
        b'{"format": "other", "expects": 1, "body": ""}',
    ],
)
def test_a_value_that_is_no_envelope_counts_as_foreign(value: bytes) -> None:
    """Whatever somebody put there, it is no ring, and no exception."""
    assert parse(value) == Envelope()


def test_an_envelope_says_nothing_of_its_body() -> None:
    """It may be a private key."""
    assert "c2VjcmV0" not in repr(Envelope(body=b"secret"))
    assert "secret" not in repr(Envelope(body=b"secret"))
    assert "secret" not in repr(Written(b"secret", b"secret"))
