"""Keys that cost nothing and behave like keys: what one signs, only its public half verifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from rotator.algorithms import ALGORITHMS, PUBLIC_MEMBERS, Kind
from rotator.keys import NewKey, thumbprint
from rotator.ring import Key
from rotator.secret import Secret

Print = tuple[str, str]
"""What a verifier goes by: a kid, and what it checks signatures with."""


class ToyKeys:
    """`rotator.keys.KeyMaker` of the simulated world: the same keys for the same seed.

    The private half is a hash of seed and number; the public half a hash of the private one.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.made = 0

    def make(self, kind: Kind) -> NewKey:
        """Make the next key of this seed."""
        self.made += 1
        private = _hash("private", str(self._seed), str(self.made), str(kind))
        if kind.symmetric:
            kid = _hash("kid", private)[:22]
            material = Secret(json.dumps({"kty": "oct", "k": private}).encode())
            return NewKey(kid, kind, None, _check(private, kid), material)
        public = _public(kind, private)
        material = Secret(json.dumps({**public, "d": private}).encode())
        return NewKey(thumbprint(public), kind, public, None, material)

    def proves(self, key: Key, material: Secret) -> bool:
        """True when the ring's half of the key belongs to this material."""
        jwk = _read(material)
        if key.kind.symmetric:
            return self.matches(key, jwk)
        return isinstance(jwk.get("d"), str) and _public(key.kind, jwk["d"]) == dict(
            key.public or {}
        )

    def private_jwk(self, key: Key, material: Secret) -> dict[str, Any]:
        """Return the private JWK. Raises ValueError for material that is none."""
        jwk = _read(material)
        if not jwk:
            raise ValueError("the material is not a JWK")
        return {**jwk, "kid": key.kid, "use": "sig", "alg": key.algorithm}

    def pem(self, key: Key, material: Secret) -> str | None:
        """Return something in the place of a PEM, None for HMAC."""
        return None if key.kind.symmetric else f"toy:{_read(material).get('d')}"

    def matches(self, key: Key, jwk: dict[str, Any]) -> bool:
        """Compare a symmetric JWK with the ring's `check`."""
        secret = jwk.get("k")
        return isinstance(secret, str) and _check(secret, key.kid) == key.check

    def sign(self, jwk: Mapping[str, Any]) -> Secret:
        """Return a token that a private JWK signs: the toy of a compact JWS."""
        header = json.dumps({"alg": jwk["alg"], "kid": jwk["kid"]}).encode()
        parts = (header, b"{}", str(jwk.get("d", "secret")).encode())
        return Secret(b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts))

    def verifies(self, key: Key, token: Secret) -> bool:
        """True when the private half in a toy token belongs to the public half of the key."""
        last = token.reveal().rpartition(b".")[2]
        private = base64.urlsafe_b64decode(last + b"=" * (-len(last) % 4)).decode()
        return key.public is not None and _public(key.kind, private) == dict(key.public)

    def check(self, kid: str, material: Secret) -> str | None:
        """Return the `check` of a symmetric key, None for a key pair."""
        secret = _read(material).get("k")
        return _check(secret, kid) if isinstance(secret, str) else None


def signs_as(jwk: Mapping[str, Any]) -> Print:
    """Return what verifies the tokens that a private JWK signs."""
    kid, kty = str(jwk["kid"]), str(jwk["kty"])
    if kty == "oct":
        return kid, str(jwk["k"])
    return kid, _hash("public", str(jwk["d"]))


def verifies_as(jwk: Mapping[str, Any]) -> Print:
    """Return what a published JWK verifies."""
    member = {"RSA": "n", "oct": "k"}.get(str(jwk["kty"]), "x")
    return str(jwk["kid"]), str(jwk[member])


def _public(kind: Kind, private: str) -> dict[str, str]:
    shape = {"e": "AQAB", "crv": ALGORITHMS[kind.algorithm].curve or "", "y": "toy"}
    half = _hash("public", private)
    members = {name: shape.get(name, half) for name in PUBLIC_MEMBERS[kind.kty]}
    return {"kty": kind.kty, **members}


def _read(material: Secret) -> dict[str, Any]:
    try:
        jwk = json.loads(material.reveal())
    except ValueError:
        return {}
    return jwk if isinstance(jwk, dict) else {}


def _check(secret: str, kid: str) -> str:
    return hmac.new(secret.encode(), kid.encode(), "sha256").hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()[:43]
