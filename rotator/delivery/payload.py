"""What a signing or verification document consists of when it is handed over in parts.

A directory of files and a Kubernetes Secret use the same names (DESIGN §5). Only the one document,
`signing.json` or `verification.json`, is the contract; the other parts are there for programs that can
read nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rotator.documents import SIGNING_FORMAT, VERIFICATION_FORMAT, read_json
from rotator.errors import StoreCorrupt
from rotator.stores import Document, DocumentKind

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

FORMATS: Final = {
    DocumentKind.SIGNING: SIGNING_FORMAT,
    DocumentKind.VERIFICATION: VERIFICATION_FORMAT,
}

MAIN: Final = {
    DocumentKind.SIGNING: "signing.json",
    DocumentKind.VERIFICATION: "verification.json",
}
"""The part that is the whole document."""


class Origin(NamedTuple):
    """The ring that a document says it was derived from."""

    key_set: str
    revision: int


def origin(parsed: Mapping[str, Any] | None, expected: str) -> Origin | None:
    """Return where a document comes from, None unless it is of the expected format and says so."""
    if parsed is None or parsed.get("format") != expected:
        return None
    key_set, revision = parsed.get("key_set"), parsed.get("revision")
    if not isinstance(key_set, str) or type(revision) is not int or revision < 0:
        return None
    return Origin(key_set, revision)


def parts(document: Document, kind: DocumentKind) -> dict[str, bytes]:
    """Return the parts of a document by name, the whole document among them byte for byte.

    Signing: `signing.json`, `jwk.json`, `kid` and, unless it is an HMAC key, `private.pem` and
    `public.pem`. Verification: `verification.json`.

    Raises:
        StoreCorrupt: the body is not such a document, or of another key set or revision than it says
            outside. The message quotes nothing of it.
    """
    parsed = read_json(document.body)
    found = origin(parsed, FORMATS[kind])
    if parsed is None or found != (document.key_set, document.revision):
        raise _unfit(document, kind)
    if kind is DocumentKind.VERIFICATION:
        return {MAIN[kind]: document.body}
    kid, jwk, pem = parsed.get("kid"), parsed.get("jwk"), parsed.get("pem")
    if not isinstance(kid, str) or not isinstance(jwk, dict) or not isinstance(pem, str | None):
        raise _unfit(document, kind)
    try:
        keys = {"jwk.json": json.dumps(jwk).encode(), "kid": kid.encode()}
        if pem is not None:
            keys |= {"private.pem": pem.encode(), "public.pem": public_pem(jwk)}
    except (KeyError, TypeError, ValueError):
        # `from None`: what a library says of a value may contain the value.
        raise _unfit(document, kind) from None
    return {MAIN[kind]: document.body, **keys}


def _unfit(document: Document, kind: DocumentKind) -> StoreCorrupt:
    return StoreCorrupt(
        f"the {kind} document of key set {document.key_set} is not one of format {FORMATS[kind]}",
        hint="nothing was written; please report this with the version of rotator",
    )


def public_pem(jwk: Mapping[str, str]) -> bytes:
    """Return the public half of an asymmetric JWK as SubjectPublicKeyInfo in PEM (RFC 7468 §13).

    From the public numbers alone: loading the private half would check it, which takes up to 0.3 s.

    Raises:
        KeyError, TypeError, ValueError: it is no RSA, EC or Ed25519 key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _READERS[jwk["kty"]](jwk).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _rsa(jwk: Mapping[str, str]) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    return RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()


def _ec(jwk: Mapping[str, str]) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    x, y = _number(jwk["x"]), _number(jwk["y"])
    return ec.EllipticCurvePublicNumbers(x, y, curves[jwk["crv"]]).public_key()


def _okp(jwk: Mapping[str, str]) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if jwk["crv"] != "Ed25519":
        raise ValueError("only Ed25519 is known")
    return Ed25519PublicKey.from_public_bytes(_octets(jwk["x"]))


_READERS: Final[dict[str, Callable[[Mapping[str, str]], PublicKeyTypes]]] = {
    "RSA": _rsa,
    "EC": _ec,
    "OKP": _okp,
}


def _octets(value: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def _number(value: str) -> int:
    return int.from_bytes(_octets(value), "big")
