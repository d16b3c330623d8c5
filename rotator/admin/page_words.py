"""What the status page says of a key set in words: its state, what is amiss, what comes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.admin.page_known import Brief, Fault, Portrait
from rotator.metrics.figures import KeySetFigures
from rotator.plan import waiting_for
from rotator.policy import format_duration
from rotator.ring import KeyRing, Order
from rotator.signers.judge import drifts
from rotator.step import Reason
from rotator.words import in_words, shorten, when

Sentence = tuple[str, str | None]
"""Words, and the class that says how grave they are."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One key set of the page.

    Attributes:
        figures: None before its first tick.
        number: of its section, None when it has none.
    """

    name: str
    brief: Brief | None
    figures: KeySetFigures | None
    portrait: Portrait | None
    number: int | None = None

    def troubles(self, now: datetime) -> tuple[str, ...]:
        """Return what is amiss in a word or two each, the gravest first."""
        if self.figures is None and self.brief is None:
            return ("not looked at yet",)
        found, figures, brief = [], self.figures, self.brief or Brief()
        late = figures.overdue(now.timestamp()) if figures is not None else None
        if brief.error is not None:
            found.append("cannot be looked after")
        if late is not None:
            found.append(f"overdue for {format_duration(_whole(late))}")
        if brief.suspicious:
            found.append("clock suspicious")
        if figures is not None:
            if figures.failing and brief.error is None:
                found.append("a target fails")
            if any(item.drifted for item in figures.targets):
                found.append("a target was changed by others")
            if any(item.drifting for item in figures.signers):
                found.append("a signer uses another key")
        if brief.hold is not None:
            found.append("held")
        return tuple(found)

    def rank(self, now: datetime) -> tuple[int, float, str]:
        """Return what puts the troubled first."""
        troubles = self.troubles(now)
        late = self.figures.overdue(now.timestamp()) if self.figures is not None else None
        grave = 2 if not troubles else 1 if troubles == ("held",) else 0
        return (grave, -(late or 0.0), self.name)


def sentences(subject: Subject, portrait: Portrait, now: datetime) -> Iterator[Sentence]:
    """Yield what is amiss, what an operator asked for, and what comes."""
    yield from _amiss(subject, portrait)
    yield from _orders(portrait.ring, now)
    ring, policy = portrait.ring, portrait.policy
    for step in waiting_for(ring, policy, now, portrait.observed):
        if step.kid or step.reason is not Reason.NOT_DUE:
            words = in_words(step, now)
            yield words[:1].upper() + words[1:], "bad" if step.blocked else None
    if not portrait.asked:
        lag = format_duration(ring.in_force(policy).signer_lag)
        yield f"Signers are assumed to follow within {lag}: no signer check asks them", None


def _amiss(subject: Subject, portrait: Portrait) -> Iterator[Sentence]:
    error = subject.brief.error if subject.brief is not None else None
    if error is not None:
        yield f"It cannot be looked after: {_why(error)}", "bad"
    if portrait.observed.suspicious:
        yield f"This host's clock is not trusted: {portrait.observed.suspicious}", "bad"
    for fault in portrait.faults:
        yield f"{fault.what} fails: {_why(fault)}", "bad"
    policy = portrait.ring.in_force(portrait.policy)
    for drift in drifts(portrait.ring, policy, portrait.at, portrait.observed):
        yield f"{drift.name}: {drift.reason}", "bad"
    for words in portrait.left:
        yield words, "warn"


def _orders(ring: KeyRing, now: datetime) -> Iterator[Sentence]:
    if ring.hold is not None:
        then = "no key is created, promoted or retired until `rotator release`"
        yield f"Held {_since(ring.hold, now)}; {then}", "warn"
    if ring.promote is not None:
        replaced = shorten(ring.promote.replaces or "")
        yield f"Ordered {_since(ring.promote, now)}: {replaced} is to be replaced", None
    for kid, order in sorted(ring.pins.items()):
        yield f"{shorten(kid)} is pinned {_since(order, now)}", None


def _since(order: Order, now: datetime) -> str:
    return f"since {when(order.at, now)}{f' ({order.reason})' * bool(order.reason)}"


def _why(fault: Fault) -> str:
    return f"{fault.why}; {fault.hint}" if fault.hint else fault.why


def _whole(seconds: float) -> timedelta:
    unit = 60 if seconds >= 120 else 1
    return timedelta(seconds=seconds // unit * unit)
