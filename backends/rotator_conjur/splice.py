"""What stands in the variables of documents: the document itself, with one member of ours where it is JSON.

Whoever reads a document reads the latest value of its variable, so JSON stays JSON: a member `rotator` is put textually
before the last brace, and cut out again on reading, which gives back the exact bytes. RFC 7517 §5 lets readers of a
JWKS ignore members that they do not know. Anything else is kept as base64 in an envelope.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rotator_conjur.envelopes import decode, load, whole

FORMAT: Final = "rotator.conjur-document/1"

# At the very end, so that nothing of the document can be taken for it.
_MEMBER: Final = re.compile(rb'(,?)"rotator":(\{[^{}]*\})(\}\s*)\Z')
_EMPTY: Final = re.compile(rb"\{\s*\Z")


@dataclass(frozen=True, slots=True)
class Written:
    """One version of a document; foreign if it has no `expects`.

    Attributes:
        body: the document; None for the word that there is none.
        raw: the value as it stands in the variable.
    """

    raw: bytes = field(repr=False)
    body: bytes | None = field(repr=False)
    expects: int | None = None
    nonce: str = ""
    key_set: str | None = None
    revision: int | None = None
    max_age: int | None = None
    stale: int | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two versions the same document."""
        return (self.body, self.key_set, self.revision, self.max_age, self.stale)

    def dump(self) -> bytes:
        """Return the value to store."""
        members: dict[str, object] = {
            name: value
            for name, value in (
                ("format", FORMAT),
                ("key_set", self.key_set),
                ("revision", self.revision),
                ("max_age", self.max_age),
                ("stale", self.stale),
                ("expects", self.expects),
                ("nonce", self.nonce),
            )
            if value is not None
        }
        body = b"{}" if self.body is None else self.body
        if self.body is None:
            members["gone"] = True
        spliced = _spliced(body, members)
        if spliced is not None:
            return spliced
        members["body"] = base64.b64encode(body).decode("ascii")
        return b'{"rotator":' + _member(members) + b"}"


def parse(value: bytes) -> Written:
    """Return the document in a value; foreign, with the value as its body, when it is not of our writing."""
    found = _MEMBER.search(value)
    members = {} if found is None else load(found[2])
    expects = whole(members.get("expects"))
    if found is None or members.get("format") != FORMAT or expects is None:
        return Written(value, value)
    body: bytes | None = value[: found.start()] + found[3]
    if "body" in members:
        body = decode(members["body"])
        if body is None:
            return Written(value, value)
    elif members.get("gone") is True:
        body = None
    return _written(value, body, expects, members)


def _written(value: bytes, body: bytes | None, expects: int, members: Mapping[str, Any]) -> Written:
    key_set, nonce = members.get("key_set"), members.get("nonce")
    return Written(
        value,
        body,
        expects,
        nonce if isinstance(nonce, str) else "",
        key_set if isinstance(key_set, str) else None,
        whole(members.get("revision")),
        whole(members.get("max_age")),
        whole(members.get("stale")),
    )


def _member(members: Mapping[str, object]) -> bytes:
    """Return our member as JSON in which no brace stands but its own two."""
    text = json.dumps(members, separators=(",", ":"))[1:-1]
    return b"{" + text.replace("{", "\\u007b").replace("}", "\\u007d").encode("ascii") + b"}"


def _spliced(body: bytes, members: Mapping[str, object]) -> bytes | None:
    """Return a JSON object with our member as its last; None where that cannot be undone, or is no JSON object."""
    before, brace, after = body.rpartition(b"}")
    if not brace or after.strip():
        return None
    found = load(body)
    if (not found and not _EMPTY.match(before)) or "rotator" in found:
        return None
    comma = b"" if not found else b","
    spliced = before + comma + b'"rotator":' + _member(members) + b"}" + after
    undone = parse(spliced)
    return spliced if undone.body == (None if "gone" in members else body) else None
