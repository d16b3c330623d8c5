"""The status page: what a person would rather look at than read, at `/` of the admin listener.

One HTML file without script, form or anything from elsewhere; it changes nothing and is made anew for each
request from what the last ticks found, so that it costs the stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from rotator.admin.exchange import Answer
from rotator.admin.page_drawing import legend, patterns
from rotator.admin.page_known import Known
from rotator.admin.page_markup import Markup, element
from rotator.admin.page_parts import section, summary
from rotator.admin.page_style import CSS, POLICY
from rotator.admin.page_words import Subject
from rotator.metrics import Meter
from rotator.metrics.surroundings import Surroundings
from rotator.settings import Settings
from rotator.words import moment, when

LISTED: Final = 1000
"""Key sets in the summary."""

DRAWN: Final = 24
"""Key sets with a section of their own: as much as anybody scrolls through."""

_HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class StatusPage:
    """Makes the page.

    Args:
        settings: the configuration in force.
        meter: what is known of each key set in figures.
        known: and in full, of those that are drawn.
        around: the version, how the configuration came about, and whether the built-in server runs.
    """

    def __init__(
        self, settings: Callable[[], Settings], meter: Meter, known: Known, around: Surroundings
    ) -> None:
        self._settings, self._meter, self._known, self._around = settings, meter, known, around

    def answer(self) -> Answer:
        """Return the page; implements `rotator.admin.exchange.Route`."""
        now, subjects = self._subjects()
        body = f"<!DOCTYPE html>{self._page(subjects, now)}\n".encode()
        return Answer(200, "text/html; charset=utf-8", body, _HEADERS)

    def _subjects(self) -> tuple[datetime, list[Subject]]:
        """Return every key set, the troubled first; those that are drawn have a number."""
        reading, (briefs, portraits) = self._meter.read(), self._known.read()
        now = datetime.fromtimestamp(reading.now, UTC)
        figures = {item.key_set: item for item in reading.key_sets}
        found = sorted(
            (
                Subject(name, briefs.get(name), figures.get(name), portraits.get(name))
                for name in self._settings().key_sets
            ),
            key=lambda subject: subject.rank(now),
        )
        numbers = iter(range(1, DRAWN + 1))
        return now, [
            replace(subject, number=next(numbers, None)) if subject.portrait else subject
            for subject in found
        ]

    def _page(self, subjects: list[Subject], now: datetime) -> Markup:
        troubled = sum(bool(subject.troubles(now)) for subject in subjects)
        state = f"{troubled} of {len(subjects)} want attention" if troubled else "all in order"
        shown = [subject for subject in subjects if subject.number is not None]
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="robots", content="noindex"),
            # Without it a browser asks for /favicon.ico.
            element("link", rel="icon", href="data:,"),
            element("title", f"rotator: {state}"),
            element("style", Markup(CSS)),
        )
        main = element(
            "main",
            summary(subjects[:LISTED], now, of=len(subjects)),
            *self._pictures(shown, now, left=len(subjects) - len(shown)),
            id="main",
        )
        skip = element("a", "To the key sets", href="#main", class_="skip")
        body = element("body", skip, patterns(), self._header(state, now), main, self._footer(now))
        return element("html", head, body, lang="en")

    def _header(self, state: str, now: datetime) -> Markup:
        lines = [element("li", words, class_="bad") for words in self._daemon()]
        return element(
            "header",
            element("h1", f"rotator: {state}"),
            element("p", f"As of {moment(now)}. ", element("a", "Look again", href="/")),
            element("ul", *lines, aria_label="The daemon") if lines else None,
        )

    def _daemon(self) -> Iterator[str]:
        """Yield what is amiss with the daemon itself."""
        if self._around.reload is not None and (error := self._around.reload().error):
            yield f"The newest configuration was refused, the one before is in force: {error}"
        server = self._around.server() if self._around.server is not None else None
        if server is not None and not server[0]:
            yield "The built-in server does not run; it is started again"

    def _pictures(self, shown: list[Subject], now: datetime, *, left: int) -> Iterator[Markup]:
        if shown:
            yield legend()
        for subject in shown:
            yield section(subject, now)
        if left:
            words = (
                f"{left} more key sets are not drawn; `rotator status KEY_SET` draws each of them."
            )
            yield element("p", words, class_="quiet")

    def _footer(self, now: datetime) -> Markup:
        loaded = ""
        if self._around.reload is not None:
            at = self._around.reload().loaded_at
            loaded = f"; configuration of {when(at, now)}"
        words = f"rotator {self._around.version}{loaded}. This page only shows; it changes nothing."
        return element("footer", element("p", words, class_="quiet"))
