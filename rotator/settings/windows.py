"""`windows:` of a configuration: its shape, how its values are written, and what is shown of it again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from rotator import windows
from rotator.settings.faults import nearest
from rotator.settings.values import Text

_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = r"([01]\d|2[0-4]):([0-5]\d)"
_HOURS: Final = re.compile(rf"{_TIME}-{_TIME}", re.ASCII)
_DAY: Final = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
_DAY_PATTERN: Final = r"^(\d{4}-)?\d{2}-\d{2}$"
_OF_THIS_HOST: Final = frozenset({"localtime", "posixrules", "Factory"})
_LEAP_YEAR: Final = 2024
_YEARS: Final = range(1971, 3000)


def _weekdays(value: object) -> tuple[int, ...]:
    """Read `mon`, or `mon-fri`; `fri-mon` goes over the end of the week."""
    words = value.lower().split("-") if isinstance(value, str) else []
    if not 1 <= len(words) <= 2 or any(word not in _NAMES for word in words):
        raise ValueError(f"must be a day such as `mon`, or days such as `mon-fri`, not {value!r}")
    first, last = _NAMES.index(words[0]), _NAMES.index(words[-1])
    return tuple((first + more) % 7 for more in range((last - first) % 7 + 1))


def _some(days: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    if not days:
        raise ValueError("names no day; leave it out for every day")
    return days


def _hours(value: object) -> tuple[int, int]:
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"must be two times of day such as `09:00-16:30`, not {value!r}")
    begins, ends = (60 * int(found[at]) + int(found[at + 1]) for at in (1, 3))
    if begins >= windows.DAY_MINUTES or ends > windows.DAY_MINUTES:
        raise ValueError(f"{value!r} is no time of day; the last that may end is `24:00`")
    if begins == ends:
        raise ValueError(f"{value!r} has no length; the whole day is `00:00-24:00`")
    return begins, ends


def _day(value: object) -> tuple[int, ...]:
    # TOML has dates of its own.
    text = value.isoformat() if isinstance(value, date) else value
    found = _DAY.fullmatch(text) if isinstance(text, str) else None
    parts = [int(part) for part in found.groups() if part is not None] if found else []
    if not _is_a_day(*parts):
        raise ValueError(
            f"must be a date such as `2026-12-20`, or `12-20` for every year, not {text!r}"
        )
    return tuple(parts)


def _is_a_day(*parts: int) -> bool:
    year, *rest = parts if len(parts) == 3 else (_LEAP_YEAR, *parts)
    try:
        return bool(date(year, *rest)) and year in _YEARS
    except (TypeError, ValueError):
        return False


def _zone(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the name of a time zone, such as `Europe/Berlin`")
    try:
        windows.zone_of(value)
    except (KeyError, ValueError, OSError):
        known = False
    else:
        known = value not in _OF_THIS_HOST
    if not known:
        from zoneinfo import available_timezones

        close = nearest(value, available_timezones())
        raise ValueError(f"there is no time zone {value!r}{close or '; such as `Europe/Berlin`'}")
    return value


Weekday = Annotated[
    tuple[int, ...],
    PlainValidator(_weekdays),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({'|'.join(_NAMES)})(-({'|'.join(_NAMES)}))?$",
            "examples": ["mon-fri", "sat"],
        }
    ),
]
Hours = Annotated[
    tuple[int, int],
    PlainValidator(_hours),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_TIME}-{_TIME}$", "examples": ["09:00-16:30"]}
    ),
]
Day = Annotated[
    tuple[int, ...],
    PlainValidator(_day),
    WithJsonSchema(
        {"type": "string", "pattern": _DAY_PATTERN, "examples": ["2026-12-20", "12-20"]}
    ),
]
Zone = Annotated[
    str, PlainValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Opening(_Model):
    """An entry of `windows.open`."""

    weekdays: Annotated[list[Weekday], AfterValidator(_some)] | None = Field(
        None,
        description="The days on which it begins: `mon` to `sun`, or from one to another, `mon-fri`. Default: every day.",
    )
    hours: Hours | None = Field(
        None,
        description="From when until when on the wall clock, `09:00-16:30`; `22:00-02:00` ends on the next day. Default: the whole day.",
    )

    def opening(self) -> windows.Opening:
        """Return what the program uses of it."""
        days = [range(7)] if self.weekdays is None else self.weekdays
        begins, ends = self.hours or (0, windows.DAY_MINUTES)
        return windows.Opening(tuple(sorted({day for some in days for day in some})), begins, ends)


class Freeze(_Model):
    """An entry of `windows.freezes`."""

    first: Day = Field(
        description="The first day: `2026-12-20`, or `12-20` for every year, of the time zone."
    )
    last: Day = Field(
        description="The last day, which belongs to it; written like `first`. A yearly freeze may go over the end of the year."
    )
    reason: Text | None = Field(None, description="Why; shown by `config show`, nothing else.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if len(self.first) != len(self.last):
            raise ValueError("`first` and `last` must both have a year, or neither")
        if len(self.first) == 3 and self.last < self.first:
            raise ValueError("`last` is before `first`")
        return self


class Windows(_Model):
    """When current keys may be replaced."""

    time_zone: Zone = Field(
        "UTC", description="The IANA time zone of all days and hours, such as `Europe/Berlin`."
    )
    open: list[Opening] = Field(
        [], description="When a current key may be replaced in each week. Default: always."
    )
    freezes: list[Freeze] = Field(
        [], description="Days on which no current key is replaced, whatever `open` says."
    )

    def windows(self) -> windows.Windows | None:
        """Return what the program uses of them; None when they hold up nothing."""
        if not (self.open or self.freezes):
            return None
        return windows.Windows(
            tuple(item.opening() for item in self.open),
            tuple(
                windows.Freeze(item.first, item.last, item.reason or "") for item in self.freezes
            ),
            self.time_zone,
        )


def windows_shown(found: windows.Windows | None) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the path, below `windows`, and the value of everything that is in force."""
    if found is None:
        return
    yield ("time_zone",), found.zone
    for number, opening in enumerate(found.openings):
        yield ("open", number, "weekdays"), [_NAMES[day] for day in opening.weekdays]
        yield ("open", number, "hours"), f"{_clock(opening.begins)}-{_clock(opening.ends)}"
    for number, freeze in enumerate(found.freezes):
        for name in ("first", "last"):
            parts = getattr(freeze, name)
            yield ("freezes", number, name), "-".join(f"{part:02}" for part in parts)
        if freeze.reason:
            yield ("freezes", number, "reason"), freeze.reason


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
