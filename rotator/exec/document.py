"""The signing document as a signer reads it (DESIGN §5): what is refused, and the forms it is handed on in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.documents import SIGNING_FORMAT, read_json
from rotator.errors import StoreCorrupt

LARGEST: Final = 65536
"""How many bytes a document may have; ours have less than a fifth of it."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One signing document. What is key material in it is left out of the repr."""

    key_set: str
    revision: int
    kid: str
    alg: str
    body: bytes = field(repr=False)
    jwk: Mapping[str, Any] = field(repr=False)
    pem: str | None = field(repr=False)

    def is_key_of(self, other: SigningKey | None) -> bool:
        """Tell whether two documents, of whatever revision, hold the same key."""
        return other is not None and (self.kid, self.jwk) == (other.kid, other.jwk)


def parse(body: bytes, key_set: str) -> SigningKey:
    """Read a signing document. Members that are not known are left alone: a later version may add some.

    Args:
        key_set: whose it must be.

    Raises:
        StoreCorrupt: another format, another key set, or a document that contradicts itself. The message
            quotes nothing but the names of its format and key set.
    """
    if len(body) > LARGEST:
        raise _refused(key_set, f"has {len(body)} bytes, and none of ours has more than {LARGEST}")
    found = read_json(body)
    if found is None or not isinstance(found.get("format"), str):
        raise _refused(key_set, "is no signing document: it names no format")
    if found["format"] != SIGNING_FORMAT:
        raise _refused(
            key_set,
            f"has the format {found['format'][:80]!r}, and this version reads {SIGNING_FORMAT}",
        )
    whose, revision = found.get("key_set"), found.get("revision")
    if whose != key_set:
        raise _refused(key_set, f"belongs to key set {str(whose)[:80]!r}")
    kid, alg, jwk, pem = (found.get(name) for name in ("kid", "alg", "jwk", "pem"))
    if (
        type(revision) is not int
        or revision < 0
        or not (isinstance(kid, str) and kid and isinstance(alg, str) and isinstance(jwk, dict))
        or jwk.get("kid") != kid
        or isinstance(pem, str) == (jwk.get("kty") == "oct")
        or not (isinstance(pem, str) or pem is None)
    ):
        raise _refused(key_set, "contradicts itself: revision, kid, jwk or pem are not as written")
    return SigningKey(key_set, revision, kid, alg, body, jwk, pem)


def check_follows(found: SigningKey, present: SigningKey | None) -> None:
    """Refuse a document that may not replace the one in use.

    Raises:
        StoreCorrupt: its revision is lower, or the same one with another key.
    """
    if present is None or found.revision > present.revision:
        return
    if found.revision < present.revision:
        raise _refused(
            found.key_set,
            f"has revision {found.revision}, below {present.revision}, which is in use: it was set back",
        )
    if not found.is_key_of(present):
        raise _refused(
            found.key_set,
            f"holds another key with the same revision {found.revision}: it was edited",
        )


def _refused(key_set: str, why: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the signing document of key set {key_set} {why}",
        hint=f"`rotator status {key_set} --live`, where the key set is rotated, says what is wrong there",
    )


def forms(*, symmetric: bool) -> tuple[str, ...]:
    """Return the names of the forms that a key can have: HMAC keys have no PEM, the others no secret."""
    unfit = _ASYMMETRIC if symmetric else _SYMMETRIC
    return tuple(name for name in _FORMS if name not in unfit)


def render(key: SigningKey, form: str) -> bytes:
    """Return a key in one of its `forms`."""
    return _FORMS[form](key)


def _secret(key: SigningKey) -> bytes:
    value = str(key.jwk["k"])
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


_FORMS: Final[dict[str, Callable[[SigningKey], bytes]]] = {
    "signing": lambda key: key.body,
    "pem": lambda key: (key.pem or "").encode(),
    "pem-base64": lambda key: base64.b64encode((key.pem or "").encode()),
    "jwk": lambda key: json.dumps(dict(key.jwk)).encode(),
    "secret-base64": lambda key: base64.b64encode(_secret(key)),
    "secret-base64url": lambda key: str(key.jwk["k"]).encode(),
    "secret-hex": lambda key: _secret(key).hex().encode(),
    "kid": lambda key: key.kid.encode(),
    "alg": lambda key: key.alg.encode(),
    "revision": lambda key: str(key.revision).encode(),
}
_ASYMMETRIC: Final = frozenset({"pem", "pem-base64"})
_SYMMETRIC: Final = frozenset({"secret-base64", "secret-base64url", "secret-hex"})
