"""How keys, steps, orders and targets are shown: as JSON members, and in words. `docs/json.md` has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from rotator import words
from rotator.errors import RotatorError
from rotator.observed import Answered, Sighting
from rotator.ring import Entry, Key, KeyRing, Order, Phase
from rotator.step import Reason, Step
from rotator.words import in_words, when

__all__ = [
    "answer_in_words",
    "entry_view",
    "failing_now",
    "failures_view",
    "in_words",
    "key_view",
    "keys_in_words",
    "moment",
    "order_view",
    "sighting_view",
    "step_view",
    "when",
    "written_in",
]


def moment(date: datetime | None) -> str | None:
    """Return a date as RFC 3339 in UTC, whole seconds."""
    return None if date is None else words.moment(date)


def step_view(step: Step) -> dict[str, Any]:
    """Return one step, or one thing waited for."""
    return {
        "do": step.do.value,
        "reason": step.reason.value,
        "kid": step.kid or None,
        "due_at": moment(step.due_at),
        "detail": step.detail,
        "overdue": step.blocked,
    }


def failing_now(step: Step, failing: Iterable[str]) -> Step:
    """Return a wait that says which of the targets it names fail now: its date is no reason to wait.

    Args:
        failing: names of targets that do not answer, or could not be written.
    """
    if step.reason is not Reason.NOT_ANNOUNCED:
        return step
    named, known = step.detail.removeprefix("not seen at ").split(", "), set(failing)
    silent = [name for name in named if name in known]
    if not silent:
        return step
    more = ", which fails now" if silent == named[-1:] else f"; failing now: {', '.join(silent)}"
    return replace(step, detail=step.detail + more)


def key_view(key: Key, ring: KeyRing) -> dict[str, Any]:
    """Return one key: its phase and dates; nothing secret is in a ring."""
    dates = ("created", "pending", "activated", "retiring", "superseded", "ended")
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "size": key.size,
        "phase": key.phase.value,
        **{f"{name}_at": moment(getattr(key, f"{name}_at")) for name in dates},
        "announced": {name: moment(date) for name, date in sorted(key.announced.items())},
        "pinned": key.kid in ring.pins,
        "reason": key.reason or None,
    }


def order_view(order: Order | None) -> dict[str, Any] | None:
    """Return one order of an operator."""
    if order is None:
        return None
    return {
        "at": moment(order.at),
        "reason": order.reason or None,
        "replaces": order.replaces,
        "urgent": order.urgent,
        "ignore_windows": order.ignore_windows,
    }


def entry_view(entry: Entry) -> dict[str, Any]:
    """Return one line of the history."""
    return {
        "at": moment(entry.at),
        "event": entry.event,
        "kid": entry.kid or None,
        "reason": entry.reason or None,
    }


def sighting_view(name: str, seen: Sighting) -> dict[str, Any]:
    """Return one target as it was just looked at."""
    return {
        "target": name,
        "kind": seen.kind.value,
        "answered": seen.answered,
        "filled": seen.filled,
        "foreign": seen.foreign,
        "revision": seen.revision,
        "kids": list(seen.kids),
        "strangers": list(seen.strangers),
        "cache_seconds": None if seen.cache is None else seen.cache.total_seconds(),
        "error": seen.error or None,
        "note": seen.note or None,
        "assumed": seen.assumed,
        "at": moment(seen.at),
        "answers": [
            {
                "address": item.address,
                "kids": None if item.kids is None else list(item.kids),
                "revision": item.revision,
                "age_seconds": None if item.age is None else item.age.total_seconds(),
            }
            for item in seen.answers
        ],
    }


def answer_in_words(answer: Answered) -> str:
    """Return what one address behind a probe said."""
    held = "nothing" if answer.kids is None else ", ".join(answer.kids) or "no key"
    revision = f", revision {answer.revision}" if answer.revision is not None else ""
    age = f", Age {answer.age.total_seconds():.0f} s" if answer.age is not None else ""
    return f"{answer.address}: {held}{revision}{age}"


def failures_view(failures: Mapping[str, RotatorError]) -> list[dict[str, Any]]:
    """Return what failed without stopping the key set."""
    return [
        {"target": name, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        for name, error in sorted(failures.items())
    ]


def keys_in_words(ring: KeyRing) -> str:
    """Return which keys a ring has, as one line."""
    current = f"current {ring.active.kid}" if ring.active is not None else "no current key"
    coming = ", ".join(key.kid for key in ring.in_phase(Phase.CREATING, Phase.PENDING)) or "none"
    leaving = ", ".join(key.kid for key in ring.in_phase(Phase.RETIRING)) or "none"
    return f"{current}, next {coming}, previous {leaving} (revision {ring.revision})"


def written_in(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return which documents the events of a command say were written."""
    names = {
        "jwks.published": "jwks",
        "verification.published": "verification",
        "key.delivered": "signing",
    }
    return [
        {
            "target": event.get("target"),
            "document": names[event["event"]],
            "kids": [kid for kid in str(event.get("kid", "")).split(",") if kid],
            "revision": event.get("revision"),
        }
        for event in events
        if event["event"] in names
    ]
