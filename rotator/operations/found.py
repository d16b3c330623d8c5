"""Keys found where verifiers read: what of them can be carried on with nothing but their public half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rotator.algorithms import ALGORITHMS, PUBLIC_MEMBERS
from rotator.documents import read_json
from rotator.operations.live_key import CURVES
from rotator.reconcile.look import Seen, jwks_in
from rotator.ring import Key, KeyRing, Phase

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # a date that is not looked at


def keys_at(item: Seen, ring: KeyRing, at: datetime, rsa: str | None = None) -> dict[str, Key]:
    """Return the asymmetric keys found at a target, public half only, under their own kids.

    Args:
        rsa: the algorithm of an RSA key that names none; None leaves such a key out.
    """
    if item.document is None:
        return {}
    found = {}
    for kid, jwk in jwks_in(item.target.kind, item.document.body).items():
        known = ring.find(kid)
        key = known if known is not None else public_half(kid, jwk, at, rsa)
        if key is not None:
            found[kid] = key
    return found


def public_half(
    kid: str, jwk: Mapping[str, Any], at: datetime, rsa: str | None = None
) -> Key | None:
    """Return a key of which nothing but a published JWK is known; None when it is none of ours to carry."""
    if jwk.get("use", "sig") != "sig":
        return None
    name = jwk.get("alg", CURVES.get(str(jwk.get("crv"))) or rsa)
    algorithm = ALGORITHMS.get(str(name))
    if algorithm is None or algorithm.kty == "oct" or jwk.get("kty") != algorithm.kty:
        return None
    members = {name: jwk.get(name) for name in PUBLIC_MEMBERS[algorithm.kty]}
    if not all(isinstance(value, str) and value for value in members.values()):
        return None
    if algorithm.curve != jwk.get("crv"):
        return None
    public = {"kty": algorithm.kty, **{name: str(value) for name, value in members.items()}}
    size = len(public["n"]) * 6 // 8 * 8 if algorithm.kty == "RSA" else algorithm.sizes[0]
    return Key(kid, str(name), size, Phase.RETIRING, None, at, public=public, retiring_at=at)


def not_carried(item: Seen, rsa: str | None) -> tuple[str, ...]:
    """Return which keys of a JWKS would be lost if it was taken over, each with the reason."""
    return tuple(_lost(item, rsa))


def _lost(item: Seen, rsa: str | None) -> Iterator[str]:
    document = read_json(item.document.body) if item.document is not None else {}
    keys = document.get("keys") if document is not None else None
    if not isinstance(keys, list):
        yield "it is no JWKS"
        return
    kids = Counter(str(jwk["kid"]) for jwk in keys if isinstance(jwk, dict) and "kid" in jwk)
    for jwk in keys:
        if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
            yield "a key without a kid"
        elif kids[jwk["kid"]] > 1:
            yield f"{jwk['kid']} is there more than once"
        elif jwk.get("use", "sig") != "sig":
            yield f"{jwk['kid']} is not for signatures"
        elif public_half(jwk["kid"], jwk, _NEVER, rsa) is None:
            yield f"{jwk['kid']} is of a kind that rotator does not publish"
