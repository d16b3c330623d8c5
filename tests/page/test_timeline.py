"""The timeline's model, and its bars on a terminal."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import re
import select
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rotator import transitions
from rotator.calendar import _carry_out, forecast
from rotator.cli.timeline import BLOCKS, LETTERS, draw
from rotator.policy import RotationPolicy
from rotator.ring import KeyRing, Phase
from rotator.timeline import MOST_ROWS, Row, Timeline, pictured, timeline
from rotator.timeline_axis import marks
from tests.cli.bench import BOUND, COMMAND, Bench, environment
from tests.cli.test_calendar import DAY, NOW, POLICY, TARGETS


def plain(text: str, _color: str) -> str:
    """A text without colour."""
    return text


def kid_of(name: str) -> str:
    """A kid as long as a real one."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")


def grown(age: timedelta, policy: RotationPolicy = POLICY) -> KeyRing:
    """A ring that lived for a while by the calendar."""
    ring = KeyRing("web", revision=1)
    for step in forecast(ring, policy, NOW - age, NOW, TARGETS):
        at = step.due_at
        assert at is not None
        ring = _carry_out(ring, policy, replace(step, kid=kid_of(step.kid)), at)
    return ring


def row(line: Timeline, kid: str) -> Row:
    """The one key of a kid."""
    (found,) = [item for item in line.rows if item.kid == kid]
    return found


def phases(found: Row) -> list[tuple[str, bool]]:
    """What is drawn of a key: phase, and whether that is still to come."""
    return [(span.phase.value, span.coming) for span in found.spans]


def test_what_was_and_what_comes() -> None:
    """The previous key out of the history, the current one now, the next one, and one that does not exist."""
    line = pictured(grown(120 * DAY), POLICY, NOW, TARGETS)
    first = row(line, kid_of("+1"))
    assert phases(first) == [("active", False), ("retiring", False)]
    assert first.phase is None
    second = row(line, kid_of("+2"))
    assert second.phase is Phase.ACTIVE
    assert phases(second) == [
        ("pending", False),
        ("active", False),
        ("active", True),
        ("retiring", True),
    ]
    third = row(line, kid_of("+3"))
    assert phases(third) == [("pending", False), ("pending", True), ("active", True)]
    assert third.spans[-1].open
    assert phases(row(line, "+1")) == [("pending", True)]


def test_spans_follow_one_another() -> None:
    """No gap, no overlap, nothing outside the picture, and now parts what was from what comes."""
    for days in (0, 1, 89, 90, 91, 400):
        line = pictured(grown(days * DAY), POLICY, NOW, TARGETS)
        for found in line.rows:
            for span, after in zip(found.spans, found.spans[1:], strict=False):
                assert span.end == after.begin
            for span in found.spans:
                assert line.begin <= span.begin <= span.end <= line.end
                assert (span.begin >= NOW) if span.coming else (span.end <= NOW)


def test_a_rollback_and_a_revocation() -> None:
    """A key that signs again has both its terms; one that was revoked ends there."""
    ring = grown(90 * DAY + timedelta(minutes=5))
    previous, current = ring.in_phase(Phase.RETIRING)[0].kid, ring.active
    assert current is not None
    ring = transitions.roll_back(ring, previous, NOW - timedelta(minutes=1), "a test")
    line = timeline(ring, POLICY, NOW, ())
    was = [span.phase.value for span in row(line, previous).spans if not span.coming]
    assert was == ["active", "retiring", "active"]
    ring = transitions.revoke(
        ring, [current.kid], NOW, "leaked", successor=None, write_window=timedelta(0)
    )
    found = row(timeline(ring, POLICY, NOW, ()), current.kid)
    assert found.phase is None
    assert found.changes[-1].phase is Phase.REVOKED
    assert not any(span.coming for span in found.spans)


def test_bounded_and_of_nothing() -> None:
    """A ring with more keys than anybody looks at, and one without any."""
    short = replace(POLICY, rotate_every=timedelta(hours=14), propagation=timedelta(hours=8))
    ring = grown(3 * DAY, replace(short, grace=10 * DAY, max_keys=40))
    line = pictured(ring, short, NOW, TARGETS)
    assert len(line.rows) <= MOST_ROWS
    nothing = timeline(KeyRing("web"), POLICY, NOW, ())
    assert not nothing.rows
    assert not list(draw(nothing, 80, BLOCKS, plain))


def test_a_date_from_the_future_counts_as_now() -> None:
    """A clock was wrong: the picture stands all the same."""
    ring = grown(10 * DAY)
    line = timeline(ring, POLICY, NOW - 20 * DAY, ())
    assert line.rows
    assert line.begin < line.now < line.end


@pytest.mark.parametrize("columns", [40, 57, 80, 200])
@pytest.mark.parametrize("days", [0, 3, 91, 200])
def test_bars_fit_the_terminal(columns: int, days: int) -> None:
    """Every line, in both sets of characters; letters are ASCII."""
    line = pictured(grown(days * DAY), POLICY, NOW, TARGETS)
    for glyphs in (BLOCKS, LETTERS):
        lines = list(draw(line, columns, glyphs, plain))
        assert max(map(len, lines)) <= columns
        for glyph in {*glyphs.was.values(), *glyphs.comes.values()}:
            assert len(glyph) == 1
        assert any("+1" in text for text in lines)
    assert "now" in lines[0]
    assert all(text.isascii() for text in lines)


def test_too_narrow_for_bars() -> None:
    """39 columns get none."""
    assert not list(draw(pictured(grown(DAY), POLICY, NOW, TARGETS), 39, BLOCKS, plain))


@pytest.mark.parametrize(
    "length",
    [timedelta(seconds=20), timedelta(hours=5), 3 * DAY, 40 * DAY, 300 * DAY, 4000 * DAY],
)
def test_dates_of_the_axis(length: timedelta) -> None:
    """Round, within the picture, not too many and not none."""
    found = marks(NOW + timedelta(minutes=7), NOW + timedelta(minutes=7) + length, 8)
    assert 1 <= len(found) <= 9
    dates: list[datetime] = [date for date, _ in found]
    assert dates == sorted(set(dates))
    assert dates[0] >= NOW


# --- on a terminal of its own ------------------------------------------------------------------------------------


def until(bench: Bench, word: str, *words: str, **env: str) -> tuple[int, str]:
    """Run `rotator status` at a terminal; interrupt it once a word was shown twice. Return its end and all of it."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "-c", str(bench.config), "status", *words],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment(env),
        start_new_session=True,
    )
    os.close(child)
    shown, interrupted = b"", not words
    with process:
        while select.select([parent], [], [], BOUND)[0]:
            try:
                shown += os.read(parent, 4096)
            except OSError:  # EIO: the other side is closed
                break
            # Once: a second Ctrl-C ends a program that is ending already, wherever it is.
            if not interrupted and shown.count(word.encode()) >= 2:
                interrupted = True
                process.send_signal(2)
        os.close(parent)
        return process.wait(BOUND), shown.decode()


def test_status_draws_on_a_terminal_only(tmp_path: Path) -> None:
    """Colour and characters as the terminal has them; a pipe and --json get what they always did."""
    bench = Bench(tmp_path)
    bench.good("rotate")
    code, shown = until(bench, "", COLUMNS="40", NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert code == 0
    assert "v now" in shown
    assert "A active" in shown
    assert "\x1b[" not in shown
    bars = shown[shown.index("v now") :].splitlines()
    assert max(map(len, bars)) <= 40
    assert "now" not in bench.good("status").out
    assert json.loads(bench.good("status", "--json").out)["format"] == "rotator.status/1"


def test_watch(tmp_path: Path) -> None:
    """One screen again and again; it is given back at the end. Without a terminal it is refused."""
    bench = Bench(tmp_path)
    bench.good("rotate")
    code, shown = until(bench, "revision", "--watch", COLUMNS="80", LINES="12")
    assert code == 130
    assert shown.startswith("\x1b[?1049h")
    assert shown.rstrip().endswith("\x1b[?1049l") or "\x1b[?1049l" in shown
    frames = shown.split("\x1b[H")[1:]
    assert len(frames) >= 2
    assert all(len(frame.splitlines()) <= 12 for frame in frames[:-1])
    assert re.search(r"… \d+ more lines", frames[0])
    ran = bench.run("status", "--watch")
    assert ran.code == 2
    assert "there is no terminal" in ran.err
