"""One JWKS out of several key sets' (`combine: {PATH: [KEY_SET]}`), for verifiers that read one URL.

A combined document carries each key set with its revision and is fenced by each: it is made only of
documents that were published, each of which never goes back to a lower revision. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.publication.whitelist import Refused, checked_jwks


@dataclass(frozen=True, slots=True)
class Published:
    """A JWKS as it was published: its key set's revision, and its cache lifetimes in whole seconds."""

    body: bytes
    revision: int
    max_age: int
    stale: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Combined:
    """Several key sets' keys in one JWKS, and the revision of each key set in it."""

    body: bytes
    revisions: Mapping[str, int]
    max_age: int
    stale: int
    modified: datetime


def combine(parts: Mapping[str, Published]) -> Combined:
    """Merge the JWKS of several key sets, in the order given.

    The cache lifetimes are the shortest of all: each key set's timing contract counts with its own.

    Raises:
        Refused: no part at all, a part that is no public JWKS, or a kid in two of them.
    """
    if not parts:
        raise Refused("there is nothing to combine")
    keys: list[dict[str, str]] = []
    owner: dict[str, str] = {}
    for key_set, part in parts.items():
        for key in checked_jwks(part.body):
            other = owner.setdefault(key["kid"], key_set)
            if other != key_set:
                raise Refused(f"key sets {other} and {key_set} share the kid {key['kid']}")
            keys.append(key)
    return Combined(
        body=json.dumps({"keys": keys}, separators=(",", ":")).encode(),
        revisions={key_set: part.revision for key_set, part in parts.items()},
        max_age=min(part.max_age for part in parts.values()),
        stale=min(part.stale for part in parts.values()),
        modified=max(part.modified for part in parts.values()),
    )
