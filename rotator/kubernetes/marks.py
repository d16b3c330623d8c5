"""What stands in the annotations of an object beside the keys of ours: whose they are, of which revision, and what.

An object's annotations and data change in one write, so they part only by somebody's hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "jwks-rotator/"
"""A prefix of one label (Kubernetes, "Annotations", Syntax): no domain that somebody may own."""

PENDING: Final = f"{PREFIX}restart-pending"
"""The kid for which the named workloads have not been restarted yet."""

MANAGED: Final = {"app.kubernetes.io/managed-by": "rotator"}
"""The label of what `rotator` made; what it found made keeps its own."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The annotations of ours; the lifetimes are whole seconds, and only a JWKS has them."""

    key_set: str
    revision: int
    sha256: str
    max_age: int | None = None
    stale: int | None = None

    def annotations(self) -> dict[str, str]:
        """Return them by their full names."""
        found = {"key-set": self.key_set, "revision": self.revision, "sha256": self.sha256}
        found |= {"max-age": self.max_age, "stale": self.stale}
        return {f"{PREFIX}{name}": str(item) for name, item in found.items() if item is not None}


def marks_of(annotations: Mapping[str, str] | None) -> Marks | None:
    """Return what an object's annotations say, None when `rotator` did not write them, or not like this."""
    given = annotations or {}
    key_set, sha256 = given.get(f"{PREFIX}key-set"), given.get(f"{PREFIX}sha256")
    revision = _number(given.get(f"{PREFIX}revision"))
    if key_set is None or sha256 is None or revision is None:
        return None
    lifetimes = (_number(given.get(f"{PREFIX}{name}")) for name in ("max-age", "stale"))
    return Marks(key_set, revision, sha256, *lifetimes)


def digest_of(parts: Mapping[str, bytes]) -> str:
    """Return one SHA-256 of all the keys of ours, in hexadecimal."""
    lines = [f"{name} {hashlib.sha256(body).hexdigest()}\n" for name, body in sorted(parts.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    return int(text)
