"""The RSGI application: a table of paths, GET and HEAD, and nothing that a request could steer to a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rotator.publication.server import (
    DOCUMENT_HEADER,
    NO_DOCUMENT,
    UNREADABLE,
    public_file,
)
from rotator.server.served import Headers, Page, Report, Served, ServedTogether
from rotator.server.site import HEALTH, READY, Site

if TYPE_CHECKING:
    from granian.rsgi import Scope

_LISTED: Final = 100  # key sets named in one answer of /readyz

_PLAIN: Final[Headers] = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("access-control-allow-origin", "*"),
    ("x-content-type-options", "nosniff"),
    ("server", "rotator"),
]


class App:
    """Serves a site.

    Every file is read once before the first request, so that a file which goes bad later has a last good
    one to fall back on.
    """

    def __init__(self, site: Site, report: Report) -> None:
        self._served = {
            key_set: Served(public_file(site.public_dir, key_set), key_set, report)
            for key_set in site.key_sets
        }
        self._pages: dict[str, Served | ServedTogether] = {
            path: self._served[key_set] for path, key_set in site.paths()
        }
        for path, key_sets in site.combine.items():
            parts = {key_set: self._served[key_set] for key_set in key_sets}
            self._pages[path] = ServedTogether(path, parts, report)
        for served in self._pages.values():
            served.refresh()

    async def __rsgi__(self, scope: Scope, proto: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            proto.close(None)
            return
        served = self._pages.get(scope.path)
        method = scope.method
        if method not in {"GET", "HEAD"}:
            self._answer_other(scope.path, proto)
        elif served is None:
            self._answer_health(scope.path, method, proto)
        else:
            page = served.refresh()
            if page is None:
                _say_none(served, method, proto)
            elif _unchanged(page, scope):
                proto.response_empty(304, page.unmodified)
            elif method == "HEAD":
                proto.response_empty(200, page.full)
            else:
                proto.response_bytes(200, page.full, page.body)

    def _answer_other(self, path: str, proto: Any) -> None:
        if path in self._pages or path in {HEALTH, READY}:
            _say(proto, "GET", 405, {"error": "only GET and HEAD"}, [("allow", "GET, HEAD")])
        else:
            _say(proto, "GET", 404, {"error": "not found"})

    def _answer_health(self, path: str, method: str, proto: Any) -> None:
        if path == HEALTH:
            _say(proto, method, 200, {"alive": True})
        elif path == READY:
            lacking = sorted(self._lacking())
            members: dict[str, Any] = {"ready": not lacking, "key_sets": len(self._served)}
            if lacking:
                members |= {"lacking": len(lacking), "without_document": lacking[:_LISTED]}
            _say(proto, method, 503 if lacking else 200, members)
        else:
            _say(proto, method, 404, {"error": "not found"})

    def _lacking(self) -> list[str]:
        """Return the key sets, and combined paths, without a document; a last good one is one."""
        names = [
            name
            for name, served in self._served.items()
            if served.page is None and served.refresh() is None
        ]
        together = [
            path
            for path, served in self._pages.items()
            if isinstance(served, ServedTogether)
            and served.page is None
            and served.refresh() is None
        ]
        return names + together


def _unchanged(page: Page, scope: Scope) -> bool:
    """Evaluate If-None-Match (RFC 9110 §13.1.2: weak comparison, a list, or `*`).

    If-Modified-Since is not evaluated, on purpose: two documents can be published within one second, and a
    clock can be set back, and then it would keep a verifier from a new key.
    """
    asked = scope.headers.get("if-none-match")
    if asked is None:
        return False
    if asked == page.etag:
        return True
    lines = [value for name, value in scope.headers.items() if name == "if-none-match"]
    tags = [tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")]
    return page.etag in tags or tags == ["*"]


def _say_none(served: Served | ServedTogether, method: str, proto: Any) -> None:
    if served.fault:
        # Not a 404: whoever looks must not take a file that cannot be served for "nothing there".
        # Why is for the log: it may name paths of this host.
        extra = [(DOCUMENT_HEADER.lower(), UNREADABLE), ("retry-after", "1")]
        _say(proto, method, 503, {"error": "no document to serve"}, extra)
    else:
        extra = [(DOCUMENT_HEADER.lower(), NO_DOCUMENT)]
        _say(proto, method, 404, {"error": "no document yet"}, extra)


def _say(
    proto: Any, method: str, status: int, members: dict[str, Any], extra: Headers | None = None
) -> None:
    body = json.dumps(members).encode() + b"\n"
    headers = [*_PLAIN, ("content-length", str(len(body))), *(extra or [])]
    if method == "HEAD":
        proto.response_empty(status, headers)
    else:
        proto.response_bytes(status, headers, body)
