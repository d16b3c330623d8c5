"""Durations as configurations write them: `90d`, `1h30m`, `15m`, `250ms`.

A bare number has no unit and is refused: 15 could be seconds, minutes or days, and a wrong guess would
break tokens. So is `12:30`, which YAML 1.1 once read as 750.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from rotator.policy import format_duration

LONGEST: Final = timedelta(days=36_500)
"""A hundred years; a longer duration is a typing mistake, and would overflow dates."""

PATTERN: Final = r"^(?=.)(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m(?!s))?(\d{1,9}s)?(\d{1,9}ms)?$"
"""The same syntax as a regular expression, for the JSON Schema."""

_WHOLE: Final = re.compile(PATTERN, re.ASCII)
_PART: Final = re.compile(r"(\d+)(ms|[dhms])", re.ASCII)
_UNIT: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SPELLINGS: Final = (
    ("milliseconds?|millis|msecs?", "ms", 1),
    ("seconds?|secs?", "s", 1),
    ("minutes?|mins?", "m", 1),
    ("hours?|hrs?", "h", 1),
    ("days?", "d", 1),
    ("weeks?|wks?|w", "d", 7),
    ("months?|mo", "d", 30),
    ("years?|yrs?|y", "d", 365),
)


def parse_duration(value: object) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: it is not one; the text says which spelling works.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError(_without_unit(value))  # noqa: TRY004  # what pydantic understands
    text = value.strip()
    if not _WHOLE.match(text):
        raise ValueError(_misspelt(text))
    # Nine digits of days are more than a timedelta holds.
    try:
        total = sum((int(count) * _UNIT[unit] for count, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        total = timedelta.max
    if total > LONGEST:
        raise ValueError(f"{text!r} is more than a hundred years; the longest duration is `36500d`")
    return total


def _without_unit(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            return f"{value!r} is negative; durations are `0s` or longer"
        return f"{value!r} has no unit; write `{_number(value)}s` if seconds are meant, or `15m`, `24h`, `90d`"
    return f"a duration is text with a unit, such as `15m` or `90d`, not {_kind(value)}"


def _misspelt(text: str) -> str:
    shown = repr(text)
    if len(shown) > 50:  # escapes may make it four times as long as the text
        shown = f"{shown[:48]}…'"
    if text.startswith("-"):
        return f"{shown} is negative; durations are `0s` or longer"
    if re.fullmatch(r"\d+", text):
        return _without_unit(int(text)) if len(text) < 12 else f"{shown} has no unit"
    if colons := re.fullmatch(r"(\d{1,4}):(\d{1,2})(?::(\d{1,2}))?", text):
        hours, minutes, seconds = (int(part or 0) for part in colons.groups())
        meant = format_duration(timedelta(hours=hours, minutes=minutes, seconds=seconds))
        return f"{shown} is a time of day, not a duration; write `{meant}`"
    if working := _respelt(text):
        return f"{shown} is not a duration; write `{working}`"
    return f"{shown} is not a duration; write units from large to small, such as `90d`, `1h30m`, `250ms`"


def _respelt(text: str) -> str:
    """Return what `2 weeks`, `1.5h` or `1H` would be in our spelling, or nothing."""
    lowered = re.sub(r"[\s,_]+", "", text.lower())
    total = timedelta()
    rest = lowered
    while rest:
        found = re.match(r"(\d{1,6}(?:\.\d{1,3})?)([a-z]+)", rest, re.ASCII)
        size = _size(found[2]) if found else None
        if found is None or size is None:
            return ""
        total += float(found[1]) * size
        rest = rest[found.end() :]
    return format_duration(total) if timedelta() < total <= LONGEST else ""


def _size(unit: str) -> timedelta | None:
    if unit in _UNIT:
        return _UNIT[unit]
    for pattern, base, factor in _SPELLINGS:
        if re.fullmatch(pattern, unit):
            return factor * _UNIT[base]
    return None


def _number(value: float) -> str:
    return str(int(value)) if abs(value) < 1e9 and value == int(value) else "90"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"
