"""What the server serves: which key set at which path. Told by the parent process to its child. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

WELL_KNOWN: Final = "/.well-known/jwks.json"
DISCOVERY: Final = "/.well-known/openid-configuration"
HEALTH: Final = "/healthz"
READY: Final = "/readyz"


@dataclass(frozen=True, slots=True)
class Discovery:
    """A discovery document (OpenID Connect Discovery 1.0 §4).

    Attributes:
        key_set: whose keys it points to.
        path: where it is served.
        host: at which host only (the `Host` of the request), None for any.
        issuer: its `issuer`, exactly as in the tokens.
        jwks_uri: where the keys are, from a verifier's point of view.
    """

    key_set: str
    path: str
    host: str | None
    issuer: str
    jwks_uri: str


@dataclass(frozen=True, slots=True)
class Site:
    """Paths and what belongs there.

    Attributes:
        public_dir: where each key set's JWKS lies as `KEY_SET/jwks.json`; nothing else of it is served.
        key_sets: the key sets, each at `/KEY_SET/jwks.json`.
        default: the one that is also at `/.well-known/jwks.json`, if any.
        combine: the key sets of each combined document, by path.
        issuers: the `iss` of the tokens of a key set; where its path fits there is a discovery document.
        json: the key sets whose verifiers want `application/json`.
    """

    public_dir: Path
    key_sets: tuple[str, ...]
    default: str | None = None
    combine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    issuers: Mapping[str, str] = field(default_factory=dict)
    json: tuple[str, ...] = ()

    def paths(self) -> Iterator[tuple[str, str]]:
        """Yield each path that serves one key set, and that key set."""
        for key_set in self.key_sets:
            yield f"/{key_set}/jwks.json", key_set
        if self.default is not None:
            yield WELL_KNOWN, self.default

    def discoveries(self) -> list[Discovery]:
        """Return the OpenID discovery documents: one for each issuer whose path is served here.

        An issuer without a path is served at its own host, where its key set is the well-known one, if no
        other key set has the same issuer. At any other host the default key set's is, or the only one there
        is. An issuer with the path `/KEY_SET` is served below it.
        """
        found: list[Discovery] = []
        roots: dict[str, list[Discovery]] = {}
        for key_set, issuer in self.issuers.items():
            parts = _parts(issuer)
            if parts is None or key_set not in self.key_sets:
                continue
            origin, host, path = parts
            if path == f"/{key_set}":
                uri = f"{origin}/{key_set}/jwks.json"
                found.append(Discovery(key_set, path + DISCOVERY, None, issuer, uri))
            elif not path:
                roots.setdefault(host, []).append(
                    Discovery(key_set, DISCOVERY, host, issuer, origin + self._place_of(key_set))
                )
        for claims in roots.values():
            # Several key sets of one issuer have no document of their own; the default one speaks for it.
            named = [item for item in claims if len(claims) == 1 or item.key_set == self.default]
            found += named
            if named and (named[0].key_set == self.default or len(roots) == 1):
                found.append(replace(named[0], host=None))
        return found

    def _place_of(self, key_set: str) -> str:
        return WELL_KNOWN if key_set == self.default else f"/{key_set}/jwks.json"

    def render(self) -> bytes:
        """Return this as one line of JSON."""
        members = {
            "public_dir": str(self.public_dir),
            "key_sets": self.key_sets,
            "default": self.default,
            "combine": dict(self.combine),
            "issuers": dict(self.issuers),
            "json": self.json,
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
        issuers=dict(members["issuers"]),
        json=tuple(members["json"]),
    )


def _parts(issuer: str) -> tuple[str, str, str] | None:
    """Return origin, host (with its port, in lower case) and path of an issuer, None if it is no plain URL."""
    try:
        parts = urlsplit(issuer)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    if parts.scheme not in {"https", "http"} or not usable or "@" in parts.netloc:
        return None
    if parts.query or parts.fragment:
        return None
    return f"{parts.scheme}://{parts.netloc}", parts.netloc.lower(), parts.path.rstrip("/")
