"""Reading a live key that somebody made elsewhere: PEM, JWK, JWKS, or a plain HMAC secret.

What comes out is a JWK like those of `rotator.keys`, so that nothing after this knows where a key came
from. No error quotes what it could not read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rotator.algorithms import ALGORITHMS, PRIVATE_MEMBERS, PUBLIC_MEMBERS
from rotator.errors import UsageError
from rotator.keys import private_from_jwk, private_members
from rotator.operations.live_key import CURVES, LiveKey, refuse_short_rsa
from rotator.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_OPENSSH: Final = b"OPENSSH PRIVATE KEY"
_MOST_NAMES: Final = 10


def read_live_key(
    content: Secret, *, symmetric: bool, name: str | None = None, passphrase: Secret | None = None
) -> LiveKey:
    """Read a live key.

    Args:
        content: a PEM (PKCS #8, PKCS #1, SEC 1; encrypted or not), a JWK, a JWKS with one private key, or,
            for a key set that signs with HMAC, the secret itself.
        symmetric: whether the key set signs with HMAC: only then is a secret read as such, for a public
            or private key must never become an HMAC secret (RFC 8725 §2.1).
        name: the kid to pick from a JWKS with several private keys.
        passphrase: of an encrypted PEM.

    Raises:
        UsageError: none of these, or encrypted without its passphrase; the message never has a piece of
            the content.
    """
    data = content.reveal()
    document = _json_object(data)
    if document is None and b"-----BEGIN " in data:
        return _from_pem(data, passphrase)
    if passphrase is not None:
        raise UsageError(
            "a passphrase was given, and the key is no PEM", hint="leave the passphrase out"
        )
    if document is not None and ("kty" in document or "keys" in document):
        return _from_jwk(_the_jwk(document, name))
    if symmetric and document is None and data:
        return _from_secret(data)
    raise _unreadable(document)


def pick_field(content: Secret, wanted: str) -> Secret:
    """Return one field of a secret that is a JSON object: its text, or the JSON in it.

    Raises:
        UsageError: no JSON object, or no such field; the message lists the names that it has.
    """
    document = _json_object(content.reveal())
    if document is None:
        raise UsageError(
            f"the secret is no JSON object: it has no field {wanted!r}",
            hint="leave the `#FIELD` out to take all of it",
        )
    value = document.get(wanted)
    if isinstance(value, str):
        return Secret(value.encode())
    if isinstance(value, dict):
        return Secret(json.dumps(value).encode())
    raise UsageError(
        f"the secret has no field {wanted!r} that holds a key", hint=f"it has {_names(document)}"
    )


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _names(document: Mapping[str, Any]) -> str:
    # Only what looks like a name: whoever uses secrets as names must not find them in a message.
    plain = [name for name in document if re.fullmatch(r"[A-Za-z][\w.-]{0,30}", name, re.ASCII)]
    return ", ".join(sorted(plain)[:_MOST_NAMES]) or "none that can be named"


def _unreadable(document: Mapping[str, Any] | None) -> UsageError:
    hint = "it takes a PEM private key, a JWK, or a JWKS with one private key"
    if document is not None:
        return UsageError(
            "the secret is a JSON object, and no JWK",
            hint=f"name the field with the key as `#FIELD`: it has {_names(document)}",
        )
    return UsageError("no private key can be read there", hint=hint)


def _from_pem(data: bytes, passphrase: Secret | None) -> LiveKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    blocks = list(_PEM.finditer(data))
    if len(blocks) != 1:
        what = "no private key" if not blocks else f"{len(blocks)} private keys"
        raise UsageError(f"the PEM holds {what}", hint="give one private key, and nothing else")
    if blocks[0].group(1) == _OPENSSH:
        raise UsageError(
            "the key is in OpenSSH's own format",
            hint="`ssh-keygen -p -m PKCS8 -f COPY` rewrites a copy",
        )
    block = blocks[0].group()
    encrypted = b"ENCRYPTED" in block
    if encrypted and passphrase is None:
        raise UsageError(
            "the key is encrypted",
            hint="name its passphrase with `--passphrase-file` or `--passphrase-env`",
        )
    if passphrase is not None and not encrypted:
        raise UsageError(
            "a passphrase was given, and the key is not encrypted", hint="leave it out"
        )
    password = passphrase.reveal() if passphrase is not None else None
    problem = "the private key in the PEM is damaged, or of a kind that is not known here"
    try:
        return _from_private(load_pem_private_key(block + b"\n", password))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            problem = "the passphrase does not fit, or the encrypted key is damaged"
    # Raised outside, for the error of a library may quote what it could not read.
    raise UsageError(problem, hint="`openssl pkey -noout -check -in FILE` says what it is")


def _from_private(private: PrivateKeyTypes) -> LiveKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, rsa.RSAPrivateKey):
        refuse_short_rsa(private.key_size)
        return _imported(private, "RSA", private.key_size)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _imported(private, "EC", private.key_size)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return _imported(private, "OKP", 256)
    raise UsageError(
        "the key is neither RSA, nor EC, nor Ed25519",
        hint=f"a key set signs by one of {', '.join(ALGORITHMS)}",
    )


def _imported(private: PrivateKeyTypes, kty: str, size: int) -> LiveKey:
    members = private_members(private, kty)
    if members is None:
        raise UsageError(
            "the key is on a curve that no JWS algorithm of rotator uses",
            hint=f"it knows {', '.join(CURVES)}",
        )
    public = {"kty": kty, **{name: members[name] for name in PUBLIC_MEMBERS[kty]}}
    return LiveKey(public, size, Secret(json.dumps(members, sort_keys=True).encode()))


def _the_jwk(document: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    if "keys" not in document:
        return document
    keys = document["keys"] if isinstance(document["keys"], list) else []
    private = [key for key in keys if isinstance(key, dict) and PRIVATE_MEMBERS & set(key)]
    named = [key for key in private if key.get("kid") == name]
    found = named if name is not None and len(private) > 1 else private
    if len(found) == 1:
        return dict(found[0])
    count = len(private) or "no"
    raise UsageError(
        f"the JWKS has {count} private keys", hint="name the one that signs with `--kid KID`"
    )


def _from_jwk(jwk: Mapping[str, Any]) -> LiveKey:
    if jwk.get("use", "sig") != "sig" or "sign" not in jwk.get("key_ops", ["sign"]):
        raise UsageError(
            "the JWK is not for signing: its `use` or `key_ops` says so",
            hint="give the key that signs the tokens",
        )
    kid, algorithm, kty = jwk.get("kid"), jwk.get("alg"), jwk.get("kty")
    if kty == "oct":
        found = _from_oct(jwk)
    elif kty in PUBLIC_MEMBERS and isinstance(jwk.get("d"), str):
        found = _from_key_pair(jwk, str(kty))
    else:
        what = "has no private part" if kty in PUBLIC_MEMBERS else "is of a type not known here"
        raise UsageError(f"the JWK {what}", hint="give the private key: it is the one with `d`")
    return replace(
        found,
        kid=kid if isinstance(kid, str) and kid else None,
        algorithm=algorithm if isinstance(algorithm, str) else None,
    )


def _from_oct(jwk: Mapping[str, Any]) -> LiveKey:
    try:
        secret = base64.urlsafe_b64decode(str(jwk["k"]) + "==")
    except (KeyError, ValueError):
        secret = b""
    return _oct(secret)


def _oct(secret: bytes, note: str = "") -> LiveKey:
    encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    material = Secret(json.dumps({"kty": "oct", "k": encoded}).encode())
    return LiveKey(None, len(secret) * 8, material, note=note)


def _from_secret(data: bytes) -> LiveKey:
    """Take the bytes as they are, but for the line end that an editor leaves behind a text."""
    text = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(text) < len(data) and _is_text(text):
        return _oct(
            text, f"the secret was read as a text of {len(text)} bytes, without its line end"
        )
    return _oct(data, f"the secret was read as it is, {len(data)} bytes")


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _from_key_pair(jwk: Mapping[str, Any], kty: str) -> LiveKey:
    members = {name: value for name, value in jwk.items() if isinstance(value, str)}
    private = private_from_jwk(members, kty)
    found = _from_private(private) if private is not None else None
    if found is None or not found.same_public_half(jwk):
        raise UsageError(
            "the JWK is damaged: its members are no key pair, or not of one",
            hint="export it again from where it is in use",
        )
    return found
