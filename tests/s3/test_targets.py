"""What every publication owes: the S3 object and Conjur's public-keys, each on its server, against the same contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import Conflict, StoreCorrupt
from rotator.publication.jwt_authenticator import AuthenticatorPublication
from rotator.publication.objects import ObjectPublication
from rotator.stores import Document
from tests.conjur.places import Ground, ground
from tests.s3.conftest import KEY, Place, jwks

SERVICE = """
- !policy
  id: conjur/authn-jwt/shop
  body:
    - !webservice
    - !variable public-keys
- !policy
  id: rotator
  body:
    - !permit
      role: !host /rotator
      privileges: [ read, execute, update ]
      resource: !variable /conjur/authn-jwt/shop/public-keys
"""


@dataclass
class Case:
    """One kind of target at a place of its own.

    Attributes:
        another: returns the same address for another key set.
        read: returns what verifiers read there.
        put: writes there as somebody else would.
    """

    target: ObjectPublication | AuthenticatorPublication
    another: Callable[[str], ObjectPublication | AuthenticatorPublication]
    read: Callable[[], bytes]
    put: Callable[[bytes], object]


def _s3(place: Place) -> Case:
    return Case(
        place.target(),
        lambda key_set: place.target(key_set=key_set),
        partial(_body, place),
        lambda body: place.sdk.put_object(Bucket=place.bucket, Key=KEY, Body=body),
    )


def _body(place: Place) -> bytes:
    found: bytes = place.read()["Body"].read()
    return found


def _conjur(found: Ground) -> Case:
    found.server.load_policy(SERVICE)
    variable = "conjur/authn-jwt/shop/public-keys"
    store = found.store()

    def made(key_set: str) -> AuthenticatorPublication:
        return AuthenticatorPublication(
            lambda: store, "c", key_set, "conjur-jwt:c/shop", "shop", independent=True
        )

    def read() -> bytes:
        conjur = found.client()
        value = json.loads(conjur.value(variable) or b"")
        assert value["type"] == "jwks"
        return json.dumps(value["value"], separators=(",", ":")).encode()

    return Case(made("web"), made, read, lambda body: found.server.set(variable, body))


@pytest.fixture(params=["s3", "conjur-jwt"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """One of the kinds."""
    if request.param == "s3":
        yield _s3(request.getfixturevalue("place"))
        return
    with ground(tmp_path) as found:
        yield _conjur(found)


def written(case: Case, document: Document) -> Document:
    """Write a document over whatever is there, and return it as it is read back."""
    there = case.target.look().document
    case.target.write(document, replacing=there.token if there else None)
    found = case.target.look().document
    assert found is not None
    return found


def test_nothing_is_nothing(case: Case) -> None:
    """An empty place of an identity that may read it is an answer."""
    assert case.target.look().document is None


def test_read_back(case: Case) -> None:
    """Bytes, key set, revision and lifetimes; verifiers read the same keys."""
    document = jwks(7, 0, 1)
    found = written(case, document)
    assert found.body == document.body
    assert (found.key_set, found.revision) == ("web", 7)
    assert (found.max_age, found.stale) == (300, 21600)
    assert case.read() == document.body
    assert case.target.look().note == ""


def test_revision_fence(case: Case) -> None:
    """None replaces a higher one, whatever token it names; a lower one is replaced."""
    high = written(case, jwks(9, 0, 1))
    with pytest.raises(Conflict, match="9"):
        case.target.write(jwks(8), replacing=high.token)
    assert case.read() == high.body
    assert written(case, jwks(10)).revision == 10


def test_changed_in_between(case: Case) -> None:
    """A stalled writer replaces nothing, were it with the same keys and other lifetimes."""
    first = written(case, jwks(5))
    second = written(case, jwks(6, jwks_max_age=timedelta(minutes=1)))
    assert second.body == first.body
    for stalled in (jwks(6, 0, 1), jwks(7)):
        with pytest.raises(Conflict):
            case.target.write(stalled, replacing=first.token)
        with pytest.raises(Conflict):
            case.target.write(stalled, replacing=None)
    found = case.target.look().document
    assert found == second


@pytest.mark.parametrize(
    "document",
    [
        jwks(3, key_set="other"),
        replace(jwks(3), revision=None),
        replace(jwks(3), body=b'{"keys":[]}'),
        replace(jwks(3), body=jwks(3).body.replace(b'"kty"', b'"d":"c2VjcmV0","kty"')),
    ],
    ids=["another key set's", "without revision", "empty", "private"],
)
def test_only_this_key_sets_public_jwks(case: Case, document: Document) -> None:
    """The second lock on the door: nothing else is ever written."""
    with pytest.raises(StoreCorrupt, match="nothing was written"):
        case.target.write(document, replacing=None)
    assert case.target.look().document is None


def test_foreign(case: Case) -> None:
    """What somebody else wrote has no key set and no revision, and is there for a take-over with its token."""
    case.put(b"<html>hello</html>")
    found = case.target.look().document
    assert found is not None
    assert (found.key_set, found.revision, found.body) == (None, None, b"<html>hello</html>")
    with pytest.raises(Conflict):
        case.target.write(jwks(3), replacing=None)
    assert written(case, jwks(3)).revision == 3


def test_another_key_set(case: Case) -> None:
    """One address belongs to one key set: the other sees whose it is."""
    written(case, jwks(3))
    found = case.another("other").look().document
    assert found is not None
    assert found.key_set == "web"


def test_emptied(place: Place) -> None:
    """Whoever deletes it has it written again. A variable of Conjur cannot be emptied."""
    case = _s3(place)
    first = written(case, jwks(3))
    place.sdk.delete_object(Bucket=place.bucket, Key=KEY)
    assert case.target.look().document is None
    with pytest.raises(Conflict):
        case.target.write(jwks(4), replacing=first.token)
    assert written(case, jwks(4)).revision == 4


def edited(place: Place, **changes: Any) -> None:
    """Change an object as an operator does who keeps its metadata."""
    there = place.read()
    kept = {
        "Body": there["Body"].read(),
        **{name: there[name] for name in ("ContentType", "CacheControl", "Metadata")},
    }
    place.sdk.put_object(Bucket=place.bucket, Key=KEY, **{**kept, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Body": jwks(7, 0, 1).body}, "not what its metadata name"),
        ({"CacheControl": "max-age=86400"}, "Cache-Control"),
        ({"ContentType": "binary/octet-stream"}, "Content-Type"),
    ],
    ids=["body", "cache-control", "content-type"],
)
def test_drift_of_an_object(place: Place, changes: dict[str, Any], said: str) -> None:
    """A change that leaves the metadata is drift, also where only the headers are others."""
    case = _s3(place)
    before = written(case, jwks(7))
    edited(place, **changes)
    sight = case.target.look()
    assert sight.document is not None
    assert sight.document.token != before.token
    assert (sight.document.key_set, sight.document.revision) == ("web", 7)
    assert sight.note.startswith("drift: ")
    assert said in sight.note
    assert written(case, jwks(7)).body == before.body
    assert case.target.look().note == ""


@pytest.mark.parametrize("value", ["-1", "٣", "9" * 5000, "", "1.5"])
def test_metadata_of_nonsense(value: str) -> None:
    """Numbers that are none make an object foreign, and nothing worse."""
    from rotator.publication.objects import _marks_of

    good = {"rotator-key-set": "web", "rotator-sha256": "x", "rotator-max-age": "1"}
    assert _marks_of({**good, "rotator-stale": "0", "rotator-revision": value}) is None
    assert _marks_of({**good, "rotator-stale": value, "rotator-revision": "1"}) is None


def test_drift_of_public_keys(tmp_path: Path) -> None:
    """What is changed by hand in Conjur's shape is read as keys; what is none, as it stands."""
    with ground(tmp_path) as found:
        case = _conjur(found)
        body = jwks(3, 0, 1).body
        variable = "conjur/authn-jwt/shop/public-keys"
        case.put(b'{ "type": "jwks", "value": ' + body + b" }")
        seen = case.target.look().document
        assert seen is not None
        assert (seen.body, seen.key_set) == (body, None)
        written(case, jwks(4))
        value = json.loads(found.client().value(variable) or b"")
        assert set(value) == {"type", "value", "rotator"}
        value["value"]["keys"].append({"kty": "EC"})
        member = value.pop("rotator")
        case.put(json.dumps({**value, "rotator": member}, separators=(",", ":")).encode())
        sight = case.target.look()
        assert sight.document is not None
        assert sight.document.key_set == "web"
        assert sight.note.startswith("drift: ")
        assert written(case, jwks(4)).body == jwks(4).body
