"""The RSGI application: a table of paths, GET and HEAD, and nothing that a request could steer to a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rotator.publication.headers import MEDIA_TYPE, PLAIN_JSON
from rotator.publication.server import (
    DOCUMENT_HEADER,
    NO_DOCUMENT,
    UNREADABLE,
    public_file,
)
from rotator.server.discovery import Discovered
from rotator.server.served import Headers, Page, Report, Served, ServedTogether
from rotator.server.site import HEALTH, READY, WELL_KNOWN, Site

if TYPE_CHECKING:
    from granian.rsgi import Scope

_LISTED: Final = 100  # key sets named in one answer of /readyz
_CLOSE: Final = [("connection", "close")]

_PLAIN: Final[Headers] = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("access-control-allow-origin", "*"),
    ("x-content-type-options", "nosniff"),
    ("server", "rotator"),
]
# A page in a browser that asks with a header of its own, such as If-None-Match, asks first whether it may
# (Fetch, "CORS-preflight fetch"). Everything here is public, and nothing depends on who asks.
_PREFLIGHT: Final[Headers] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, HEAD"),
    ("access-control-allow-headers", "*"),
    ("access-control-max-age", "86400"),
    ("allow", "GET, HEAD, OPTIONS"),
    ("cache-control", "no-store"),
    ("server", "rotator"),
]

_Served = Served | ServedTogether | Discovered


class App:
    """Serves a site.

    Every file is read once before the first request, so that a file which goes bad later has a last good
    one to fall back on.
    """

    def __init__(self, site: Site, report: Report) -> None:
        self.leaving = False
        """Whether each answer tells its client to close the connection, for this process is about to end."""
        self.answered = 0
        """How many requests were answered: a sign of life."""
        self._served = {
            key_set: Served(
                public_file(site.public_dir, key_set),
                key_set,
                report,
                PLAIN_JSON if key_set in site.json else MEDIA_TYPE,
            )
            for key_set in site.key_sets
        }
        self._pages: dict[str, _Served] = {
            path: self._served[key_set] for path, key_set in site.paths()
        }
        for path, key_sets in site.combine.items():
            parts = {key_set: self._served[key_set] for key_set in key_sets}
            self._pages[path] = ServedTogether(path, parts, report)
        self._hosted: dict[tuple[str, str], _Served] = {}
        self._add_discoveries(site)
        for served in self._pages.values():
            served.fresh()

    def _add_discoveries(self, site: Site) -> None:
        for item in site.discoveries():
            served = self._served[item.key_set]
            if item.host is None:
                self._pages.setdefault(item.path, Discovered(item, served))
            else:
                self._hosted[item.host, item.path] = Discovered(item, served)
                if WELL_KNOWN not in site.combine:
                    self._hosted[item.host, WELL_KNOWN] = served
        self._paths_by_host = {path for _, path in self._hosted}

    async def __rsgi__(self, scope: Scope, proto: Any) -> None:
        """Answer one request, as granian's own scheduler calls it."""
        self.answer(scope, proto)

    def answer(self, scope: Scope, proto: Any) -> None:
        """Answer one request. Never waits for anything, so no event loop has to be asked."""
        self.answered += 1
        path, method = scope.path, scope.method
        headers: Any = scope.headers  # granian's stubs leave `get_all` out, which RSGI has
        hosts = headers.get_all("host")
        if len(hosts) != 1 and (hosts or scope.http_version == "1.1"):  # RFC 9112 §3.2
            self._say(proto, method, 400, {"error": "one Host, and no more"}, _CLOSE)
            return
        served = self._pages.get(path)
        if path in self._paths_by_host:
            served = self._hosted.get((_host(scope), path), served)
        if method != "GET" and method != "HEAD":  # noqa: PLR1714 - measured: a set costs more
            self._answer_other(
                method, known=served is not None or path in {HEALTH, READY}, to=proto
            )
        elif served is None:
            self._answer_health(path, method, proto)
        elif (page := served.fresh()) is None:
            self._say_none(served, method, proto)
        elif _unchanged(page, headers):
            proto.response_empty(304, self._last(page.unmodified))
        elif method == "HEAD":
            proto.response_empty(200, self._last(page.full))
        else:
            proto.response_bytes(200, self._last(page.full), page.body)

    def _last(self, headers: Headers) -> Headers:
        return headers + _CLOSE if self.leaving else headers

    def _answer_other(self, method: str, *, known: bool, to: Any) -> None:
        if not known:
            self._say(to, "GET", 404, {"error": "not found"})
        elif method == "OPTIONS":
            to.response_empty(204, self._last(_PREFLIGHT))
        else:
            allow = [("allow", "GET, HEAD, OPTIONS")]
            self._say(to, "GET", 405, {"error": "only GET, HEAD and OPTIONS"}, allow)

    def _answer_health(self, path: str, method: str, proto: Any) -> None:
        if path == HEALTH:
            self._say(proto, method, 200, {"alive": True})
        elif path == READY:
            lacking = sorted(self._lacking())
            members: dict[str, Any] = {"ready": not lacking, "key_sets": len(self._served)}
            if lacking:
                members |= {"lacking": len(lacking), "without_document": lacking[:_LISTED]}
            self._say(proto, method, 503 if lacking else 200, members)
        else:
            self._say(proto, method, 404, {"error": "not found"})

    def _lacking(self) -> list[str]:
        """Return the key sets, and combined paths, without a document; a last good one is one."""
        names = [
            name
            for name, served in self._served.items()
            if served.page is None and served.fresh() is None
        ]
        together = [
            path
            for path, served in self._pages.items()
            if isinstance(served, ServedTogether) and served.page is None and served.fresh() is None
        ]
        return names + together

    def _say_none(self, served: _Served, method: str, proto: Any) -> None:
        if served.fault:
            # Not a 404: whoever looks must not take a file that cannot be served for "nothing there".
            # Why is for the log: it may name paths of this host.
            extra = [(DOCUMENT_HEADER.lower(), UNREADABLE), ("retry-after", "1")]
            self._say(proto, method, 503, {"error": "no document to serve"}, extra)
        else:
            extra = [(DOCUMENT_HEADER.lower(), NO_DOCUMENT)]
            self._say(proto, method, 404, {"error": "no document yet"}, extra)

    def _say(
        self,
        proto: Any,
        method: str,
        status: int,
        members: dict[str, Any],
        extra: Headers | None = None,
    ) -> None:
        body = json.dumps(members).encode() + b"\n"
        headers = self._last([*_PLAIN, ("content-length", str(len(body))), *(extra or [])])
        if method == "HEAD":
            proto.response_empty(status, headers)
        else:
            proto.response_bytes(status, headers, body)


def _host(scope: Scope) -> str:
    """Return what the client calls this host, as `Discovery.host` is written; X-Forwarded-Host is not read."""
    named = scope.authority or scope.headers.get("host") or ""
    return str(named).lower()


def _unchanged(page: Page, headers: Any) -> bool:
    """Evaluate If-None-Match (RFC 9110 §13.1.2: weak comparison, a list, or `*`).

    If-Modified-Since is not evaluated, on purpose: two documents can be published within one second, and a
    clock can be set back, and then it would keep a verifier from a new key.
    """
    asked = headers.get("if-none-match")
    if asked is None:
        return False
    if asked == page.etag:
        return True
    lines = [value for name, value in headers.items() if name == "if-none-match"]
    tags = [tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")]
    return page.etag in tags or tags == ["*"]
