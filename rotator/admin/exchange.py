"""One request and one answer: what a connection to the admin listener may say, and what it is told.

A request with a body, or one that follows another in the same connection, is not understood, on purpose:
each connection ends after one answer (RFC 9112 §9.6), so there is nothing that could be smuggled. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

LIMIT: Final = 8192
"""Bytes of a request's head."""

END: Final = b"\r\n\r\n"

_LINE: Final = re.compile(
    rb"(?P<method>[A-Z]{1,16}) (?:https?://[!-.0-~]{1,255})?(?P<path>/[!-~]{0,1024}|\*) HTTP/1\.(?P<minor>[01])"
)
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([\t -~\x80-\xff]*)")

_PHRASES: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What is sent back: the status, the type of the content, the content, and fields of its own."""

    status: int
    content_type: str
    body: bytes
    fields: tuple[tuple[str, str], ...] = ()


Route = Callable[[], Answer]


class Request(NamedTuple):
    """What was asked for; `route` is None when the answer is known already."""

    head: bool
    route: Route | None
    refusal: Answer | None


def said(status: int, members: Mapping[str, Any]) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, "application/json", json.dumps(members).encode() + b"\n")


BAD_REQUEST: Final = said(400, {"error": "not a request of HTTP/1.1"})
NOT_FOUND: Final = said(404, {"error": "not found"})
NOT_ALLOWED: Final = said(405, {"error": "only GET and HEAD"})
TOO_LATE: Final = said(408, {"error": "the request took too long"})
TOO_LARGE: Final = said(431, {"error": f"more than {LIMIT} bytes of headers"})
BROKEN: Final = said(503, {"error": "cannot be told now; the log says why"})


def understood(head: bytes, routes: Mapping[str, Route]) -> Request:
    """Return what a request's head asks for; nothing of it is ever sent back.

    Sources: RFC 9112 §3 (request line), §3.2 (one Host), §3.2.2 (absolute form), §5 (fields).

    Args:
        head: all before the empty line.
        routes: by path.
    """
    line, *fields = head.split(b"\r\n")
    found = _LINE.fullmatch(line)
    names = [name[1].lower() for name in map(_FIELD.fullmatch, fields) if name is not None]
    if found is None or len(names) != len(fields):
        return Request(False, None, BAD_REQUEST)
    hosts = names.count(b"host")
    if hosts > 1 or (not hosts and found["minor"] == b"1"):
        return Request(False, None, BAD_REQUEST)
    method = found["method"]
    if method not in {b"GET", b"HEAD"}:
        return Request(False, None, NOT_ALLOWED)
    path = found["path"].partition(b"?")[0].decode("ascii")
    route = routes.get(path)
    return Request(method == b"HEAD", route, NOT_FOUND if route is None else None)


def rendered(answer: Answer, *, head: bool) -> bytes:
    """Return the bytes of an answer; without the content for a HEAD."""
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.fields),
    ]
    if answer.status == 405:
        lines.append("Allow: GET, HEAD")
    start = "\r\n".join([*lines, "", ""]).encode("ascii")
    return start if head else start + answer.body
