"""What one receiver is to be told next of one key set. Pure; the model of `tests/notify` drives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.notify.ledger import Change, Ledger, Noted, advance, confirm
from rotator.notify.news import (
    FRESH,
    SKIPPED,
    News,
    Unread,
    event_id,
    number_of,
    of_line,
    unread,
)
from rotator.ring import HISTORY_LIMIT, Entry, numbered
from rotator.settings.result import ReceiverSettings

_LATELY: Final = timedelta(hours=1)
_DANGER: Final = HISTORY_LIMIT // 4  # lines that may still be dropped before a cursor's own


@dataclass(frozen=True, slots=True)
class Due:
    """One event that a receiver is to be told, and what is changed in the ledger once it was."""

    news: News
    done: Change


@dataclass(frozen=True, slots=True)
class Page:
    """The history of a ring as it was last seen; nothing in it once everybody is done with it.

    Attributes:
        since: where a receiver begins that never confirmed anything.
        last: the number of the last line.
    """

    history: tuple[Entry, ...] = ()
    since: datetime | None = None
    last: int = 0

    @classmethod
    def of(cls, key_set: str, history: Sequence[Entry], now: datetime, *, suspicious: bool) -> Page:
        """Return the page of a ring.

        Args:
            suspicious: the clock is: then the ring's last date is the time, for none is set after it.
        """
        lines = numbered(key_set, tuple(history))
        if not lines:
            return cls((), now - FRESH)
        latest = lines[-1].at if suspicious else now
        return cls(lines, min(latest, now) - FRESH, lines[-1].number)


def due(ledger: Ledger, page: Page, receiver: ReceiverSettings, now: datetime) -> Iterator[Due]:
    """Yield what a receiver has not confirmed, in the order in which it is told.

    Args:
        now: the date of the cursor.
    """
    name = receiver.name
    left = _unread(ledger, page, receiver, now)
    cursor = ledger.cursors.get(name)
    if left.skipped != 0 and cursor is not None:
        news = News(
            event_id(ledger.key_set, name, cursor.line, left.begin),
            SKIPPED,
            ledger.key_set,
            now,
            reason="these lines left the history of the ring before they were confirmed",
            count=left.skipped,
        )
        yield Due(news, advance(name, left.begin, now, over=frozenset({cursor.line})))
    noted = list(ledger.waiting(name))
    for line in left.lines:
        told = of_line(ledger.key_set, line)
        if told is None or not receiver.wants(told.event, ledger.key_set):
            continue
        while noted and noted[0].after < line.number:
            yield _of_noted(name, noted.pop(0))
        yield Due(told, advance(name, line.id, now))
    for item in noted:
        yield _of_noted(name, item)


def begin_of(
    ledger: Ledger, page: Page, receiver: ReceiverSettings, now: datetime
) -> Change | None:
    """Return the change that writes down where a receiver begins that never confirmed anything.

    Once it is behind it must not begin anew after a restart, when what it was not told is older.
    """
    if receiver.name in ledger.cursors or not page.history:
        return None
    return advance(receiver.name, _unread(ledger, page, receiver, now).begin, now)


def past(ledger: Ledger, page: Page, receiver: ReceiverSettings, now: datetime) -> Change | None:
    """Return the change that moves a cursor over lines that its receiver does not ask for.

    Only before they leave the history, for then nobody could tell any more that nothing was missed.
    """
    cursor = ledger.cursors.get(receiver.name)
    if cursor is None or not page.history:
        return None
    ahead = number_of(cursor.line) - page.history[0].number
    if ahead >= _DANGER or page.history[0].number == 1:
        return None
    if next(due(ledger, page, receiver, now), None) is not None:
        return None
    return advance(receiver.name, page.history[-1].id, now)


def _unread(ledger: Ledger, page: Page, receiver: ReceiverSettings, now: datetime) -> Unread:
    cursor = ledger.cursors.get(receiver.name)
    if page.since is None or not page.history:
        return Unread((), "" if cursor is None else cursor.line)
    if cursor is None:
        return unread(ledger.key_set, page.history, None, page.since)
    # Another replica's page may be newer than ours, but not for long: we tick too.
    lately = now - cursor.at < _LATELY
    return unread(ledger.key_set, page.history, cursor.line, page.since, moved_lately=lately)


def _of_noted(receiver: str, item: Noted) -> Due:
    return Due(item.news, confirm(receiver, item.news.id))
