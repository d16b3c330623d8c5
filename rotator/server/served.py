"""A key set's JWKS as it is served: read again when its file was replaced, the last good one kept.

Rendering is done once per document, and the file is looked at once a millisecond at most, so that a
request costs next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from time import monotonic
from typing import Final

from rotator.atomic import read_regular
from rotator.errors import StoreError
from rotator.publication.combined import Combined, Published, combine
from rotator.publication.headers import MEDIA_TYPE, PLAIN_JSON, cache_control
from rotator.publication.sidecar import Sidecar, digest_of, parse_sidecar, sidecar_path
from rotator.publication.whitelist import Refused, checked_jwks

_READS: Final = 3  # as in FilePublication: a writer between two reads is no fault of the file
_LOOK_EVERY: Final = (
    0.001  # seconds; under load a `stat` for each request would be a sixth of its cost
)
_RETRY: Final = 1.0  # seconds before a file that was refused is read again, whoever asks for it

Headers = list[tuple[str, str]]
Report = Callable[..., None]
"""Says an event: `report("jwks.served", key_set=…, revision=…)`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document with everything that a request for it needs, rendered."""

    body: bytes
    etag: str
    full: Headers
    unmodified: Headers


def render_page(
    document: Published | Combined, names: Headers, media_type: str = MEDIA_TYPE
) -> Page:
    """Render the headers of a document.

    Sources: RFC 9110 §8.8.3 (ETag), §8.8.2.1 (no Last-Modified in the future), §15.4.5 (what a 304
    carries); RFC 9111 §5.2.2 and RFC 5861 §3, §4 (Cache-Control).

    Args:
        names: the headers that carry key set and revision.
        media_type: what it is called.
    """
    etag = f'"{digest_of(document.body)}"'
    modified = min(document.modified, datetime.now(UTC))
    unmodified = [
        ("etag", etag),
        ("cache-control", cache_control(document.max_age, document.stale)),
        ("last-modified", format_datetime(modified, usegmt=True)),
        ("access-control-allow-origin", "*"),
        ("x-content-type-options", "nosniff"),
        ("server", "rotator"),
        *names,
    ]
    length = ("content-length", str(len(document.body)))
    return Page(
        document.body, etag, [("content-type", media_type), length, *unmodified], unmodified
    )


class Served:
    """One key set's document: the newest good one that was ever on disk since this process began.

    A file that is truncated, no public JWKS, another key set's, or of a lower revision is never served.
    """

    def __init__(
        self, path: Path, key_set: str, report: Report, media_type: str = MEDIA_TYPE
    ) -> None:
        self.key_set = key_set
        self.page: Page | None = None
        self.published: Published | None = None
        self.fault = ""
        """Why the file on disk is not what is served; empty when it is, or when there never was one."""
        self._path = path
        self._report = report
        self._seen: tuple[int, int, int] | None = None
        self._refused: tuple[int, int, int] | None = None
        self._retry_at = 0.0
        self._look_at = 0.0
        self.media_type = media_type

    def fresh(self) -> Page | None:
        """Return the page to serve now, as it was at most a millisecond ago."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self.refresh()
        return self.page

    def refresh(self) -> Page | None:
        """Return the page to serve now, None when there is no good one; one `stat` if nothing changed."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - the hot path: no Path in between
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            self._seen = None
            if self.page is not None:
                self._refuse("the file is gone")
            else:
                self.fault = ""
            return self.page
        except OSError as error:
            self._seen = None
            self._refuse(f"the file cannot be reached ({type(error).__name__})")
            return self.page
        if seen != self._seen and (seen != self._refused or monotonic() >= self._retry_at):
            self._load(seen)
        return self.page

    def _load(self, seen: tuple[int, int, int]) -> None:
        try:
            body, sidecar = self._read()
            published = self._accept(body, sidecar)
        except (Refused, StoreError) as error:
            # Read again after a while even so: mending the sidecar alone must be noticed as well.
            self._refused = seen
            self._retry_at = monotonic() + _RETRY
            self._refuse(error.message if isinstance(error, StoreError) else str(error))
            return
        names = [("rotator-key-set", self.key_set), ("rotator-revision", str(published.revision))]
        self.page = render_page(published, names, self.media_type)
        self.published = published
        self.fault = ""
        # What was read may be newer than the stat before it; then the next request reads once more.
        self._seen = seen
        self._report("jwks.served", key_set=self.key_set, revision=published.revision)

    def _read(self) -> tuple[bytes, Sidecar]:
        for _ in range(_READS):
            data = read_regular(sidecar_path(self._path))
            body = read_regular(self._path)
            sidecar = parse_sidecar(data) if data is not None else None
            if body is not None and sidecar is not None and sidecar.describes(digest_of(body)):
                break
        if body is None:
            raise Refused("the file is gone")
        if sidecar is None:
            raise Refused("there is no sidecar that says whose it is")
        return body, sidecar

    def _accept(self, body: bytes, sidecar: Sidecar) -> Published:
        if sidecar.key_set != self.key_set:
            raise Refused(f"it is a document of key set {sidecar.key_set}")
        checked_jwks(body)
        digest, last = digest_of(body), self.published
        # After a restart a good JWKS that somebody edited is better than none; a tick mends it.
        if last is not None and not sidecar.describes(digest):
            raise Refused("it is not what its sidecar names")
        revision = sidecar.revision_of(digest)
        if last is not None and revision < last.revision:
            raise Refused(f"its revision {revision} is below {last.revision}")
        # Without lifetimes nothing is known of the policy, and a cache must not outlive it.
        return Published(body, revision, sidecar.max_age or 0, sidecar.stale or 0, sidecar.modified)

    def _refuse(self, fault: str) -> None:
        if fault != self.fault:
            self.fault = fault
            kept = self.published.revision if self.published else None
            self._report("jwks.refused", key_set=self.key_set, reason=fault, revision=kept)


class ServedTogether:
    """A combined document: made anew when one of its parts changed, the last good one kept.

    All or nothing: a union without one of its key sets would have verifiers reject that one's tokens for
    as long as they cache it, so there is none until each key set has a document.
    """

    def __init__(self, path: str, parts: Mapping[str, Served], report: Report) -> None:
        self.page: Page | None = None
        self.fault = ""
        self._path = path
        self._parts = parts
        self._report = report
        self._made_of: list[Page] = []
        self._look_at = 0.0
        plain = any(part.media_type == PLAIN_JSON for part in parts.values())
        self._media_type = PLAIN_JSON if plain else MEDIA_TYPE

    def fresh(self) -> Page | None:
        """Return the page to serve now, as it was at most a millisecond ago."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self.refresh()
        return self.page

    def refresh(self) -> Page | None:
        """Return the page to serve now, None while one of its key sets has none."""
        pages = [page for part in self._parts.values() if (page := part.refresh()) is not None]
        if len(pages) < len(self._parts):
            lacking = [name for name, part in self._parts.items() if part.page is None]
            self.fault = f"no document yet of {', '.join(lacking)}"
        elif [id(page) for page in pages] != [id(page) for page in self._made_of]:
            self._make(pages)
        return self.page

    def _make(self, pages: list[Page]) -> None:
        self._made_of = pages
        try:
            together = combine(
                {name: part.published for name, part in self._parts.items() if part.published}
            )
        except Refused as error:
            self.fault = str(error)
            self._report("jwks.refused", path=self._path, reason=self.fault)
            return
        self.fault = ""
        revisions = ", ".join(f"{name}={number}" for name, number in together.revisions.items())
        self.page = render_page(together, [("rotator-key-sets", revisions)], self._media_type)
        self._report("jwks.served", path=self._path, revisions=dict(together.revisions))
