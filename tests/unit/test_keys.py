"""Every algorithm: what we make, other libraries can use, and a self-test tells a wrong key from a right one."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwcrypto.jwk import JWK

from rotator.algorithms import ALGORITHMS, Kind, kind_of
from rotator.jwks import public_jwk
from rotator.keys import Keys, NewKey
from rotator.ring import Key, Phase
from rotator.secret import Secret

KEYS = Keys()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def small(algorithm: str) -> Kind:
    """Return the quickest kind of an algorithm."""
    return kind_of(algorithm, 2048 if ALGORITHMS[algorithm].kty == "RSA" else None)


def entered(new: NewKey) -> Key:
    """Return a new key as a ring has it."""
    return Key(
        new.kid, new.kind.algorithm, new.kind.size, Phase.PENDING, "x", NOW, new.public, new.check
    )


@pytest.fixture(scope="module", params=sorted(ALGORITHMS))
def made(request: pytest.FixtureRequest) -> NewKey:
    """One key of each algorithm."""
    return KEYS.make(small(request.param))


def test_a_new_key_proves_itself(made: NewKey) -> None:
    """Material read back signs what the ring's half verifies."""
    assert KEYS.proves(entered(made), made.material)


def test_another_key_of_the_same_kind_does_not(made: NewKey) -> None:
    """The self-test refuses material of another key."""
    other = KEYS.make(made.kind)
    assert not KEYS.proves(entered(made), other.material)


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"kty":"RSA"}', b'{"kty":"oct","k":"!"}'])
def test_garbage_proves_nothing(made: NewKey, garbage: bytes) -> None:
    """Torn or foreign bytes fail the self-test; they do not crash it."""
    assert not KEYS.proves(entered(made), Secret(garbage))


def test_pyjwt_signs_with_our_jwk_and_verifies_with_our_jwks(made: NewKey) -> None:
    """An ordinary JWT library uses both halves as they are published."""
    key = entered(made)
    private = KEYS.private_jwk(key, made.material)
    token = jwt.encode(
        {"sub": "x"}, jwt.PyJWK(private).key, algorithm=key.algorithm, headers={"kid": key.kid}
    )
    verifying: Any = private if key.kind.symmetric else public_jwk(key)
    claims = jwt.decode(token, jwt.PyJWK(verifying).key, algorithms=[key.algorithm])
    assert claims == {"sub": "x"}


def test_jwcrypto_agrees_on_the_thumbprint(made: NewKey) -> None:
    """The kid is the RFC 7638 thumbprint; an HMAC kid tells nothing of its secret."""
    private = JWK(**json.loads(made.material.reveal()))
    if made.kind.symmetric:
        assert made.kid != private.thumbprint()
        assert len(base64.urlsafe_b64decode(made.kid + "==")) == 16
    else:
        assert made.kid == private.thumbprint()
        assert JWK(**public_jwk(entered(made))).thumbprint() == made.kid


def test_the_pem_is_the_same_key(made: NewKey) -> None:
    """The PEM that a signer is given is PKCS #8 of the same key; HMAC has none."""
    pem = KEYS.pem(entered(made), made.material)
    if made.kind.symmetric:
        assert pem is None
        return
    assert pem is not None
    assert load_pem_private_key(pem.encode(), password=None) is not None
    assert JWK.from_pem(pem.encode()).thumbprint() == made.kid


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_an_hmac_secret_is_as_long_as_its_hash(algorithm: str, size: int) -> None:
    """RFC 7518 §3.2; a shorter secret fails the self-test although its check fits."""
    new = KEYS.make(kind_of(algorithm))
    secret = json.loads(new.material.reveal())["k"]
    assert len(base64.urlsafe_b64decode(secret + "==")) == size
    longer = Key(new.kid, algorithm, 1024, Phase.PENDING, "x", NOW, None, new.check)
    assert not KEYS.proves(longer, new.material)


def test_rsa_sizes_and_exponent() -> None:
    """The size is the configured one, the exponent 65537 (Envoy takes no other but 3)."""
    new = KEYS.make(kind_of("RS256", 2048))
    assert new.public is not None
    assert new.public["e"] == "AQAB"
    assert len(base64.urlsafe_b64decode(new.public["n"] + "==")) == 256


@pytest.mark.parametrize(
    ("algorithm", "size", "says"),
    [
        ("RS257", None, "unknown algorithm"),
        ("RS256", 1024, "2048, 3072, 4096"),
        ("ES256", 384, "256"),
    ],
)
def test_an_impossible_kind_is_refused(algorithm: str, size: int | None, says: str) -> None:
    """The refusal names what there is."""
    with pytest.raises(ValueError, match=says):
        kind_of(algorithm, size)


def test_the_default_rsa_size() -> None:
    """3072 bits unless told otherwise."""
    assert kind_of("PS384").size == 3072


def test_a_secret_does_not_let_itself_out() -> None:
    """Not by repr, str, format, pickle, copy, nor a hash."""
    secret = Secret(b"hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{[secret]}"]
    assert not any("hunter2" in text for text in shown)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            leak(secret)
    assert secret == Secret(b"hunter2")
    assert secret != Secret(b"hunter3")
    assert secret != b"hunter2"
