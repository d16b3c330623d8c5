"""What is wrong with a derived document that has no record of its digest beside it: one kept in a store.

Files lie beside a record of what was written; a document in a secrets manager stands alone. It is held
against itself: it says most things twice. Nothing here loads a key, for looks must cost little.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from rotator.algorithms import PRIVATE_MEMBERS
from rotator.delivery.payload import FORMATS, origin
from rotator.documents import read_json
from rotator.publication.whitelist import Refused, checked_jwks
from rotator.stores import Document, DocumentKind

_SIGNING: Final = {"format", "key_set", "revision", "kid", "alg", "jwk", "activated_at"}
_VERIFICATION: Final = {"format", "key_set", "revision", "keys"}
_HEAD: Final = "-----BEGIN PRIVATE KEY-----\n"
_TAIL: Final = "\n-----END PRIVATE KEY-----\n"


def flaw(document: Document, kind: DocumentKind) -> str:
    """Return what a document says that `rotator` never wrote; empty when it is whole.

    Whether its keys are those of the ring is for the look to say. The text quotes no value.

    Args:
        document: one with a key set and a revision, as its store keeps them.
    """
    if kind is DocumentKind.JWKS:
        try:
            checked_jwks(document.body)
        except Refused as refused:
            return str(refused)
        return ""
    found = read_json(document.body)
    if found is None:
        return "it is no JSON object"
    if origin(found, FORMATS[kind]) != (document.key_set, document.revision):
        return "it names another format, key set or revision than it was written with"
    # A store with fields writes an edited document anew: what was edited says more than that.
    edited = _INSIDE[kind](found)
    if edited:
        return edited
    as_written = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    return "" if as_written == document.body else "it was formatted anew"


def _signing(found: Mapping[str, Any]) -> str:
    jwk, pem = found.get("jwk"), found.get("pem")
    if not isinstance(jwk, dict) or set(found) - {"pem"} != _SIGNING:
        return "a member is missing, or one is there that does not belong"
    for member in ("kid", "alg"):
        if jwk.get(member) != found[member]:
            return f"its {member} was changed: that of its key is another"
    if jwk.get("kty") == "oct":
        return "" if pem is None else "an HMAC key has no PEM"
    if not isinstance(pem, str) or not _same_key(jwk, pem):
        return "the PEM is not the key of the JWK"
    return ""


def _verification(found: Mapping[str, Any]) -> str:
    if set(found) != _VERIFICATION:
        return "a member is missing, or one is there that does not belong"
    keys = found["keys"]
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return "its keys are not a list of JWKs"
    return ""


_INSIDE: Final[dict[DocumentKind, Callable[[Mapping[str, Any]], str]]] = {
    DocumentKind.SIGNING: _signing,
    DocumentKind.VERIFICATION: _verification,
}


def _same_key(jwk: Mapping[str, Any], pem: str) -> bool:
    """Tell whether a PKCS #8 PEM (RFC 7468 §10) holds every private number of a JWK.

    Big-endian numbers stand in DER as they do in a JWK, but for leading zeros.
    """
    if not (pem.startswith(_HEAD) and pem.endswith(_TAIL)):
        return False
    try:
        der = base64.b64decode(pem[len(_HEAD) : -len(_TAIL)].replace("\n", ""), validate=True)
        private = [_octets(jwk[name]) for name in PRIVATE_MEMBERS & set(jwk) - {"oth"}]
    except (ValueError, TypeError, AttributeError, binascii.Error):
        return False
    return bool(private) and all(number and number in der for number in private)


def _octets(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).lstrip(b"\0")
