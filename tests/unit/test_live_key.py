"""Reading live keys: every format that people have, every kind of damage, and no word of what is in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from rotator.errors import UsageError
from rotator.keys import Keys
from rotator.operations.live_formats import pick_field, read_live_key
from rotator.operations.live_key import LiveKey, kind_of_live
from rotator.ring import Key, Phase
from rotator.secret import Secret

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
PASSPHRASE = b"correct horse"
TELLTALE = "VERY-SECRET-MATERIAL"


def pem(
    key: Any,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    """Return a private key as PEM."""
    data: bytes = key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())
    return data


def read(content: bytes | dict[str, Any], **more: Any) -> LiveKey:
    """Read a key as one of an asymmetric key set, unless told otherwise."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_live_key(Secret(data), **{"symmetric": False, **more})


def proves(live: LiveKey, algorithm: str, kid: str = "live") -> bool:
    """Whether the key signs, and verifies with its own public half, as the program's own keys do."""
    kind, keys = kind_of_live(live, algorithm), Keys()
    check = keys.check(kid, live.material)
    key = Key(kid, kind.algorithm, kind.size, Phase.ACTIVE, "x", NOW, live.public, check)
    return keys.proves(key, live.material)


READABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "rsa-pkcs8": (lambda: pem(RSA), "RS256"),
    "rsa-pkcs1": (lambda: pem(RSA, PrivateFormat.TraditionalOpenSSL), "PS384"),
    "ec-pkcs8": (lambda: pem(P256), "ES256"),
    "ec-sec1": (lambda: pem(P256, PrivateFormat.TraditionalOpenSSL), "ES256"),
    "ec-384": (lambda: pem(ec.generate_private_key(ec.SECP384R1())), "ES384"),
    "ec-521": (lambda: pem(ec.generate_private_key(ec.SECP521R1())), "ES512"),
    "ed25519": (lambda: pem(ed25519.Ed25519PrivateKey.generate()), "EdDSA"),
    "behind-a-certificate": (
        lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + pem(P256),
        "ES256",
    ),
    "windows-line-ends": (lambda: pem(P256).replace(b"\n", b"\r\n"), "ES256"),
    "rsa-jwk": (
        lambda: json.dumps(RSAKey.generate_key(2048).as_dict(private=True)).encode(),
        "RS512",
    ),
    "ec-jwk": (
        lambda: json.dumps(ECKey.generate_key("P-256").as_dict(private=True)).encode(),
        "ES256",
    ),
    "okp-jwk": (
        lambda: json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=True)).encode(),
        "EdDSA",
    ),
    "oct-jwk": (
        lambda: json.dumps(OctKey.generate_key(256).as_dict(private=True)).encode(),
        "HS256",
    ),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_people_have_can_be_read(name: str) -> None:
    """What comes out signs as the program's own keys do."""
    make, algorithm = READABLE[name]
    assert proves(read(make(), symmetric=algorithm.startswith("HS")), algorithm)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_pem(form: PrivateFormat) -> None:
    """With its passphrase only; neither that nor a piece of the key is in a refusal."""
    data = pem(P256, form, BestAvailableEncryption(PASSPHRASE))
    assert proves(read(data, passphrase=Secret(PASSPHRASE)), "ES256")
    with pytest.raises(UsageError, match="encrypted"):
        read(data)
    with pytest.raises(UsageError, match="does not fit") as refused:
        read(data, passphrase=Secret(TELLTALE.encode()))
    assert TELLTALE not in f"{refused.value!r} {refused.value} {refused.value.__context__!r}"
    with pytest.raises(UsageError, match="not encrypted"):
        read(pem(P256), passphrase=Secret(PASSPHRASE))
    with pytest.raises(UsageError, match="no PEM"):
        read(ECKey.generate_key("P-256").as_dict(private=True), passphrase=Secret(PASSPHRASE))


def test_a_jwk_says_what_it_is() -> None:
    """Its kid and algorithm; a JWKS gives its one private key, or the one that is named."""
    one = ECKey.generate_key("P-256").as_dict(private=True) | {"kid": "2024", "alg": "ES256"}
    two = ECKey.generate_key("P-256").as_dict(private=True) | {"kid": "2025"}
    public = {name: value for name, value in two.items() if name != "d"}
    live = read(one)
    assert (live.kid, live.algorithm) == ("2024", "ES256")
    assert read({"keys": [public, one]}).kid == "2024"
    assert read({"keys": [one, two]}, name="2025").kid == "2025"
    for keys in ([one, two], [public], []):
        with pytest.raises(UsageError, match="private keys"):
            read({"keys": keys})


def test_a_plain_hmac_secret() -> None:
    """Byte for byte, but for the line end of a text file."""
    text = b"a secret of more than thirty-two bytes"
    for content, secret in (
        (text, text),
        (text + b"\n", text),
        (text + b"\r\n", text),
        (bytes(range(32)) + b"\n", bytes(range(32)) + b"\n"),
    ):
        live = read(content, symmetric=True)
        assert json.loads(live.material.reveal())["k"] == _encode(secret)
        assert str(len(secret)) in live.note
        assert proves(live, "HS256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


PUBLIC_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
GOOD_JWK = ECKey.generate_key("P-256").as_dict(private=True)
UNREADABLE: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "nothing": (b"", "no private key"),
    "words": (TELLTALE.encode(), "no private key"),
    "public-pem": (PUBLIC_PEM, "no private key"),
    "two-keys": (pem(P256) + pem(RSA), "2 private keys"),
    "torn-pem": (pem(P256).replace(b"MI", b"!!"), "damaged"),
    "openssh": (
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        ),
        "OpenSSH",
    ),
    "dsa": (pem(dsa.generate_private_key(2048)), "neither RSA"),
    "ed448": (pem(ed448.Ed448PrivateKey.generate()), "neither RSA"),
    "secp256k1": (pem(ec.generate_private_key(ec.SECP256K1())), "curve"),
    "public-jwk": ({k: v for k, v in GOOD_JWK.items() if k != "d"}, "no private part"),
    "jwk-of-no-pair": (
        GOOD_JWK | {"x": ECKey.generate_key("P-256").as_dict()["x"]},
        "damaged",
    ),
    "encryption-jwk": (GOOD_JWK | {"use": "enc"}, "not for signing"),
    "verify-only-jwk": (GOOD_JWK | {"key_ops": ["verify"]}, "not for signing"),
    "unknown-kty": ({"kty": "AKP", "priv": TELLTALE}, "not known"),
    "fields": ({"private": "x", TELLTALE + " " * 40: 1}, "name the field.*private"),
    "a-list": (b"[1, 2]", "no private key"),
    "deep": (b"[" * 100_000, "no private key"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_adopted(name: str) -> None:
    """A refusal that says what it is, and never what is in it."""
    content, said = UNREADABLE[name]
    with pytest.raises(UsageError, match=f"(?s){said}") as refused:
        read(content)
    shown = f"{refused.value!r} {refused.value} {refused.value.__context__!r}"
    assert TELLTALE not in shown
    assert refused.value.hint


def test_no_key_pair_becomes_an_hmac_secret() -> None:
    """Nor a public key: whoever knows it would sign (RFC 8725 §2.1)."""
    with pytest.raises(UsageError, match="no private key"):
        read(PUBLIC_PEM, symmetric=True)
    with pytest.raises(UsageError, match="cannot sign by HS256"):
        kind_of_live(read(pem(RSA), symmetric=True), "HS256")
    with pytest.raises(UsageError, match="no private key"):
        read(b"a secret of more than thirty-two bytes")


@pytest.mark.parametrize(
    ("content", "algorithm", "said"),
    [
        (pem(rsa.generate_private_key(65537, 1024)), "RS256", "1024 bits is too weak"),
        (b"short", "HS256", "40 bits is too weak"),
        (b"x" * 32, "HS512", "256 bits is too weak"),
        (pem(P256), "ES384", "P-256 cannot sign by ES384"),
        (pem(P256), "RS256", "cannot sign by RS256"),
        (pem(RSA), "EdDSA", "cannot sign by EdDSA"),
        (pem(RSA), "RS1024", "unknown algorithm"),
        (pem(RSA), "none", "unknown algorithm"),
    ],
)
def test_weak_and_unfit(content: bytes, algorithm: str, said: str) -> None:
    """The number is named, and the algorithm."""
    with pytest.raises(UsageError, match=said) as refused:
        kind_of_live(read(content, symmetric=algorithm.startswith("HS")), algorithm)
    assert refused.value.hint


def test_sizes_of_rsa_are_kept() -> None:
    """A live key has the size that it has, offered or not."""
    assert kind_of_live(read(pem(rsa.generate_private_key(65537, 2304))), "RS256").size == 2304


def test_a_public_half_is_known_however_it_is_written() -> None:
    """Some JWKS have leading zeros or padding."""
    live = read(pem(RSA))
    public = dict(live.public or {})
    number = base64.urlsafe_b64decode(public["n"] + "==")
    assert live.same_public_half(public)
    assert live.same_public_half(public | {"n": _encode(b"\0" + number)})
    assert live.same_public_half(public | {"n": public["n"] + "=="})
    assert not live.same_public_half(public | {"e": "Aw"})
    assert not live.same_public_half({"kty": "RSA"})
    assert not live.same_public_half({})


def test_a_field_of_a_secret() -> None:
    """Text or JSON; names are listed only if they look like names."""
    secret = Secret(json.dumps({"pem": "text", "jwk": GOOD_JWK, "n": 1, TELLTALE * 3: 2}).encode())
    assert pick_field(secret, "pem").reveal() == b"text"
    assert json.loads(pick_field(secret, "jwk").reveal()) == GOOD_JWK
    for name in ("n", "key"):
        with pytest.raises(UsageError, match="it has jwk, n, pem") as refused:
            pick_field(secret, name)
        assert TELLTALE not in str(refused.value)
    with pytest.raises(UsageError, match="no JSON object"):
        pick_field(Secret(b"text"), "pem")


def test_nothing_shows_a_live_key() -> None:
    """Its repr neither."""
    live = read(TELLTALE.encode() * 3, symmetric=True)
    assert TELLTALE not in repr(live)
    assert _encode(TELLTALE.encode() * 3) not in repr(live)
