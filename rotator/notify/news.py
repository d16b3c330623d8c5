"""What is told: events of the ring, read off its history, and conditions that a tick saw. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rotator.ring import Entry, numbered
from rotator.ring_document import format_date

FORMAT: Final = "rotator.event/1"

FRESH: Final = timedelta(days=1)
"""A receiver that never confirmed anything begins with the lines of this last time."""

_LONGEST: Final = 500  # characters of a reason
_RESTORED: Final = "order.restore"


class Event(StrEnum):
    """What a receiver may ask for."""

    ANNOUNCED = "announced"
    PROMOTED = "promoted"
    SUPERSEDED = "superseded"
    RETIRED = "retired"
    REVOKED = "revoked"
    FAILED = "failed"
    OVERDUE = "overdue"
    DRIFT = "drift"


SKIPPED: Final = "skipped"
"""What was not kept for a receiver that was behind for too long: told to it whatever it asked for."""

TEST: Final = "test"
"""What `rotator notify --test` sends."""

BEGUN: Final = "begun"
ENDED: Final = "ended"

_OF_LINES: Final[Mapping[str, Event]] = {
    "key.announced": Event.ANNOUNCED,
    "key.promoted": Event.PROMOTED,
    "key.adopted": Event.PROMOTED,
    "key.superseded": Event.SUPERSEDED,
    "key.retired": Event.RETIRED,
    "key.revoked": Event.REVOKED,
}


@dataclass(frozen=True, slots=True)
class News:
    """One event.

    Attributes:
        id: the same in every delivery of this event, whoever makes it: the receiver's idempotency key.
        event: one of `Event`, or `skipped`, or `test`.
        state: of `failed` and `overdue`, whether it has begun or ended; else empty.
        about: of a condition that ended, the id of the event that said that it began.
        target: of `failed` and `drift`, which target; empty for the key set itself.
        count: of `skipped`, how many there were at most; None when nobody knows.
    """

    id: str
    event: str
    key_set: str
    at: datetime
    kid: str = ""
    reason: str = ""
    state: str = ""
    about: str = ""
    target: str = ""
    count: int | None = None

    def data(self) -> dict[str, Any]:
        """Return it as JSON values, without what is empty."""
        found: dict[str, Any] = {
            "format": FORMAT,
            "id": self.id,
            "event": self.event,
            "key_set": self.key_set,
            "at": format_date(self.at),
            "kid": self.kid,
            "reason": self.reason,
            "state": self.state,
            "about": self.about,
            "target": self.target,
            "count": self.count,
        }
        return {name: value for name, value in found.items() if value not in ("", None)}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> News:
        """Return what `data` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is nothing of that kind.
        """
        count = data.get("count")
        texts = (str(data.get(n, "")) for n in ("kid", "reason", "state", "about", "target"))
        kid, reason, state, about, target = texts
        return cls(
            str(data["id"]),
            str(data["event"]),
            str(data["key_set"]),
            datetime.fromisoformat(data["at"]),
            kid,
            reason,
            state,
            about,
            target,
            None if count is None else int(count),
        )


def body_of(news: News) -> bytes:
    """Return an event as the JSON document that hooks and generic webhooks are given.

    `type`, `timestamp` and `data` are what Standard Webhooks asks for.
    """
    document = {"type": news.event, "timestamp": format_date(news.at), "data": news.data()}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def event_id(*parts: str) -> str:
    """Return the id of an event that these words, and no others, name."""
    return f"evt_{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:24]}"


def shorten(reason: str) -> str:
    """Return a reason on one line, bounded."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def of_line(key_set: str, line: Entry) -> News | None:
    """Return the event that a line of the history tells; None for a line that tells none."""
    event = _OF_LINES.get(line.event)
    if event is None:
        return None
    return News(
        event_id(key_set, line.id), event.value, key_set, line.at, line.kid, shorten(line.reason)
    )


@dataclass(frozen=True, slots=True)
class Unread:
    """What comes after a cursor.

    Attributes:
        begin: the cursor as it is now known: of one that was nowhere, where the lines begin.
        skipped: lines that left the history unread; None when there were some and nobody knows how many.
    """

    lines: tuple[Entry, ...]
    begin: str
    skipped: int | None = 0


def unread(
    key_set: str,
    history: Sequence[Entry],
    cursor: str | None,
    since: datetime,
    *,
    moved_lately: bool = False,
) -> Unread:
    """Return the lines of a history after a cursor.

    Args:
        cursor: the id of the last line that was confirmed, None when none ever was.
        since: where such a receiver begins: with the first line that is not older.
        moved_lately: somebody who saw a later ring than this one may have moved the cursor.
    """
    lines = numbered(key_set, tuple(history))
    if not lines:
        return Unread((), cursor or "0.")
    if cursor is None:
        fresh = next((n for n, line in enumerate(lines) if line.at >= since), len(lines))
        return _after(lines, fresh)
    for place in range(len(lines) - 1, -1, -1):
        if lines[place].id == cursor:
            return _after(lines, place + 1)
    missing = lines[0].number - 1 - number_of(cursor)
    if missing >= 0:  # the line before those that are left, or an earlier one
        return Unread(lines, f"{lines[0].number - 1}.", missing)
    if moved_lately and number_of(cursor) > lines[-1].number:
        return Unread((), cursor)
    # Not these lines' ring: a backup was put back, or a first run followed a lost ring.
    restored = [n for n, line in enumerate(lines) if line.event == _RESTORED]
    found = _after(lines, restored[-1] if restored else 0)
    return Unread(found.lines, found.begin, None)


def number_of(cursor: str) -> int:
    """Return which line of its key set a cursor names, counted from 1; 0 for the place before the first."""
    digits = cursor.partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _after(lines: tuple[Entry, ...], place: int) -> Unread:
    begin = lines[place - 1].id if place else f"{lines[0].number - 1}."
    return Unread(lines[place:], begin)
