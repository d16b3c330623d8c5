"""The JWKS of a key ring, as bytes (RFC 7517). Pure.

A whitelist serialiser: what is not named here is not published. Never an `oct` key, never a private
member, never empty, never a kid twice (rule 8).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rotator.algorithms import PUBLIC_MEMBERS, Kind
from rotator.errors import StoreCorrupt
from rotator.ring import Key, KeyRing

MAX_JWKS_BYTES: Final = 48_000
"""No JWKS grows beyond this (Nimbus, and so Spring Security, reads 50 KB at most)."""

_SIZES: Final = {"EC": 300, "OKP": 170, "oct": 0}


def estimated_size(kind: Kind) -> int:
    """Return how many bytes a key of a kind takes in a JWKS, rounded up (kid, use and alg included)."""
    return _SIZES.get(kind.kty, kind.size // 6 + 130)


def public_jwk(key: Key) -> dict[str, str]:
    """Return one key as it is published: `kty, kid, use, alg` and the public parameters, nothing else.

    Raises:
        StoreCorrupt: the ring has no public half for it, or it is an HMAC key.
    """
    kty = key.kind.kty
    if key.public is None or kty == "oct":
        raise StoreCorrupt(f"key {key.kid} has no public half to publish")
    members = {name: key.public[name] for name in PUBLIC_MEMBERS[kty]}
    return {"kty": kty, "kid": key.kid, "use": "sig", "alg": key.algorithm, **members}


def render_jwks(ring: KeyRing, also: Iterable[Key] = ()) -> bytes:
    """Return the JWKS of a ring: current, next, previous, in that order.

    Args:
        also: keys on their way out that stay until signers hold their successor.

    Raises:
        StoreCorrupt: it would be empty, or is larger than any verifier takes.
    """
    keys = [public_jwk(key) for key in (*ring.published, *also)]
    if not keys:
        raise StoreCorrupt(
            f"the JWKS of key set {ring.key_set} would be empty; it is left as it is"
        )
    # Size is checked before a key is created or pinned; a removal is never blocked by it.
    return json.dumps({"keys": keys}, separators=(",", ":")).encode()


def read_jwks(body: bytes) -> dict[str, Mapping[str, Any]] | None:
    """Return the keys of a JWKS by kid, None when the bytes are no JWKS.

    A member that is no object, or has no kid of its own, is passed over (RFC 7517 §5).
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        return None
    found: dict[str, Mapping[str, Any]] = {}
    for jwk in document["keys"]:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str):
            found.setdefault(jwk["kid"], jwk)
    return found


def same_public_half(key: Key, jwk: Mapping[str, Any]) -> bool:
    """True when a published JWK is exactly what this key is published as, where verifiers look."""
    if key.public is None or key.kind.kty == "oct":
        return False
    wanted = public_jwk(key)
    return all(jwk.get(name) == value for name, value in wanted.items())
