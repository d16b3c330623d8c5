"""Change windows: when a key may be replaced by the next. Pure: the time is handed in.

A window is open at an instant when the clock on the wall of its time zone then shows a time within its
hours, on one of its days, and that day is in no freeze. Everything else follows from this one sentence: an
hour that a DST change leaves out opens nothing, an hour that comes twice is open twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

JITTER: Final = timedelta(hours=1)
"""Within this time after an opening, and at most within its first half, each key set has its own moment."""

NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Stands for the opening of windows that never open; a configuration with such windows is refused."""

DAY_MINUTES: Final = 24 * 60
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FURTHEST: Final = timedelta(days=3660)
_LONG: Final = timedelta(days=2)  # an opening as long as this need not be measured to its end

Hours = tuple[int, int]
"""From the first to before the second of two minutes of a day."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Hours that are open on some days of each week.

    Attributes:
        weekdays: on which days they begin; 0 is Monday.
        begins, ends: minutes after midnight; where the end is not after the beginning, it is on the next day.
    """

    weekdays: tuple[int, ...]
    begins: int = 0
    ends: int = DAY_MINUTES

    @property
    def length(self) -> timedelta:
        """How long they are on a day without a DST change."""
        past_midnight = DAY_MINUTES if self.ends <= self.begins else 0
        return (self.ends + past_midnight - self.begins) * _MINUTE

    def hours(self, weekday: int) -> Iterator[Hours]:
        """Yield what is open on a day of the week."""
        if self.ends > self.begins:
            if weekday in self.weekdays:
                yield self.begins, self.ends
            return
        if weekday in self.weekdays:
            yield self.begins, DAY_MINUTES
        if (weekday - 1) % 7 in self.weekdays and self.ends:
            yield 0, self.ends


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days on which no window opens, the first and the last among them.

    Both are (year, month, day), or both (month, day): then it comes every year, maybe over its end.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    reason: str = ""

    @property
    def yearly(self) -> bool:
        """True when it comes every year."""
        return len(self.first) == 2

    def covers(self, day: date) -> bool:
        """Tell whether a day is in it."""
        at = (day.month, day.day) if self.yearly else (day.year, day.month, day.day)
        if self.first <= self.last:
            return self.first <= at <= self.last
        return at >= self.first or at <= self.last


class Stretch(NamedTuple):
    """A time without interruption."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it lasts."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Windows:
    """The change windows of a key set.

    Attributes:
        openings: what is open in each week; none means always, but for the freezes.
        zone: an IANA time zone.
    """

    openings: tuple[Opening, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    zone: str = "UTC"

    def is_open(self, at: datetime) -> bool:
        """Tell whether a window is open at an instant: what the clock on the wall says."""
        local = at.astimezone(zone_of(self.zone))
        minute = 60 * local.hour + local.minute
        return any(begins <= minute < ends for begins, ends in self._hours(local.date()))

    def next_open(self, now: datetime) -> datetime:
        """Return the first instant from `now` on at which a window is open; `NEVER` if there is none."""
        for stretch in self.stretches(now, now):
            if stretch.end > now:
                return max(stretch.start, now)
        return NEVER

    def moment(self, due: datetime, now: datetime, key_set: str, margin: timedelta) -> datetime:
        """Return the first instant from `now` on at which a key set may replace a key that is due.

        At once where a window was open at `due`; else within the next window at this key set's own moment,
        so that a thousand of them do not all come when it opens.

        Args:
            due: since when the key is to be replaced and may be.
            margin: how long before the end of a window nothing is begun any more, so that it is also
                written inside.

        Returns:
            `NEVER` if there is none.
        """
        earliest = max(due, now)
        for stretch in self.stretches(due, earliest + margin):
            last = stretch.end - margin
            if last <= max(stretch.start, earliest):
                continue
            begins = due
            if stretch.start > due:
                begins = stretch.start + jitter(key_set, last - stretch.start)
            return max(begins, now)
        return NEVER

    def stretches(self, since: datetime, enough: datetime) -> Iterator[Stretch]:
        """Yield the open times in order, from the UTC day of `since` on, at whose beginning the first may be cut.

        One that is long and reaches beyond `enough` is not measured to its end: what follows begins there.
        Nothing is yielded after ten years.
        """
        day = max(since, _FIRST).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        final = min(max(since, enough) + _FURTHEST, NEVER)
        open_now: Stretch | None = None
        while day < final:
            for start, end in self._on(day):
                if open_now is None or start > open_now.end:
                    if open_now is not None:
                        yield open_now
                    open_now = Stretch(start, end)
                else:
                    open_now = Stretch(open_now.start, end)
                if open_now.end > enough and open_now.length > _LONG:
                    yield open_now
                    open_now = None
            day += _DAY
            # Closed at midnight: nothing that follows can belong to it.
            if open_now is not None and open_now.end < day:
                yield open_now
                open_now = None
        if open_now is not None:
            yield open_now

    def _on(self, day: datetime) -> Iterator[Stretch]:
        """Yield what is open within one day of UTC."""
        zone = zone_of(self.zone)
        for start, end, offset in _constant(zone, day, day + _DAY):
            wall, until = (start + offset).replace(tzinfo=None), (end + offset).replace(tzinfo=None)
            midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
            while midnight < until:
                for begins, ends in self._hours(midnight.date()):
                    low = max(wall, midnight + begins * _MINUTE)
                    high = min(until, midnight + ends * _MINUTE)
                    if low < high:
                        yield Stretch(start + (low - wall), start + (high - wall))
                midnight += _DAY

    def _hours(self, day: date) -> list[Hours]:
        """Return what the clock on the wall shows while a window is open on a day, in order."""
        if any(freeze.covers(day) for freeze in self.freezes):
            return []
        if not self.openings:
            return [(0, DAY_MINUTES)]
        return list(_week(self.openings)[day.weekday()])


def jitter(key_set: str, room: timedelta) -> timedelta:
    """Return how long after an opening a key set has its moment: whole seconds, the same for ever.

    Args:
        room: the time in which something may be begun.
    """
    share = int.from_bytes(hashlib.sha256(key_set.encode()).digest()[:8], "big") / 2**64
    return share * min(room / 2, JITTER) // _SECOND * _SECOND


def zone_of(name: str) -> tzinfo:
    """Return a time zone.

    Raises:
        KeyError, ValueError, OSError: there is none of that name.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


@lru_cache(maxsize=64)
def _week(openings: tuple[Opening, ...]) -> tuple[tuple[Hours, ...], ...]:
    """Return what is open on each day of the week, in order and without overlaps."""
    days = []
    for weekday in range(7):
        merged: list[Hours] = []
        for begins, ends in sorted(
            hours for opening in openings for hours in opening.hours(weekday)
        ):
            if merged and begins <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
            else:
                merged.append((begins, ends))
        days.append(tuple(merged))
    return tuple(days)


def _constant(
    zone: tzinfo, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut a day of UTC into parts in which the zone's offset stays the same."""
    before = _offset(zone, start)
    if _offset(zone, end - _SECOND) == before:
        yield start, end, before
        return
    low, high = start, end - _SECOND  # the change is after the one and not after the other
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    yield start, high, before
    yield from _constant(zone, high, end)


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
