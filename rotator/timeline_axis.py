"""Round dates for the axis of a timeline. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_UNITS: Final = (
    *(timedelta(seconds=n) for n in (1, 5, 15, 30)),
    *(timedelta(minutes=n) for n in (1, 5, 15, 30)),
    *(_HOUR * n for n in (1, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14)),
)
_MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120)
_EPOCH: Final = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday: weeks begin there


def marks(begin: datetime, end: datetime, most: int) -> tuple[tuple[datetime, str], ...]:
    """Return round dates within a time, each with its name: for the axis of a picture.

    Args:
        most: how many there is room for.
    """
    for unit in _UNITS:
        if (end - begin) / unit <= most:
            first = begin + (_EPOCH - begin) % unit
            count = int((end - first) / unit) + 1 if first <= end else 0
            dates = [first + unit * n for n in range(count)]
            return tuple((date, _named(date, unit)) for date in dates)
    for months in _MONTHS:
        if (end - begin) / (months * 30 * _DAY) <= most:
            break
    found = (
        datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        for number in range(begin.year * 12, end.year * 12 + 12, months)
    )
    return tuple((date, _month(date)) for date in found if begin <= date <= end)


def _named(date: datetime, unit: timedelta) -> str:
    if unit < timedelta(minutes=1):
        return f"{date:%H:%M:%S}"
    if unit < _DAY and (date.hour or date.minute):
        return f"{date:%H:%M}"
    return f"{date.day} {date:%b}"


def _month(date: datetime) -> str:
    return f"{date:%Y}" if date.month == 1 else f"{date:%b}"
