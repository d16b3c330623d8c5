"""The timeline of a key set as text: a bar per key, for `rotator status` on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rotator.ring import Phase
from rotator.timeline import Row, Timeline
from rotator.timeline_axis import marks
from rotator.words import shorten

NARROWEST: Final = 40
"""Columns; a narrower terminal gets no bars, for nothing could be read off them."""

_WIDEST: Final = 160  # beyond that an eye does not follow a line
_LABEL: Final = 10
_INDENT: Final = "  "
_TICK: Final = 12  # columns for one date of the axis

Paint = Callable[[str, str], str]
"""Returns a text in a colour, or as it is where none is wanted."""

_COLORS: Final = {
    Phase.CREATING: "blue",
    Phase.PENDING: "cyan",
    Phase.ACTIVE: "green",
    Phase.RETIRING: "yellow",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a terminal can show: by phase what was and what comes; no two look alike without colour."""

    was: dict[Phase, str]
    comes: dict[Phase, str]
    now: str
    here: str
    cut: str


BLOCKS: Final = Glyphs(
    {Phase.CREATING: "·", Phase.PENDING: "░", Phase.ACTIVE: "█", Phase.RETIRING: "▒"},
    {Phase.CREATING: "·", Phase.PENDING: "┄", Phase.ACTIVE: "━", Phase.RETIRING: "╌"},
    "│",
    "↓",
    "…",
)
LETTERS: Final = Glyphs(
    {Phase.CREATING: "C", Phase.PENDING: "P", Phase.ACTIVE: "A", Phase.RETIRING: "R"},
    {Phase.CREATING: "c", Phase.PENDING: "p", Phase.ACTIVE: "a", Phase.RETIRING: "r"},
    "|",
    "v",
    "~",
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return block characters where the terminal has Unicode, else letters."""
    return BLOCKS if (encoding or "").lower().replace("-", "") == "utf8" else LETTERS


def draw(line: Timeline, columns: int, glyphs: Glyphs, paint: Paint) -> Iterator[str]:
    """Yield the lines of a timeline, none wider than the terminal; none at all where it is too narrow.

    Args:
        columns: of the terminal.
        paint: takes a text and the name of a colour.
    """
    if columns < NARROWEST or not line.rows:
        return
    width = min(columns, _WIDEST) - len(_INDENT) - _LABEL - 1
    now = _cell(line.place(line.now), width)
    margin = _INDENT + " " * _LABEL
    # Near the right edge the word stands before its arrow.
    words = f"{' ' * now}{glyphs.here} now" if now + 5 <= width else _before(now, glyphs)
    yield (margin + words).rstrip()
    for row in line.rows:
        label = shorten(row.kid).replace("…", glyphs.cut)
        yield f"{_INDENT}{_fit(label):<{_LABEL}}{_bar(row, line, width, glyphs, paint)}".rstrip()
    yield (margin + _axis(line, width)).rstrip()
    yield from _legend(line, columns, glyphs, paint)


def _before(now: int, glyphs: Glyphs) -> str:
    return f"{'now ':>{now}}{glyphs.here}"


def _fit(label: str) -> str:
    return label[: _LABEL - 1]


def _cell(place: float, width: int) -> int:
    return min(int(place * width), width - 1)


def _bar(row: Row, line: Timeline, width: int, glyphs: Glyphs, paint: Paint) -> str:
    """Return one key's cells: a phase too short for a cell gets one all the same, the later one wins."""
    now = _cell(line.place(line.now), width)
    cells: list[tuple[str, str]] = [(" ", "")] * width
    cells[now] = (glyphs.now, "")
    for span in row.spans:
        first = _cell(line.place(span.begin), width)
        last = max(round(line.place(span.end) * width) - 1, first)
        if span.coming:
            first = max(first, min(now + 1, width - 1))
            last = max(first, last)
        known = glyphs.comes if span.coming else glyphs.was
        cells[first : last + 1] = [(known[span.phase], _COLORS[span.phase])] * (last + 1 - first)
    runs = groupby(cells, key=lambda cell: cell[1])
    parts = (("".join(glyph for glyph, _ in found), color) for color, found in runs)
    return "".join(paint(text, color) if color else text for text, color in parts)


def _axis(line: Timeline, width: int) -> str:
    """Return the dates below the bars, each beginning where it lies."""
    text = ""
    for date, name in marks(line.begin, line.end, max(width // _TICK, 2)):
        at = _cell(line.place(date), width)
        if (at > len(text) or not text) and at + len(name) + 1 <= width:
            text = f"{text:<{at}}'{name}"
    return text


def _legend(line: Timeline, columns: int, glyphs: Glyphs, paint: Paint) -> Iterator[str]:
    """Yield what the characters in use mean, on as many lines as it takes."""
    used = {(span.phase, span.coming) for row in line.rows for span in row.spans}
    parts: list[tuple[str, str, str]] = []
    for coming, known in ((False, glyphs.was), (True, glyphs.comes)):
        for phase in Phase:
            if (phase, coming) in used:
                text = f"to be {phase.value}" if coming else phase.value
                parts.append((known[phase], text, _COLORS[phase]))
    text, length = "", 0
    for glyph, name, color in parts:
        size = len(name) + 2
        if length and length + size + 2 > columns - len(_INDENT):
            yield _INDENT + text
            text, length = "", 0
        text += f"{'  ' if length else ''}{paint(glyph, color)} {name}"
        length += size + (2 if length else 0)
    if text:
        yield _INDENT + text
    if line.hidden:
        yield f"{_INDENT}{line.hidden} more keys are not drawn"
