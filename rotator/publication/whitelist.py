"""What a JWKS may contain, checked on bytes just before they become public (DESIGN §3, rule 8).

The renderer writes nothing else. This is the second lock on the same door: it stands where a file is
written for everyone to read, and where a file is served. Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

from rotator.algorithms import ALGORITHMS, PRIVATE_MEMBERS, PUBLIC_MEMBERS
from rotator.atomic import LIMIT
from rotator.errors import StoreCorrupt
from rotator.stores import Document

_COMMON: Final = frozenset({"kty", "kid", "use", "alg"})


class Refused(ValueError):
    """A body that must not be published; the text says why, and never quotes a value."""


def checked_jwks(body: bytes) -> list[dict[str, str]]:
    """Return the keys of a JWKS that holds public members only.

    Sources: RFC 7517 §4 and §5 (the shape), RFC 7518 §6 and RFC 8037 §2 (the public parameters).

    Raises:
        Refused: not a JWKS, empty, a kid twice or missing, or any member that is not on the whitelist.
    """
    try:
        document = json.loads(body, object_pairs_hook=_without_doubles)
    except Refused:
        raise
    except (ValueError, RecursionError) as error:
        raise Refused("it is not JSON") from error
    if not isinstance(document, dict) or set(document) != {"keys"}:
        raise Refused("it is not an object whose only member is 'keys'")
    keys = document["keys"]
    if not isinstance(keys, list) or not keys:
        raise Refused("'keys' is not a list of at least one key")
    for key in keys:
        _check_key(key)
    kids = [key["kid"] for key in keys]
    if len(set(kids)) != len(kids):
        raise Refused("a kid is there twice")
    return keys


def revision_to_publish(document: Document, key_set: str, target: str) -> int:
    """Return the revision of a document that may be published at a target of a key set.

    Raises:
        StoreCorrupt: it is no public JWKS, of another key set, without a revision, or too long.
    """
    try:
        return _fit(document, key_set)
    except Refused as refused:
        raise StoreCorrupt(
            f"a document for {target} is not what key set {key_set} may publish: {refused}",
            hint="nothing was written; please report this, with the log and without any key",
        ) from refused


def _fit(document: Document, key_set: str) -> int:
    if document.key_set != key_set or document.revision is None:
        raise Refused("it is of another key set, or without a revision")
    if len(document.body) > LIMIT:
        raise Refused(f"it is longer than {LIMIT} bytes")
    checked_jwks(document.body)
    return document.revision


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers disagree on which of two equal names wins, so that one of them could hide something.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refused("a member name is there twice in one object")
    return members


def _check_key(key: object) -> None:
    if not isinstance(key, dict):
        raise Refused("a key is not an object")
    if private := PRIVATE_MEMBERS & set(key):
        raise Refused(f"a key carries the private member {min(private)!r}")
    kty = key.get("kty")
    public = PUBLIC_MEMBERS.get(kty) if isinstance(kty, str) else None
    if public is None:
        raise Refused("a key is of a type that does not belong in a JWKS")
    if unknown := set(key) - _COMMON - set(public):
        raise Refused(
            f"a key carries {len(unknown)} member(s) beyond kty, kid, use, alg and {public}"
        )
    if missing := {"kid", *public} - set(key):
        raise Refused(f"a key lacks the member {min(missing)!r}")
    if not all(isinstance(value, str) and value for value in key.values()):
        raise Refused("a member of a key is not a text")
    if key.get("alg") not in {None, *ALGORITHMS} or key.get("use") not in {None, "sig"}:
        raise Refused("a key is for something else than signatures")
