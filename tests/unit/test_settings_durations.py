"""Durations: what is read, and what is said of what is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.durations import LONGEST, parse_duration
from rotator.policy import format_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("15m", timedelta(minutes=15)),
        ("250ms", timedelta(milliseconds=250)),
        ("1m250ms", timedelta(minutes=1, milliseconds=250)),
        ("0s", timedelta()),
        (" 5s ", timedelta(seconds=5)),
        ("1d1h1m1s1ms", timedelta(days=1, hours=1, minutes=1, seconds=1, milliseconds=1)),
        ("36500d", LONGEST),
    ],
)
def test_reads(text: str, expected: timedelta) -> None:
    """Units from large to small, each at most once."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (15, "write `15s` if seconds are meant"),
        ("15", "write `15s` if seconds are meant"),
        (0, "has no unit"),
        (1.5, "has no unit"),
        (-5, "negative"),
        ("-5m", "negative"),
        ("12:30", "write `12h30m`"),
        ("00:00:30", "write `30s`"),
        ("2 weeks", "write `14d`"),
        ("1w", "write `7d`"),
        ("1.5h", "write `1h30m`"),
        ("5 minutes", "write `5m`"),
        ("5min", "write `5m`"),
        ("1H", "write `1h`"),
        ("30m1h", "write `1h30m`"),
        ("5x", "not a duration"),
        ("", "not a duration"),
        ("soon", "not a duration"),
        ("m", "not a duration"),
        ("٣h", "not a duration"),
        ("36501d", "a hundred years"),
        ("999999999d", "a hundred years"),
        (True, "text with a unit"),
        (["1h"], "text with a unit"),
        ({}, "text with a unit"),
        (None, "text with a unit"),
    ],
)
def test_refuses_and_says_what_works(value: object, way_out: str) -> None:
    """Whatever is refused, the text has the spelling that works."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_duration(value)
    assert way_out in str(caught.value)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=36_500 * 86_400_000))
def test_reads_what_it_writes(milliseconds: int) -> None:
    """`format_duration` and `parse_duration` agree."""
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value)) == value


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=40), st.integers(), st.floats(), st.text("0123456789dhms :.-", max_size=12)
    )
)
def test_never_fails_in_another_way(value: object) -> None:
    """A duration, or a ValueError with a sentence; nothing suggested is itself refused."""
    try:
        found = parse_duration(value)
    except ValueError as error:
        text = str(error)
        assert len(text) < 200
        if "; write `" in text:
            parse_duration(text.split("; write `")[1].split("`", maxsplit=1)[0])
    else:
        assert timedelta() <= found <= LONGEST
