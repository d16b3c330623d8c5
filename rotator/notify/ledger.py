"""What the receivers of one key set have confirmed, and the conditions that some were not told of yet. Pure.

Events of the ring need nothing but a cursor, for they are read off its history. A condition leaves no trace
there, so it is kept until each receiver that wants it has confirmed it. Every change is a function that
may be applied again to a ledger that somebody else wrote meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.notify.news import ENDED, SKIPPED, News, event_id, number_of
from rotator.ring_document import format_date

FORMAT: Final = "rotator.notify/1"

MOST: Final = 50
"""How many conditions are kept; beyond that the oldest become one event that counts them."""

_MOST_OPEN: Final = 50
_STALE: Final = timedelta(days=7)

Topic = tuple[str, str]
"""What can begin and end: an event and its target, empty for the key set itself."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a receiver is: the id of the last line that it confirmed, and when that was written down."""

    line: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Noted:
    """A condition that began or ended, and the receivers that have not confirmed it yet.

    `after` is the number of the history's last line then: that is its place among the events of the ring.
    """

    news: News
    after: int
    waits: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The delivery state of one key set.

    Attributes:
        revision: one up with each write.
        open: conditions that go on, each with the id of the event that said that it began.
        noted: in the order in which receivers are told.
    """

    key_set: str
    revision: int = 0
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    open: Mapping[Topic, str] = field(default_factory=dict)
    noted: tuple[Noted, ...] = ()

    def waiting(self, receiver: str) -> tuple[Noted, ...]:
        """Return the conditions that a receiver has not confirmed yet."""
        return tuple(item for item in self.noted if receiver in item.waits)


Change = Callable[[Ledger], Ledger]
"""Harmless when applied twice, to whichever ledger is there then."""


def begin(news: News, after: int, receivers: frozenset[str], *, lasting: bool) -> Change:
    """Return the change that a condition began; nothing when it goes on already.

    Args:
        lasting: it goes on until `end`; else it is told once and over.
    """
    topic = (news.event, news.target)

    def change(ledger: Ledger) -> Ledger:
        if lasting and topic in ledger.open:
            return ledger
        if lasting and len(ledger.open) < _MOST_OPEN:  # of those beyond, the end is not told
            ledger = replace(ledger, open={**ledger.open, topic: news.id})
        return _note(ledger, Noted(news, after, receivers))

    return change


def end(news: News, after: int, receivers: frozenset[str]) -> Change:
    """Return the change that a condition ended; nothing when it does not go on."""
    topic = (news.event, news.target)

    def change(ledger: Ledger) -> Ledger:
        begun = ledger.open.get(topic)
        if begun is None:
            return ledger
        left = {name: item for name, item in ledger.open.items() if name != topic}
        told = replace(news, id=event_id(begun, ENDED), about=begun)
        return _note(replace(ledger, open=left), Noted(told, after, receivers))

    return change


def confirm(receiver: str, noted: str) -> Change:
    """Return the change that a receiver confirmed a condition, by its id."""

    def change(ledger: Ledger) -> Ledger:
        after = tuple(
            replace(item, waits=item.waits - {receiver}) if item.news.id == noted else item
            for item in ledger.noted
        )
        return replace(ledger, noted=tuple(item for item in after if item.waits))

    return change


def advance(
    receiver: str, line: str, at: datetime, *, over: frozenset[str] = frozenset()
) -> Change:
    """Return the change that a receiver is done with the history up to a line; never back.

    Args:
        over: cursors that are of no use any more, for the ring that they were of is gone: from one of them
            every line is ahead.
    """

    def change(ledger: Ledger) -> Ledger:
        before = ledger.cursors.get(receiver)
        lost = before is not None and before.line in over
        if before is not None and not lost and number_of(before.line) >= number_of(line):
            return ledger
        return replace(ledger, cursors={**ledger.cursors, receiver: Cursor(line, at)})

    return change


def tidy(receivers: frozenset[str], now: datetime) -> Change:
    """Return the change that forgets receivers that are not configured, once nothing moved for a week.

    Another replica may still have the configuration that names them.
    """

    def change(ledger: Ledger) -> Ledger:
        old = {
            name
            for name, cursor in ledger.cursors.items()
            if name not in receivers and now - cursor.at > _STALE
        }
        cursors = {name: item for name, item in ledger.cursors.items() if name not in old}
        kept = [
            item for item in ledger.noted if item.waits & receivers or now - item.news.at <= _STALE
        ]
        if not old and len(kept) == len(ledger.noted):
            return ledger
        return replace(ledger, cursors=cursors, noted=tuple(kept))

    return change


def merged(ledger: Ledger, spare: Ledger) -> Ledger:
    """Return a ledger with what another one, kept while the first could not be written, has beside it."""
    for name, cursor in spare.cursors.items():
        ledger = advance(name, cursor.line, cursor.at)(ledger)
    known = {item.news.id: item for item in ledger.noted}
    for item in spare.noted:
        if item.news.id not in known:
            ledger = _note(ledger, item)
    return replace(ledger, open={**spare.open, **ledger.open})


def _note(ledger: Ledger, noted: Noted) -> Ledger:
    """Add a condition; without room, the two oldest become one event that says how many there were."""
    if not noted.waits or any(item.news.id == noted.news.id for item in ledger.noted):
        return ledger
    found = (*ledger.noted, noted)
    while len(found) > MOST:
        found = (_joined(found[0], found[1]), *found[2:])
    return replace(ledger, noted=found)


def _joined(one: Noted, other: Noted) -> Noted:
    count = sum(
        (item.news.count or 0) if item.news.event == SKIPPED else 1 for item in (one, other)
    )
    news = News(
        event_id(one.news.id, other.news.id),
        SKIPPED,
        one.news.key_set,
        one.news.at,
        reason="there was no room to keep more conditions for a receiver that does not answer",
        count=count,
    )
    return Noted(news, one.after, one.waits | other.waits)


def write_ledger(ledger: Ledger) -> bytes:
    """Return the bytes of a ledger; the same ledger gives the same bytes."""
    document = {
        "format": FORMAT,
        "key_set": ledger.key_set,
        "revision": ledger.revision,
        "receivers": {
            name: {"line": cursor.line, "at": format_date(cursor.at)}
            for name, cursor in ledger.cursors.items()
        },
        "open": [
            {"event": event, "target": target, "id": begun}
            for (event, target), begun in sorted(ledger.open.items())
        ],
        "noted": [
            {"news": item.news.data(), "after": item.after, "waits": sorted(item.waits)}
            for item in ledger.noted
        ],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_ledger(document: bytes, key_set: str) -> Ledger:
    """Return a ledger.

    Raises:
        ValueError: it is none, or one of another key set. Nothing of it is used then.
    """
    try:
        data: Any = json.loads(document)
        if data["format"] != FORMAT or data["key_set"] != key_set:
            raise ValueError("it is of another format, or of another key set")
        return Ledger(
            key_set,
            int(data["revision"]),
            {
                str(name): Cursor(str(item["line"]), _date(item["at"]))
                for name, item in data["receivers"].items()
            },
            {(str(item["event"]), str(item["target"])): str(item["id"]) for item in data["open"]},
            tuple(
                Noted(News.of(item["news"]), int(item["after"]), frozenset(map(str, item["waits"])))
                for item in data["noted"]
            ),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is none: {type(error).__name__}") from error


def _date(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a date has no time zone")
    return found


__all__ = [
    "FORMAT",
    "MOST",
    "Change",
    "Cursor",
    "Ledger",
    "Noted",
    "Topic",
    "advance",
    "begin",
    "confirm",
    "end",
    "merged",
    "read_ledger",
    "tidy",
    "write_ledger",
]
