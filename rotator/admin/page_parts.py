"""The parts of the status page: the summary of all key sets, and one section for each that is drawn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from rotator.admin.page_drawing import drawn
from rotator.admin.page_known import Brief, Portrait, called, policy_in_words
from rotator.admin.page_markup import Markup, element, join
from rotator.admin.page_words import Subject, sentences
from rotator.observed import Answered, Sighting
from rotator.policy import format_duration
from rotator.ring import Phase
from rotator.timeline import Change, Row, Timeline, pictured
from rotator.words import shorten, when

_ENDED: Final = "gone"
_ADDRESSES: Final = 16  # of one probe, in the table


def summary(subjects: Iterable[Subject], now: datetime, *, of: int) -> Markup:
    """Return the table of all key sets.

    Args:
        of: how many there are; more than are listed, perhaps.
    """
    names = ("Key set", "State", "Current key", "Next due", "Does or waits for")
    head = element("tr", *(element("th", name, scope="col") for name in names))
    rows = [_summary_row(subject, now) for subject in subjects]
    left = of - len(rows)
    more = f" The first {len(rows)}, the troubled first." if left > 0 else ""
    return element(
        "div",
        element(
            "table",
            element("caption", f"{of} key set{'s' * (of != 1)}.{more}"),
            element("thead", head),
            element("tbody", *rows),
        ),
        class_="wide",
        tabindex="0",
        role="region",
        aria_label="All key sets",
    )


def _summary_row(subject: Subject, now: datetime) -> Markup:
    figures, brief = subject.figures, subject.brief or Brief()
    name: Markup | str = subject.name
    if subject.number is not None:
        name = element("a", subject.name, href=f"#k{subject.number}")
    due = figures.next_due if figures is not None else None
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", _state(subject, now)),
        element("td", shorten(brief.current) or "none", class_="kid"),
        element("td", _when(_date(due), now) if due is not None else "–"),
        element("td", figures.reason.replace("-", " ") if figures is not None else "–"),
    )


def _state(subject: Subject, now: datetime) -> Markup:
    troubles = subject.troubles(now)
    if not troubles:
        return element("span", "in order", class_="good")
    grave = troubles != ("held",)
    return element("span", ", ".join(troubles), class_="bad" if grave else "warn")


def section(subject: Subject, now: datetime) -> Markup:
    """Return all that is known of one key set."""
    portrait = subject.portrait
    assert portrait is not None  # noqa: S101 - for the type: only those that are kept whole have a section
    name = f"k{subject.number}"
    ring, policy = portrait.ring, portrait.policy
    trusted = not portrait.observed.suspicious
    line = pictured(ring, policy, now, portrait.targets, foretold=trusted)
    place = f", in {portrait.place}" if portrait.place else ""
    about = f"{policy.kind}, revision {ring.revision}{place}; looked at {when(portrait.at, now)}."
    return element(
        "section",
        element("h2", subject.name, id=name),
        element("p", _state(subject, now)),
        element("p", about, class_="quiet"),
        element("p", policy_in_words(portrait), class_="quiet"),
        _said(subject, portrait, now),
        element(
            "div",
            drawn(line, name),
            class_="wide",
            tabindex="0",
            role="region",
            aria_label=f"Timeline of {subject.name}",
        ),
        _keys(line, portrait, now),
        _targets(portrait, now),
        aria_labelledby=name,
    )


def _said(subject: Subject, portrait: Portrait, now: datetime) -> Markup:
    lines = [element("li", words, class_=tone) for words, tone in sentences(subject, portrait, now)]
    return element("ul", *lines, aria_label=f"What is to be said of {subject.name}")


def _keys(line: Timeline, portrait: Portrait, now: datetime) -> Markup:
    columns = (Phase.PENDING, Phase.ACTIVE, Phase.RETIRING)
    titles = ("Key", "Phase now", "Pending from", "Active from", "Retiring from", "Gone from")
    rows = [
        element(
            "tr",
            element("th", row.kid, scope="row", class_="kid"),
            element("td", _now(row)),
            *(element("td", _from(row, phase, now)) for phase in columns),
            element("td", _end(row, now)),
        )
        for row in line.rows
    ]
    hidden = f" {line.hidden} more are not shown." if line.hidden else ""
    caption = f"Keys and their dates. Dates to come hold if every target answers.{hidden}"
    return _table(caption, titles, rows, f"Keys of {portrait.ring.key_set}")


def _now(row: Row) -> str:
    if row.phase is None:
        return "to come" if row.changes[0].coming else _ENDED
    return called(row.phase) + (", pinned" if row.pinned else "")


def _from(row: Row, phase: Phase, now: datetime) -> Markup:
    found = [change for change in row.changes if change.phase is phase]
    return _dated(found[-1], now) if found else join("–")


def _end(row: Row, now: datetime) -> Markup:
    last = row.changes[-1]
    ended = last.phase in {Phase.RETIRED, Phase.REVOKED, Phase.DISCARDED}
    return join(_dated(last, now), f": {last.phase.value}") if ended else join("–")


def _dated(change: Change, now: datetime) -> Markup:
    return join("expected " if change.coming else None, _when(change.at, now))


def _when(date: datetime, now: datetime) -> Markup:
    """Return a date that is not broken in its middle, and its distance."""
    said, _, distance = when(date, now).partition(" ")
    return join(element("time", said, datetime=said), f" {distance}")


def _targets(portrait: Portrait, now: datetime) -> Markup:
    observed = portrait.observed
    signers = dict(observed.signers())
    seen = {**observed.sightings, **signers}
    failing = {fault.what for fault in portrait.faults}
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", _role(name, sighting, asked=name in signers)),
            element("td", *_answer(sighting, failing=name in failing)),
            element("td", _when(sighting.at or portrait.at, now)),
        )
        for name, sighting in seen.items()
    ]
    titles = ("Target", "What it is", "Last answer", "Asked")
    return _table(
        "Targets and probes, and what they last answered",
        titles,
        rows,
        f"Targets of {portrait.ring.key_set}",
    )


def _role(name: str, seen: Sighting, *, asked: bool) -> str:
    if asked:
        return "signer check"
    if name.startswith("probe:"):
        return "probe: where verifiers read"
    return {"signing": "delivery to signers", "verification": "delivery to verifiers"}.get(
        seen.kind.value, "publication"
    )


def _answer(seen: Sighting, *, failing: bool) -> Iterator[Markup]:
    if not seen.answered:
        yield element("span", f"no answer: {seen.error}", class_="bad")
        return
    held = ", ".join(shorten(kid) for kid in seen.kids)
    held += "".join(f", {shorten(kid)} (unknown)" for kid in seen.strangers)
    words = held.removeprefix(", ") or "nothing"
    revision = f", revision {seen.revision}" if seen.revision is not None else ""
    yield element("span", f"{words}{revision}", class_="kid")
    if failing:
        yield element("span", " fails, see above", class_="bad")
    if seen.foreign:
        yield element("span", " written by something else", class_="bad")
    if seen.assumed:
        yield join(" (assumed: it cannot be read back)")
    if seen.note:
        yield element("span", f" {seen.note}", class_="bad" if seen.drifted else "quiet")
    if len(seen.answers) > 1:
        items = (element("li", _address(item)) for item in seen.answers[:_ADDRESSES])
        yield element("ul", *items)


def _address(answer: Answered) -> str:
    held = "nothing" if answer.kids is None else ", ".join(map(shorten, answer.kids)) or "no key"
    age = f", kept by a cache for {format_duration(answer.age)}" if answer.age is not None else ""
    return f"{answer.address}: {held}{age}"


def _table(caption: str, titles: Iterable[str], rows: Iterable[Markup], label: str) -> Markup:
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    table = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *rows)
    )
    return element("div", table, class_="wide", tabindex="0", role="region", aria_label=label)


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
