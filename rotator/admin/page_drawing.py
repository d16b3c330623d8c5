"""The timeline of a key set as SVG: a bar per key, the axis below, a line at now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rotator.admin.page_markup import Markup, element
from rotator.ring import Phase
from rotator.timeline import SHOWN, Row, Span, Timeline
from rotator.timeline_axis import marks
from rotator.words import moment, shorten

_WIDTH: Final = 1000
_LABEL: Final = 130
_ROW: Final = 28
_BAR: Final = 16
_TOP: Final = 26
_BOTTOM: Final = 26
_SHORTEST: Final = 3.0  # a phase of an hour in a picture of months is seen all the same
_MARKS: Final = 8


def patterns() -> Markup:
    """Return the patterns that all pictures of a page use: a phase is known without its colour."""
    dots = element(
        "pattern",
        element("circle", cx=2, cy=2, r=1.3, class_="dot"),
        element("circle", cx=6, cy=6, r=1.3, class_="dot"),
        id="dots",
        width=8,
        height=8,
        patternUnits="userSpaceOnUse",
    )
    stripes = element(
        "pattern",
        element("path", d="M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4", class_="stripe"),
        id="stripes",
        width=8,
        height=8,
        patternUnits="userSpaceOnUse",
    )
    return element("svg", element("defs", dots, stripes), class_="none", aria_hidden="true")


def legend() -> Markup:
    """Return what the bars mean."""
    items = []
    for coming, when in ((False, ""), (True, "to be ")):
        for phase in (Phase.PENDING, Phase.ACTIVE, Phase.RETIRING):
            box = element(
                "rect", x=1, y=1, width=30, height=12, rx=2, class_=_class(phase, coming=coming)
            )
            picture = element("svg", box, viewBox="0 0 32 14", aria_hidden="true")
            items.append(element("li", picture, f"{when}{phase.value}"))
    return element("ul", *items, class_="key", aria_label="What the bars mean")


def drawn(line: Timeline, name: str) -> Markup:
    """Return the picture.

    Args:
        name: the beginning of the ids in it, unique in the page.
    """
    height = _TOP + _ROW * len(line.rows) + _BOTTOM
    now = _place(line.place(line.now))
    floor = height - _BOTTOM + 2
    title = element("title", f"Timeline of key set {line.key_set}", id=f"{name}-title")
    about = f"From {moment(line.begin)} to {moment(line.end)}. {' '.join(_sentences(line))}"
    parts = [
        title,
        element("desc", about, id=f"{name}-desc"),
        *_axis(line, height),
        *(part for index, row in enumerate(line.rows) for part in _row(line, row, index)),
        element("line", x1=now, x2=now, y1=_TOP - 6, y2=floor, class_="now"),
        element("text", "now", x=now, y=_TOP - 10, text_anchor="middle"),
    ]
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _row(line: Timeline, row: Row, index: int) -> Iterator[Markup]:
    top = _TOP + _ROW * index
    label = shorten(row.kid)
    label = label if len(label) <= 14 else label[:13] + "…"
    yield element("text", label, x=0, y=top + _BAR - 3, class_="mono")
    for span in row.spans:
        yield _bar(line, span, row.kid, top)


def _bar(line: Timeline, span: Span, kid: str, top: int) -> Markup:
    left, right = _place(line.place(span.begin)), _place(line.place(span.end))
    return element(
        "rect",
        element("title", f"{shorten(kid)}: {_said(span)}"),
        x=left,
        y=top,
        width=max(right - left, _SHORTEST),
        height=_BAR,
        rx=2,
        class_=_class(span.phase, coming=span.coming),
    )


def _axis(line: Timeline, height: int) -> Iterator[Markup]:
    for date, name in marks(line.begin, line.end, _MARKS):
        at = _place(line.place(date))
        yield element("line", x1=at, x2=at, y1=_TOP - 4, y2=height - _BOTTOM + 2, class_="grid")
        yield element("text", name, x=at, y=height - 8, text_anchor="middle", class_="quiet")


def _sentences(line: Timeline) -> Iterator[str]:
    """Yield what the picture shows in words; the table below it has the dates."""
    for row in line.rows:
        known = [span.phase.value for span in row.spans if not span.coming]
        comes = [span.phase.value for span in row.spans if span.coming and span.phase in SHOWN]
        was = f" {', '.join(known)}" if known else " does not exist yet"
        later = f"; to be {', '.join(comes)}" if comes else ""
        yield f"Key {shorten(row.kid)}:{was}{later}."


def _said(span: Span) -> str:
    verb = "to be " if span.coming else ""
    until = "on" if span.open else f"until {moment(span.end)}"
    return f"{verb}{span.phase.value} from {moment(span.begin)} {until}"


def _class(phase: Phase, *, coming: bool) -> str:
    return f"{'comes' if coming else 'was'}-{phase.value}"


def _place(part: float) -> float:
    return _LABEL + part * (_WIDTH - _LABEL - 4)
