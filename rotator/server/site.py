"""What the server serves: which key set at which path. Told by the parent process to its child. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

WELL_KNOWN: Final = "/.well-known/jwks.json"
HEALTH: Final = "/healthz"
READY: Final = "/readyz"


@dataclass(frozen=True, slots=True)
class Site:
    """Paths and what belongs there.

    Attributes:
        public_dir: where each key set's JWKS lies as `KEY_SET/jwks.json`; nothing else of it is served.
        key_sets: the key sets, each at `/KEY_SET/jwks.json`.
        default: the one that is also at `/.well-known/jwks.json`, if any.
        combine: the key sets of each combined document, by path.
    """

    public_dir: Path
    key_sets: tuple[str, ...]
    default: str | None = None
    combine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield each path that serves one key set, and that key set."""
        for key_set in self.key_sets:
            yield f"/{key_set}/jwks.json", key_set
        if self.default is not None:
            yield WELL_KNOWN, self.default

    def render(self) -> bytes:
        """Return this as one line of JSON."""
        members = {
            "public_dir": str(self.public_dir),
            "key_sets": self.key_sets,
            "default": self.default,
            "combine": dict(self.combine),
        }
        return json.dumps(members).encode() + b"\n"


def parse_site(line: bytes) -> Site:
    """Read what `Site.render` wrote.

    Raises:
        ValueError, KeyError: the line is cut off, or not from a parent of this version.
    """
    members = json.loads(line)
    return Site(
        public_dir=Path(members["public_dir"]),
        key_sets=tuple(members["key_sets"]),
        default=members["default"],
        combine={path: tuple(names) for path, names in members["combine"].items()},
    )
