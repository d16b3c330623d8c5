"""What stands in the variables of rings and material: JSON around base64, for Conjur keeps text alone unharmed.

No error of this module carries a piece of what it could not parse, for that may be key material.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

RING: Final = "rotator.conjur-ring/1"
MATERIAL: Final = "rotator.conjur-material/1"
GONE: Final = "rotator.conjur-gone/1"
"""The format of what overwrote a ring or material."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One version of a ring or of material; with the format "" if it is not of our writing.

    Attributes:
        expects: the version number that its writer expected.
        nonce: random, so that no two writes are equal.
        key_set: whose it is.
        kid: of which key; "" for a ring.
        body: the bytes; may be key material.
    """

    format: str = ""
    expects: int | None = None
    nonce: str = ""
    key_set: str = ""
    kid: str = ""
    body: bytes = field(default=b"", repr=False)

    def dump(self) -> bytes:
        """Return the value to store."""
        members: dict[str, object] = {
            "format": self.format,
            "expects": self.expects,
            "nonce": self.nonce,
            "key_set": self.key_set,
        }
        if self.kid:
            members["kid"] = self.kid
        if self.format != GONE:
            members["body"] = base64.b64encode(self.body).decode("ascii")
        return json.dumps(members).encode("ascii")


def parse(value: bytes) -> Envelope:
    """Return the envelope in a value; an empty one when it is not of our writing."""
    found = load(value)
    form, expects = found.get("format"), whole(found.get("expects"))
    if form not in (RING, MATERIAL, GONE) or expects is None:
        return Envelope()
    body = b"" if form == GONE else decode(found.get("body"))
    if body is None:
        return Envelope()
    texts = [found.get(name, "") for name in ("nonce", "key_set", "kid")]
    if not all(isinstance(text, str) for text in texts):
        return Envelope()
    nonce, key_set, kid = texts
    return Envelope(form, expects, nonce, key_set, kid, body)


def load(value: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a value; an empty one when there is none."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None  # a JSONDecodeError keeps the whole text: let go of it
    return found if isinstance(found, dict) else {}


def decode(text: object) -> bytes | None:
    """Return the bytes behind base64; None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def whole(value: object) -> int | None:
    """Return a whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
