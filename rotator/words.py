"""A step in words: what will happen, when, and why. One mapping for the commands and for the daemon's log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from rotator.policy import format_duration
from rotator.step import Do, Reason, Step

__all__ = [
    "because",
    "coming",
    "forecast",
    "in_words",
    "moment",
    "shorten",
    "shortly",
    "verb",
    "when",
]

_SHOWN: Final = 8  # characters of a kid: enough to tell the keys of a ring apart
_WORTH_SAYING: Final = timedelta(minutes=2)

# A kid is base64url of 32 or 16 bytes. The short ones need a capital letter, and neither may be a part
# of a path: a directory's name can be as long.
_KID: Final = re.compile(
    r"(?<![\w/.-])(?:[\w-]{43}|(?=[\w-]*[A-Z])[\w-]{22})(?![\w/-]|\.\w)", re.ASCII
)


class _Coming(NamedTuple):
    """What comes after a wait.

    Attributes:
        verb: for programs, the field `next` of `step.waiting`; empty when only an operator can tell.
        phrase: for people; `{key}` is the kid, or `a next key`.
        why: for people, when the step has no detail or there is no room for it.
        until: the word before the date of what comes.
    """

    verb: str
    phrase: str
    why: str
    until: str = "on"


_COMING: Final[Mapping[Reason, _Coming]] = MappingProxyType(
    {
        Reason.CLOCK_SUSPICIOUS: _Coming(
            "", "go on once the clock is trusted", "the clock is suspicious"
        ),
        Reason.CREATED_ELSEWHERE: _Coming(
            "create", "finish the creation of {key}", "another process is creating it"
        ),
        Reason.ADOPTING: _Coming(
            "", "finish the adoption of {key}", "its adoption is not finished", "begun"
        ),
        Reason.DISCARD_BACKOFF: _Coming(
            "create", "create a next key", "new keys failed their self-test"
        ),
        Reason.UNDESTROYED: _Coming(
            "", "create a next key once ended keys are destroyed", "too many are not"
        ),
        Reason.FULL: _Coming(
            "", "create a next key once there is a place for it", "the JWKS is full"
        ),
        Reason.HELD: _Coming("", "go on with {key} once released", "held", "due"),
        Reason.KIND_PACED: _Coming(
            "create", "create a next key of the new kind", "one change of kind at a time"
        ),
        # Its kid may be the current key's, when there is no next one: so it is not named.
        Reason.NOT_ANNOUNCED: _Coming("announce", "announce a next key", "not seen yet", "by"),
        Reason.PROPAGATING: _Coming("promote", "promote {key}", "propagating"),
        Reason.NO_ANSWER: _Coming(
            "look again", "go on with {key} once everything answers", "no answer", "due"
        ),
        Reason.NOT_DUE: _Coming("promote", "promote {key}", "not due yet"),
        Reason.WINDOW_CLOSED: _Coming("promote", "promote {key}", "its change windows are closed"),
        Reason.NOT_SUPERSEDED: _Coming(
            "supersede", "supersede {key} at every signing target", "not replaced yet", "by"
        ),
        Reason.IN_GRACE: _Coming("retire", "retire {key}", "its tokens may still be in use"),
        Reason.STILL_HELD: _Coming("retire", "retire {key}", "a signer may still use it"),
        Reason.PINNED: _Coming("", "retire {key} once unpinned", "pinned"),
        Reason.STALLED_WRITER: _Coming(
            "destroy", "destroy {key}", "a stalled writer may still put it"
        ),
    }
)


def verb(step: Step) -> str:
    """Return what comes after a wait in one word, for programs; empty when only an operator can tell."""
    if step.reason is Reason.NOT_DUE and not step.kid:
        return "create"
    found = _COMING.get(step.reason)
    return found.verb if found is not None else ""


def coming(step: Step) -> str:
    """Return what comes after a wait, the key named: `promote ODbe_Dvx…`."""
    if step.reason is Reason.NOT_DUE and not step.kid:
        return "create a next key"
    found = _COMING.get(step.reason)
    if found is None:
        return step.reason.value.replace("-", " ")
    return found.phrase.format(key=shorten(step.kid) if step.kid else "a next key")


def because(reason: Reason) -> str:
    """Return a reason in a few words; `docs/reasons.md` has more of them."""
    found = _COMING.get(reason)
    return found.why if found is not None else reason.value.replace("-", " ")


def in_words(step: Step, now: datetime) -> str:
    """Return a step that was or would be taken, or what comes after a wait, as one line.

    A wait begins with `next:`, or with `overdue` and since when, when something has to be mended.
    """
    if step.do is Do.WAIT:
        detail = shorten(step.detail) or because(step.reason)
        due = f"{_until(step, now)} {when(step.due_at, now)}" if step.due_at else ""
        return f"{_dated(step, now, due)}: {detail}"
    words = f"{step.do.value} {shorten(step.kid)}".rstrip() + f" ({because(step.reason)})"
    if step.due_at is not None and abs(now - step.due_at) > _WORTH_SAYING:
        words += f", due {when(step.due_at, now)}"
    return f"{words}: {shorten(step.detail)}" if step.detail else words


def forecast(step: Step, now: datetime) -> str:
    """Return what comes after a wait in the few words that a line of a log has room for.

    What `in_words` says, with `in 27s` for dates that are near, and the detail left out where the date
    says it all: but never that an operator's hold will be in the way.
    """
    due = ""
    if step.due_at is not None:
        near = shortly(step.due_at, now)
        due = near if near.startswith("in ") else f"{_until(step, now)} {near}"
    why = because(step.reason)
    if step.blocked or step.due_at is None:
        why = shorten(step.detail) or why
    elif "; held since" in step.detail:
        why += "; held since" + step.detail.partition("; held since")[2]
    return f"{_dated(step, now, due)} ({why})"


def _dated(step: Step, now: datetime, due: str) -> str:
    """Return what comes after a wait with its date: `next: retire ODbe_Dvx… in 27s`."""
    if not step.blocked:
        return f"next: {coming(step)} {due}".rstrip()
    if step.due_at is not None and step.due_at <= now:
        return f"overdue {due}: {coming(step)}"
    return f"overdue: {coming(step)} {due}".rstrip()


def _until(step: Step, now: datetime) -> str:
    if step.due_at is not None and step.due_at <= now:
        return "since" if step.blocked else "due"
    found = _COMING.get(step.reason)
    return found.until if found is not None else "on"


def shorten(text: str) -> str:
    """Return a text with every kid in it cut to its first characters: `ODbe_Dvx…`."""
    return _KID.sub(lambda found: found.group()[:_SHOWN] + "…", text)


def moment(date: datetime) -> str:
    """Return a date as RFC 3339 in UTC, whole seconds."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(date: datetime, now: datetime) -> str:
    """Return a date with its distance: `2026-11-22T07:00:00Z (in 3d4h)`."""
    return f"{moment(date)} ({_distance(date, now)})"


def shortly(date: datetime, now: datetime) -> str:
    """Return a date in as few characters as its distance allows: `in 27s`, `07:00:00`, or all of it."""
    if now < date < now + _WORTH_SAYING:
        return _distance(date, now)
    if abs(date - now) < timedelta(hours=12):
        return date.astimezone(UTC).strftime("%H:%M:%S")
    return when(date, now)


def _distance(date: datetime, now: datetime) -> str:
    apart = abs(date - now)
    unit = timedelta(seconds=1) if apart < timedelta(minutes=2) else timedelta(minutes=1)
    if apart >= timedelta(days=2):
        unit = timedelta(hours=1)
    distance = format_duration(apart // unit * unit)
    return f"in {distance}" if date > now else f"{distance} ago"
