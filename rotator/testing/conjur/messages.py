"""Requests and answers of the server, as values."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from rotator.testing.conjur.exchanges import Refused

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: method, address, headers (names in lower case), body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> list[str]:
        """The parts of the path, each decoded."""
        return [unquote(part) for part in urlsplit(self.target).path.split("/")[1:]]

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    body: bytes = b""
    type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, value: Any) -> Answer:
        """Return an answer in JSON."""
        return cls(status, json.dumps(value).encode("ascii"), JSON)

    @classmethod
    def error(cls, status: int, code: str, message: str, **more: Any) -> Answer:
        """Return an error in JSON."""
        return cls.of(status, {"error": {"code": code, "message": message, **more}})


def basic(request: Request) -> tuple[str, str]:
    """Return name and password of a request.

    Raises:
        Refused: it has none.
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    try:
        login, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise Refused from error
    if scheme != "Basic" or not colon:
        raise Refused
    return login, password


def not_found(name: str) -> Answer:
    """Return the answer for what does not exist, is empty, or is invisible."""
    kind = name.split(":", 2)[1].capitalize() if name.count(":") > 1 else "Resource"
    return Answer.error(404, "not_found", f"CONJ00076E {kind} {name} is empty or not found.")


def read_only() -> Answer:
    """Return the answer of a follower to a write."""
    return Answer.of(405, {"error": {"code": 405, "message": "Write operations are not allowed"}})
