"""The file beside a published JWKS that says whose it is: `PATH.meta.json` (DESIGN §5: "a sidecar").

A JWKS itself carries no revision (verifiers may choke on unknown members), so it travels beside it. The
sidecar is written first and names both the new body and the one before: a crash between the two renames
leaves a pair that still says which revision the body is. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FORMAT: Final = "rotator.publication/1"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The body that a write replaces, and its revision."""

    revision: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Key set, revision and cache lifetimes (whole seconds) of the JWKS beside it.

    `modified` is when a body of this digest was first written, in UTC.
    """

    key_set: str
    revision: int
    sha256: str
    max_age: int | None
    stale: int | None
    modified: datetime
    previous: Earlier | None = None

    def describes(self, digest: str) -> bool:
        """True for the body that this sidecar was written with, and for the one before."""
        return digest == self.sha256 or (
            self.previous is not None and digest == self.previous.sha256
        )

    def revision_of(self, digest: str) -> int:
        """Return the revision of a body. An unknown body was edited by hand: it has the newest."""
        if digest != self.sha256 and self.previous and digest == self.previous.sha256:
            return self.previous.revision
        return self.revision

    def render(self) -> bytes:
        """Return the JSON document of this sidecar."""
        previous = self.previous
        members = {
            "format": FORMAT,
            "key_set": self.key_set,
            "revision": self.revision,
            "sha256": self.sha256,
            "max_age": self.max_age,
            "stale": self.stale,
            "modified": self.modified.astimezone(UTC).isoformat(timespec="seconds"),
            "previous": previous and {"revision": previous.revision, "sha256": previous.sha256},
        }
        return json.dumps(members, indent=2).encode() + b"\n"


def sidecar_path(path: Path) -> Path:
    """Return where the sidecar of a published file is."""
    return path.with_name(f"{path.name}.meta.json")


def digest_of(body: bytes) -> str:
    """Return the name of a body: its SHA-256 in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def parse_sidecar(data: bytes) -> Sidecar | None:
    """Return what a sidecar says, or None when `rotator` did not write it, or not like this."""
    try:
        members = json.loads(data)
        if not isinstance(members, dict) or members.get("format") != FORMAT:
            return None
        modified = datetime.fromisoformat(members["modified"])
        if not isinstance(members["key_set"], str) or modified.tzinfo is None:
            return None
        return Sidecar(
            key_set=members["key_set"],
            revision=_whole(members["revision"]),
            sha256=_digest(members["sha256"]),
            max_age=_optional(members["max_age"]),
            stale=_optional(members["stale"]),
            modified=modified.astimezone(UTC),
            previous=_earlier(members["previous"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _earlier(members: Any) -> Earlier | None:
    if members is None:
        return None
    return Earlier(_whole(members["revision"]), _digest(members["sha256"]))


def _whole(value: Any) -> int:
    # bool is an int in Python, and no number in JSON.
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
    return value


def _optional(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _digest(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or len(bytes.fromhex(value)) != 32:
        raise ValueError("not a SHA-256")
    return value
