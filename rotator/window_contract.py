"""What change windows must leave room for, so that rotation goes on. Pure; asked when a configuration is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from rotator.policy import ZERO, RotationPolicy, format_duration
from rotator.windows import JITTER, NEVER, Freeze, Stretch, Windows

_BEFORE: Final = timedelta(days=15)  # a window of each week may lose its hour to a DST change once
_YEARS: Final = range(2024, 2052)  # every alignment of weekdays, months and leap days
_A_YEAR: Final = Stretch(datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 15, tzinfo=UTC))
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Unmet:
    """What is wrong with the windows of a policy, with its numbers; `path` is below `windows`."""

    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return self.text


def unmet(policy: RotationPolicy) -> tuple[Unmet, ...]:
    """Return why the windows of a policy can never be met, or not often enough; nothing when they can.

    Each opening must have room for a key set's own moment in its first half, one run of cron after that,
    and the writing. And windows may be closed no longer than a host without a witness may find nothing
    new in a ring before it takes its own clock for wrong (DESIGN §3, "A clock is suspicious").
    """
    if policy.windows is None:
        return ()
    return (*_too_short(policy, policy.windows), *_too_seldom(policy, policy.windows))


def _too_short(policy: RotationPolicy, windows: Windows) -> Iterator[Unmet]:
    parts = {
        "jitter": min(policy.resync, JITTER),
        "resync": policy.resync,
        "write_window": policy.write_window,
    }
    needed = sum(parts.values(), ZERO)
    for number, opening in enumerate(windows.openings):
        if opening.length < needed:
            yield Unmet(
                ("open", number, "hours"),
                f"is open for {format_duration(opening.length)}, too short to be sure that a run falls into "
                f"it: it must be at least {_sum(parts)} = {format_duration(needed)}",
            )


def _too_seldom(policy: RotationPolicy, windows: Windows) -> Iterator[Unmet]:
    closed = longest_closure(windows)
    if closed is None:
        yield Unmet((), "never opens: every day that has an opening is frozen")
        return
    parts = {"jitter": JITTER, "resync": policy.resync, "write_window": policy.write_window}
    room = policy.longest_silence - policy.rotate_every
    allowed = max(room - sum(parts.values(), ZERO), ZERO)
    if closed.length <= allowed:
        return
    longer = format_duration(closed.length + sum(parts.values(), ZERO))
    yield Unmet(
        (),
        f"stays closed for {format_duration(closed.length)}, such as from {closed.start:%Y-%m-%dT%H:%MZ} "
        f"to {closed.end:%Y-%m-%dT%H:%MZ}, and {_sum(parts)} come on top; with rotate_every "
        f"{format_duration(policy.rotate_every)} the longest safe closure is {format_duration(allowed)}, "
        f"and this closure needs rotate_every {longer} or more; to stop rotation for longer, `rotator hold`",
    )


def _sum(parts: dict[str, timedelta]) -> str:
    return " + ".join(f"{name} {format_duration(value)}" for name, value in parts.items())


@lru_cache(maxsize=256)
def longest_closure(windows: Windows) -> Stretch | None:
    """Return the longest time without an open window, DST changes and leap days counted; None if none opens.

    Of freezes that come every year, 28 years are looked at, which have every alignment of dates and weekdays.
    """
    if windows.next_open(_A_YEAR.start) == NEVER:
        return None
    nothing = Stretch(_A_YEAR.start, _A_YEAR.start)
    return max(_closures(windows), key=lambda closed: closed.length, default=nothing)


def _closures(windows: Windows) -> Iterator[Stretch]:
    """Yield the closures of an ordinary year, and those around each freeze."""
    yield from _closed(windows, *_A_YEAR)
    for freeze in windows.freezes:
        for day in _first_days(freeze):
            at = datetime(day.year, day.month, day.day, tzinfo=UTC)
            yield from _closed(windows, at - _BEFORE, at + _DAY)


def _closed(windows: Windows, since: datetime, until: datetime) -> Iterator[Stretch]:
    """Yield the closed times from `since` to the first opening after `until`."""
    end = since
    for stretch in windows.stretches(since, since):
        if stretch.start > end:
            yield Stretch(end, stretch.start)
        end = stretch.end
        if end > until:
            return
    yield Stretch(end, NEVER)


def _first_days(freeze: Freeze) -> Iterator[date]:
    """Yield the first day of a freeze, of a yearly one in each of 28 years."""
    if not freeze.yearly:
        yield date(*freeze.first)
        return
    for year in _YEARS:
        leap_day = freeze.first == (2, 29) and year % 4 != 0
        yield date(year, 3, 1) if leap_day else date(year, *freeze.first)
