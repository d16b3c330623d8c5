"""An nginx that serves published files like the built-in server: its configuration, from the policy. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rotator.errors import UsageError
from rotator.publication.headers import MEDIA_TYPE, PLAIN_JSON, cache_control
from rotator.server.site import WELL_KNOWN

_HEAD = """\
# Written by `rotator edge-config nginx`. Write it anew when `jwks_max_age`, `jwks_stale`, `verifiers`, `default`
# or a path of the configuration changes: Cache-Control is part of the timing contract.
#
# For the inside of a `server { … }`. Nothing between this nginx and the verifiers may cache for longer than it
# says; point a `probes:` entry at the URL that verifiers really read.
"""

_LOCATION = """
location = {address} {{
    alias "{path}";
    types {{ }}
    default_type {media_type};
    charset off;
    gzip off;
    sendfile off;          # cheaper for a file of some KB
    max_ranges 0;
    if_modified_since off; # two documents can be of one second; If-None-Match tells them apart
    log_not_found off;
    error_page 404 @rotator_none;
    if ($request_method = OPTIONS) {{
        add_header Access-Control-Allow-Origin "*";
        add_header Access-Control-Allow-Methods "GET, HEAD";
        add_header Access-Control-Allow-Headers "*";
        add_header Access-Control-Max-Age "86400";
        add_header Allow "GET, HEAD, OPTIONS";
        add_header Cache-Control "no-store";
        return 204;
    }}
    if ($request_method !~ ^(GET|HEAD)$) {{
        add_header Allow "GET, HEAD, OPTIONS" always;
        add_header Cache-Control "no-store" always;
        return 405;
    }}
    add_header Cache-Control "{cache_control}";
    add_header Access-Control-Allow-Origin "*";
    add_header X-Content-Type-Options "nosniff";
    add_header Rotator-Key-Set "{key_set}";
}}
"""

_NONE = """
# Nothing published yet. Without a word on it, a cache may keep a 404 as long as it likes (RFC 9111 §4.2.2).
location @rotator_none {
    internal;
    types { }
    default_type application/json;
    add_header Cache-Control "no-store" always;
    add_header Access-Control-Allow-Origin "*" always;
    add_header X-Content-Type-Options "nosniff" always;
    return 404 '{"error": "no document yet"}\\n';
}
"""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A JWKS that lies in a file.

    Attributes:
        key_set: whose it is.
        path: the file, absolute.
        max_age: `jwks_max_age` in seconds.
        stale: `jwks_stale` in seconds.
        default: whether it is also at `/.well-known/jwks.json`.
        plain_json: whether its verifiers want `application/json`.
    """

    key_set: str
    path: Path
    max_age: int
    stale: int
    default: bool = False
    plain_json: bool = False


def nginx_locations(files: Iterable[PublishedFile]) -> str:
    """Return the locations of an nginx `server` for some files.

    Raises:
        UsageError: nginx cannot be told of a path.
    """
    parts = [_HEAD]
    for file in files:
        addresses = [f"/{file.key_set}/jwks.json", *([WELL_KNOWN] if file.default else [])]
        parts += [
            _LOCATION.format(
                address=address,
                path=_quoted(file),
                media_type=PLAIN_JSON if file.plain_json else MEDIA_TYPE,
                cache_control=cache_control(file.max_age, file.stale),
                key_set=file.key_set,
            )
            for address in addresses
        ]
    return "".join([*parts, _NONE])


def _quoted(file: PublishedFile) -> str:
    text = str(file.path)
    if "$" in text:
        raise UsageError(
            f"nginx takes a `$` for a variable, and the file of key set {file.key_set} has one: {text}",
            hint="publish it to a path without one",
        )
    return text.replace("\\", "\\\\").replace('"', '\\"')
