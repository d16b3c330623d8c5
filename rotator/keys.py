"""Making, testing and writing out key material: the only module with randomness.

Keys by `cryptography`, JOSE by `joserfc`, both imported only when a key is handled: a tick with
nothing to do reads public halves from the ring and needs neither.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from rotator.algorithms import ALGORITHMS, PUBLIC_MEMBERS, Kind
from rotator.ring import Key
from rotator.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from joserfc.jwk import ECKey, OKPKey, RSAKey

_CHECK_PREFIX: Final = b"rotator.check/1:"
_FULLY_SPECIFIED: Final = {"EdDSA": "Ed25519"}
"""What joserfc calls it without a warning (RFC 9864); the signature is the same, verifiers know `EdDSA`."""
_RSA_EXPONENT: Final = 65537  # Envoy takes no other than 3 and 65537


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: what goes into the ring, and the material that goes into the store."""

    kid: str
    kind: Kind
    public: dict[str, str] | None
    check: str | None
    material: Secret


class KeyMaker(Protocol):
    """What handles material: the real one below, and the simulated world's."""

    def make(self, kind: Kind) -> NewKey:
        """Generate a key. RSA-4096 takes seconds; the GIL is released meanwhile."""
        ...

    def proves(self, key: Key, material: Secret) -> bool:
        """True when what is signed with this material verifies with the ring's half of the key (rule 3)."""
        ...

    def private_jwk(self, key: Key, material: Secret) -> dict[str, Any]:
        """Return the private (or symmetric) JWK, with kid, use and alg."""
        ...

    def pem(self, key: Key, material: Secret) -> str | None:
        """Return the private key as PKCS #8 PEM, None for HMAC."""
        ...

    def matches(self, key: Key, jwk: dict[str, Any]) -> bool:
        """True when an HMAC JWK found in a verification document is this key (against its `check`)."""
        ...

    def verifies(self, key: Key, token: Secret) -> bool:
        """True when the signature of a compact JWS verifies with the public half of a key pair."""
        ...

    def check(self, kid: str, material: Secret) -> str | None:
        """Return what the ring keeps of an HMAC key's material under a kid, None for a key pair."""
        ...


class Keys:
    """The real thing."""

    def make(self, kind: Kind) -> NewKey:
        """Generate a key of a kind; see `KeyMaker`."""
        if kind.symmetric:
            return _make_symmetric(kind)
        private = _imported(_pkcs8(_generate(kind)), kind.kty)
        jwk = private.as_dict(private=True)
        public = {"kty": kind.kty} | {name: str(jwk[name]) for name in PUBLIC_MEMBERS[kind.kty]}
        kid = thumbprint(public)
        return NewKey(kid, kind, public, None, Secret(json.dumps(jwk, sort_keys=True).encode()))

    def proves(self, key: Key, material: Secret) -> bool:
        """Sign with the material, verify with the ring's half; False on any mismatch or garbage."""
        from joserfc import jws
        from joserfc.errors import JoseError

        try:
            jwk = self.private_jwk(key, material)
            if key.kind.symmetric:
                return self.matches(key, jwk) and len(_decode(jwk["k"])) * 8 >= key.size
            probe = secrets.token_bytes(32)
            signing = _imported({n: v for n, v in jwk.items() if n != "alg"}, key.kind.kty)
            verifying = _imported(dict(key.public or {}), key.kind.kty)
            name = _FULLY_SPECIFIED.get(key.algorithm, key.algorithm)
            only = [name]
            token = jws.serialize_compact({"alg": name}, probe, signing, algorithms=only)
            verified = jws.deserialize_compact(token, verifying, algorithms=only)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return verified.payload == probe

    def private_jwk(self, key: Key, material: Secret) -> dict[str, Any]:
        """Return the private JWK; see `KeyMaker`. Raises ValueError for material that is no JWK."""
        jwk = json.loads(material.reveal())
        if not isinstance(jwk, dict):
            raise ValueError("the material is not a JWK")  # noqa: TRY004 - one error for bad material
        return {**jwk, "kid": key.kid, "use": "sig", "alg": key.algorithm}

    def pem(self, key: Key, material: Secret) -> str | None:
        """Return PKCS #8 PEM, None for HMAC; see `KeyMaker`."""
        if key.kind.symmetric:
            return None
        private = _imported(self.private_jwk(key, material), key.kind.kty)
        return private.as_pem(private=True).decode()

    def matches(self, key: Key, jwk: dict[str, Any]) -> bool:
        """Compare with the ring's `check`, in constant time."""
        if key.check is None or jwk.get("kty") != "oct" or not isinstance(jwk.get("k"), str):
            return False
        try:
            secret = _decode(jwk["k"])
        except ValueError:
            return False
        return hmac.compare_digest(_check(secret, key.kid), key.check)

    def verifies(self, key: Key, token: Secret) -> bool:
        """Verify with the algorithm of the key, whatever the header says; False for garbage."""
        from joserfc.errors import JoseError
        from joserfc.jws import JWSRegistry

        signed, _, signature = token.reveal().rpartition(b".")
        name = _FULLY_SPECIFIED.get(key.algorithm, key.algorithm)
        try:
            public = _imported(dict(key.public or {}), key.kind.kty)
            sent = _decode(signature.decode("ascii"))
            return JWSRegistry.algorithms[name].verify(signed, sent, public)
        except (JoseError, ValueError, KeyError, TypeError):
            return False

    def check(self, kid: str, material: Secret) -> str | None:
        """Return a key's `check`, None for a key pair; see `KeyMaker`. Raises ValueError for no JWK."""
        jwk = json.loads(material.reveal())
        return _check(_decode(jwk["k"]), kid) if jwk.get("kty") == "oct" else None


def private_members(private: PrivateKeyTypes, kty: str) -> dict[str, str] | None:
    """Return the members of the private JWK of a key pair, None when no algorithm is for its curve."""
    from joserfc.errors import JoseError

    try:
        jwk = _imported(_pkcs8(private), kty).as_dict(private=True)
    except (JoseError, ValueError, KeyError):
        return None
    known = {item.curve for item in ALGORITHMS.values()}
    return {n: str(value) for n, value in jwk.items()} if jwk.get("crv") in known else None


def private_from_jwk(members: dict[str, Any], kty: str) -> PrivateKeyTypes | None:
    """Return the private key in a JWK, None when its members are none, or not of one key pair."""
    import warnings

    from joserfc.errors import JoseError, SecurityWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SecurityWarning
            )  # whoever takes the key judges its size
            private: PrivateKeyTypes | None = _imported(members, kty).private_key
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return private


def thumbprint(public: Mapping[str, str]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint of a public JWK, base64url without padding."""
    names = sorted({"kty", *PUBLIC_MEMBERS[public["kty"]]})
    canonical = json.dumps({name: public[name] for name in names}, separators=(",", ":"))
    return _encode(hashlib.sha256(canonical.encode()).digest())


def _make_symmetric(kind: Kind) -> NewKey:
    # A thumbprint of a secret would be a leak: the kid of an HMAC key is 128 random bits.
    kid = _encode(secrets.token_bytes(16))
    secret = secrets.token_bytes(kind.size // 8)
    jwk = {"kty": "oct", "k": _encode(secret)}
    return NewKey(kid, kind, None, _check(secret, kid), Secret(json.dumps(jwk).encode()))


def _check(secret: bytes, kid: str) -> str:
    """Return what tells this secret from another: a MAC of a text that is no JWT's signing input."""
    return _encode(hmac.digest(secret, _CHECK_PREFIX + kid.encode(), "sha256"))


def _generate(kind: Kind) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind.kty == "RSA":
        return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=kind.size)
    if kind.kty == "EC":
        curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
        return ec.generate_private_key(curves[str(ALGORITHMS[kind.algorithm].curve)])
    return ed25519.Ed25519PrivateKey.generate()


def _imported(source: bytes | dict[str, Any], kty: str) -> RSAKey | ECKey | OKPKey:
    """Import a PEM or JWK as the type that it must be; raises ValueError or a JoseError otherwise."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if kty == "RSA":
        return RSAKey.import_key(source)
    return ECKey.import_key(source) if kty == "EC" else OKPKey.import_key(source)


def _pkcs8(private: PrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
