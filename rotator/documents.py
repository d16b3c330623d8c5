"""The derived documents, as bytes: what signers, HMAC verifiers and JWT verifiers are given.

The shapes are a contract with others (DESIGN §5) and carry a format name with a version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rotator.jwks import render_jwks
from rotator.keys import KeyMaker
from rotator.policy import RotationPolicy
from rotator.ring import Key, KeyRing
from rotator.ring_document import format_date
from rotator.secret import Secret
from rotator.stores import Document, DocumentKind

SIGNING_FORMAT: Final = "rotator.signing/1"
VERIFICATION_FORMAT: Final = "rotator.verification/1"


def signing_document(ring: KeyRing, key: Key, material: Secret, keys: KeyMaker) -> Document:
    """Return the signing document of the active key."""
    body = {
        "format": SIGNING_FORMAT,
        "key_set": ring.key_set,
        "revision": ring.revision,
        "kid": key.kid,
        "alg": key.algorithm,
        "jwk": keys.private_jwk(key, material),
        "pem": keys.pem(key, material),
        "activated_at": format_date(key.activated_at or key.created_at),
    }
    return Document(_json(body), ring.key_set, ring.revision)


def verification_document(
    ring: KeyRing, materials: Iterable[tuple[Key, Secret]], keys: KeyMaker
) -> Document:
    """Return the verification document of an HMAC key set: the same overlap as a JWKS, with secrets."""
    body = {
        "format": VERIFICATION_FORMAT,
        "key_set": ring.key_set,
        "revision": ring.revision,
        "keys": [keys.private_jwk(key, material) for key, material in materials],
    }
    return Document(_json(body), ring.key_set, ring.revision)


def jwks_document(ring: KeyRing, policy: RotationPolicy, also: Iterable[Key] = ()) -> Document:
    """Return the JWKS of a ring, with the cache lifetimes that the timing contract counts on.

    A lifetime that is being lowered is sent lowered at once: what is in force is what caches may
    still hold, what is sent is what new answers may be held for.
    """
    return Document(
        render_jwks(ring, also),
        ring.key_set,
        ring.revision,
        max_age=int(policy.jwks_max_age.total_seconds()),
        stale=int(policy.jwks_stale.total_seconds()),
    )


def document_name(key_set: str, kind: DocumentKind, verifier: str | None = None) -> str:
    """Return what a derived document is called in every store: `orders/signing`.

    Args:
        verifier: the verifier that has a verification document to itself: `orders/verification.billing`.
    """
    return f"{key_set}/{kind}" if verifier is None else f"{key_set}/{kind}.{verifier}"


def read_json(body: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object of a derived document, None when the bytes are none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _json(body: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in body.items() if value is not None}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()
