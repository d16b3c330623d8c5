"""Change windows: what the clock on the wall says, over DST days, year ends and leap days; and what they must leave room for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.algorithms import kind_of
from rotator.policy import RotationPolicy, format_duration
from rotator.window_contract import longest_closure, unmet
from rotator.windows import DAY_MINUTES, JITTER, NEVER, Freeze, Opening, Windows, jitter, zone_of

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
INSTANT = timedelta(microseconds=1)
DAILY = tuple(range(7))
WORKDAYS = tuple(range(5))

# Half-hour DST (Lord Howe), DST at midnight (Havana, Azores), a day left out (Apia), odd offsets (Kathmandu).
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Atlantic/Azores",
    "Pacific/Apia",
    "Asia/Kathmandu",
)
EDGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin goes forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # and back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York goes forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe goes back by half an hour
    datetime(2026, 10, 25, 5, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia leaves out a day
    datetime(2026, 12, 31, 23, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
    datetime(2027, 3, 1, tzinfo=UTC),
)

_minutes = st.sampled_from((0, 1, 30, 60, 90, 120, 150, 180, 540, 1020, 1380, 1439))
_openings = st.builds(
    Opening,
    st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True).map(tuple),
    _minutes,
    _minutes | st.just(DAY_MINUTES),
).filter(lambda opening: opening.begins != opening.ends)
_days = st.sampled_from((*EDGES, *(edge + DAY for edge in EDGES))).map(lambda at: at.date())


def _dated(days: tuple[date, date]) -> Freeze:
    first, last = sorted(days)
    return Freeze((first.year, first.month, first.day), (last.year, last.month, last.day))


def _yearly(days: tuple[date, date]) -> Freeze:
    first, last = days
    return Freeze((first.month, first.day), (last.month, last.day))


_pairs = st.tuples(_days, _days)
_windows = st.builds(
    Windows,
    st.lists(_openings, max_size=3).map(tuple),
    st.lists(_pairs.map(_dated) | _pairs.map(_yearly), max_size=2).map(tuple),
    st.sampled_from(ZONES),
)
_instants = st.builds(
    lambda edge, minutes, extra: edge + minutes * MINUTE + extra,
    st.sampled_from(EDGES),
    st.integers(-3000, 3000),
    st.sampled_from((timedelta(0), INSTANT, -INSTANT, timedelta(seconds=30))),
)


def _by_hand(windows: Windows, at: datetime) -> bool:
    """The sentence that defines windows, as an operator would check it."""
    wall = at.astimezone(zone_of(windows.zone))
    today = wall.date()
    for freeze in windows.freezes:
        if not freeze.yearly:
            frozen = date(*freeze.first) <= today <= date(*freeze.last)
        elif freeze.first <= freeze.last:
            frozen = freeze.first <= (today.month, today.day) <= freeze.last
        else:
            frozen = not freeze.last < (today.month, today.day) < freeze.first
        if frozen:
            return False
    if not windows.openings:
        return True
    minute = wall.hour * 60 + wall.minute
    yesterday = (today - DAY).weekday()
    return any(
        (today.weekday() in item.weekdays and item.begins <= minute < item.ends)
        if item.begins < item.ends
        else (today.weekday() in item.weekdays and minute >= item.begins)
        or (yesterday in item.weekdays and minute < item.ends)
        for item in windows.openings
    )


@settings(max_examples=100, deadline=None, database=None)
@given(_windows, _instants)
def test_the_next_opening_is_the_first_minute_that_the_wall_shows(
    windows: Windows, now: datetime
) -> None:
    """Minute by minute for two days: closed before `next_open`, open at it, and never between."""
    assert windows.is_open(now) is _by_hand(windows, now)
    found = windows.next_open(now)
    assert found >= now
    if _by_hand(windows, now):
        assert found == now
        return
    # All offsets are whole quarters of an hour, so that walls change at whole minutes of UTC.
    minute = now.replace(second=0, microsecond=0)
    for _ in range(2 * DAY_MINUTES):
        minute += MINUTE
        if _by_hand(windows, minute):
            assert found == minute
            return
    assert found > minute
    if found != NEVER:
        assert _by_hand(windows, found)
        assert not _by_hand(windows, found - INSTANT)


@settings(max_examples=100, deadline=None, database=None)
@given(_windows, _instants)
def test_stretches_are_what_is_open_and_no_more(windows: Windows, since: datetime) -> None:
    """In order, apart from each other; open at both ends, closed before and after."""
    before = None
    for number, stretch in enumerate(windows.stretches(since, since)):
        assert stretch.start < stretch.end
        assert _by_hand(windows, stretch.start)
        assert _by_hand(windows, stretch.end - INSTANT)
        if before is not None:
            assert stretch.start >= before.end
            if stretch.start > before.end:
                assert not _by_hand(windows, before.end)
                assert not _by_hand(windows, stretch.start - INSTANT)
        before = stretch
        if number == 5:
            break


@settings(max_examples=100, deadline=None, database=None)
@given(_windows, _instants, st.integers(0, 20 * DAY_MINUTES), st.text(max_size=8))
@example(Windows(), EDGES[0], 0, "web")
def test_the_moment_of_a_key_set(windows: Windows, due: datetime, later: int, name: str) -> None:
    """Inside a window with room to write; never early; and who looks again at the moment finds the same."""
    now, margin = due + later * MINUTE, MINUTE
    at = windows.moment(due, now, name, margin)
    assert at >= now
    if at == NEVER:
        return
    assert _by_hand(windows, at)
    assert _by_hand(windows, at + margin - INSTANT)
    assert windows.moment(due, at, name, margin) == at
    # Whoever looks in between is told the same.
    assert windows.moment(due, now + (at - now) / 2, name, margin) == at
    if windows.moment(due, due, name, margin) == due:
        assert _by_hand(windows, due)


def test_the_two_dst_days() -> None:
    """An hour that is left out opens nothing; an hour that comes twice is open twice."""
    berlin = Windows((Opening(DAILY, 120, 180),), zone="Europe/Berlin")
    left_out = datetime(2026, 3, 28, 3, tzinfo=UTC)
    assert berlin.next_open(left_out) == datetime(2026, 3, 30, tzinfo=UTC)
    twice = list(
        zip(berlin.stretches(datetime(2026, 10, 25, tzinfo=UTC), NEVER), range(2), strict=False)
    )
    assert [tuple(stretch) for stretch, _ in twice] == [
        (datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC)),
        (datetime(2026, 10, 26, 1, tzinfo=UTC), datetime(2026, 10, 26, 2, tzinfo=UTC)),
    ]
    torn = Windows((Opening(DAILY, 90, 150),), zone="Europe/Berlin")
    stretches = torn.stretches(datetime(2026, 10, 24, 23, tzinfo=UTC), NEVER)
    assert [tuple(stretch) for stretch, _ in zip(stretches, range(3), strict=False)][1:] == [
        (datetime(2026, 10, 24, 23, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ]


def test_time_zones_need_nothing_of_the_host() -> None:
    """A minimal container has no time zones of its own; one configuration means the same in it."""
    code = "from rotator.windows import zone_of; print(zone_of('Europe/Berlin'))"
    bare = {**os.environ, "PYTHONTZPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Europe/Berlin\n"


def test_past_midnight() -> None:
    """The day is the one on which it begins; a freeze cuts it at midnight."""
    late = Opening((4,), 22 * 60, 2 * 60)
    assert late.length == 4 * HOUR
    windows = Windows((late,), (Freeze((2027, 1, 2), (2027, 1, 2)),))
    new_year = datetime(2027, 1, 1, 12, tzinfo=UTC)  # a Friday
    assert windows.next_open(new_year) == datetime(2027, 1, 1, 22, tzinfo=UTC)
    assert windows.next_open(datetime(2027, 1, 2, tzinfo=UTC)) == datetime(
        2027, 1, 8, 22, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("freeze", "day", "covered"),
    [
        (Freeze((12, 20), (1, 3)), date(2026, 12, 31), True),
        (Freeze((12, 20), (1, 3)), date(2027, 1, 3), True),
        (Freeze((12, 20), (1, 3)), date(2027, 1, 4), False),
        (Freeze((12, 20), (1, 3)), date(2026, 12, 19), False),
        (Freeze((2, 29), (2, 29)), date(2028, 2, 29), True),
        (Freeze((2, 29), (3, 1)), date(2027, 2, 28), False),
        (Freeze((2, 29), (3, 1)), date(2027, 3, 1), True),
        (Freeze((2026, 12, 20), (2027, 1, 3)), date(2027, 1, 1), True),
        (Freeze((2026, 12, 20), (2027, 1, 3)), date(2027, 12, 31), False),
    ],
)
def test_freezes(freeze: Freeze, day: date, covered: bool) -> None:
    """Both days belong to it; one without a year comes each year, over its end too."""
    assert freeze.covers(day) is covered


def test_a_thousand_key_sets_have_a_thousand_moments() -> None:
    """Within an hour, or within the first half of what is shorter; the same for ever."""
    moments = [jitter(f"set-{number}", 8 * HOUR) for number in range(1000)]
    assert timedelta(0) <= min(moments) < max(moments) < JITTER
    assert len(set(moments)) > 850  # of 3,600 seconds
    fullest = max(sum(m // MINUTE == minute for m in moments) for minute in range(60))
    assert fullest < 40  # 1000 / 60 is 17
    assert jitter("web", 8 * HOUR) == timedelta(minutes=17, seconds=39)
    assert jitter("web", 30 * MINUTE) < 15 * MINUTE


POLICY = RotationPolicy(kind_of("ES256"), token_ttl=15 * MINUTE, signer_lag=5 * MINUTE)
OFFICE = Windows((Opening(WORKDAYS, 9 * 60, 16 * 60),), zone="Europe/Berlin")


def faults(windows: Windows, policy: RotationPolicy = POLICY) -> list[str]:
    """Return what is said of windows."""
    return [str(item) for item in unmet(replace(policy, windows=windows))]


def test_windows_that_are_met() -> None:
    """Office hours, a freeze over Christmas, a freeze of a summer, with the default policy."""
    assert faults(OFFICE) == []
    assert faults(replace(OFFICE, freezes=(Freeze((12, 15), (1, 6)),))) == []
    assert faults(Windows(freezes=(Freeze((2026, 6, 1), (2026, 8, 15)),))) == []
    daily = replace(POLICY, rotate_every=2 * DAY)
    assert faults(replace(OFFICE, freezes=(Freeze((12, 15), (1, 6)),)), daily) == []


def test_an_opening_must_have_room_for_jitter_a_run_and_the_writing() -> None:
    """At the floor it is met; one minute less, and the numbers are said."""
    room = 2 * POLICY.resync + POLICY.write_window
    minutes = room // MINUTE
    assert faults(Windows((Opening(DAILY, 60, 60 + minutes),))) == []
    (found,) = faults(Windows((Opening(DAILY, 60, 60 + minutes - 1),)))
    assert "is open for 10m" in found
    assert "jitter 5m + resync 5m + write_window 1m = 11m" in found
    cron = replace(POLICY, resync=3 * HOUR)
    assert faults(Windows((Opening(DAILY, 60, 60 + 4 * 60 + 1),)), cron) == []
    (found,) = faults(Windows((Opening(DAILY, 60, 60 + 4 * 60),)), cron)
    assert "jitter 1h + resync 3h + write_window 1m = 4h1m" in found


def test_windows_that_never_open() -> None:
    """Every day that has an opening is frozen, each year."""
    (found,) = faults(replace(OFFICE, freezes=(Freeze((1, 1), (12, 31)),)))
    assert "never opens" in found


def test_a_closure_that_is_too_long() -> None:
    """As long as a ring may be silent beside a clock that nobody confirms; the numbers lead out of it."""
    long = replace(OFFICE, freezes=(Freeze((2027, 1, 1), (2027, 4, 30)),))
    (found,) = faults(long)
    assert "from 2026-12-31T15:00Z to 2027-05-03T07:00Z" in found
    assert "stays closed for 122d16h" in found
    assert "the longest safe closure is 89d22h54m" in found
    assert faults(long, replace(POLICY, rotate_every=122 * DAY + 17 * HOUR + 6 * MINUTE)) == []
    assert faults(long, replace(POLICY, rotate_every=122 * DAY + 17 * HOUR)) != []
    assert "needs rotate_every 122d17h6m or more" in found


def test_the_longest_closure_counts_dst_weeks_and_leap_days() -> None:
    """A weekly hour that DST leaves out once; freezes beside each other; a freeze before a leap day."""
    sunday = Windows((Opening((6,), 120, 180),), zone="Europe/Berlin")
    closed = longest_closure(sunday)
    assert closed is not None
    assert closed.length == 14 * DAY - 2 * HOUR
    months = Windows(freezes=(Freeze((2, 1), (2, 29)), Freeze((1, 1), (1, 31))))
    closed = longest_closure(months)
    assert closed is not None
    assert (closed.length, closed.start.year % 4) == (60 * DAY, 0)
    assert longest_closure(Windows()) is not None
    assert format_duration(longest_closure(Windows()).length) == "0s"  # type: ignore[union-attr]
