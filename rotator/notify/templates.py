"""The bodies of webhooks: our own, Slack's and Alertmanager's. Pure.

Slack: incoming webhooks take `text`, in which `&`, `<` and `>` are escaped and nothing else is
(https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/surfaces/formatting).
Alertmanager: `POST /api/v2/alerts` takes a list of alerts with `labels`, `annotations`, `startsAt`, `endsAt`
(its `api/v2/openapi.yaml`, `postableAlerts`); what it knows an alert by is its labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.notify.news import BEGUN, ENDED, SKIPPED, TEST, Event, News, body_of
from rotator.ring_document import format_date

_ONCE: Final = timedelta(minutes=15)
"""How long an alert about something that merely happened lasts."""

_LASTS: Final = timedelta(days=30)
"""How long an alert lasts whose end is never told, for the key set was given up: nobody sends it again."""

_PHRASES: Final[Mapping[str, str]] = {
    Event.ANNOUNCED.value: "key {kid} is announced",
    Event.PROMOTED.value: "key {kid} signs from now on",
    Event.SUPERSEDED.value: "key {kid} is superseded: every signer has its successor",
    Event.RETIRED.value: "key {kid} is retired",
    Event.REVOKED.value: "key {kid} is REVOKED",
    Event.DRIFT.value: "somebody changed {target}; it is mended",
    f"{Event.FAILED.value} {BEGUN}": "{what} FAILS",
    f"{Event.FAILED.value} {ENDED}": "{what} does not fail any more",
    f"{Event.OVERDUE.value} {BEGUN}": "something is OVERDUE",
    f"{Event.OVERDUE.value} {ENDED}": "nothing is overdue any more",
    SKIPPED: "{count} before this were not kept for you",
    TEST: "this is a test; nothing happened",
}

_SEVERITY: Final[Mapping[str, str]] = {
    Event.FAILED.value: "warning",
    Event.OVERDUE.value: "critical",
    Event.REVOKED.value: "critical",
    Event.DRIFT.value: "warning",
    SKIPPED: "warning",
}


def in_words(news: News) -> str:
    """Return an event as one sentence for people."""
    count = "an unknown number of events" if news.count is None else f"up to {news.count} events"
    phrase = _PHRASES[f"{news.event} {news.state}".strip()].format(
        kid=news.kid, target=news.target, what=news.target or "the key set", count=count
    )
    reason = f" ({news.reason})" if news.reason else ""
    return f"rotator: key set {news.key_set}: {phrase}{reason}"


def generic(news: News, _now: datetime) -> bytes:
    """Return `type`, `timestamp` and `data`, as Standard Webhooks has it."""
    return body_of(news)


def slack(news: News, _now: datetime) -> bytes:
    """Return a message of an incoming webhook; one that comes late says when it happened."""
    text = in_words(news).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _json({"text": f"{text}, {news.at:%Y-%m-%d %H:%M:%S} UTC"})


def alertmanager(news: News, now: datetime) -> bytes:
    """Return a list of one alert; a condition that ended resolves the alert of the one that began."""
    labels = {
        "alertname": f"Rotator{news.event.title()}",
        "key_set": news.key_set,
        "severity": _SEVERITY.get(news.event, "info"),
    }
    if news.target:
        labels["target"] = news.target
    if not news.state and news.kid:
        labels["kid"] = news.kid
    ends = {BEGUN: now + _LASTS, ENDED: now}.get(news.state, now + _ONCE)
    alert: dict[str, Any] = {
        "labels": labels,
        "annotations": {"summary": in_words(news), "event_id": news.id},
        "endsAt": format_date(ends),
    }
    if news.state != ENDED:
        alert["startsAt"] = format_date(min(news.at, now))
    return _json([alert])


TEMPLATES: Final[Mapping[str, Callable[[News, datetime], bytes]]] = {
    "generic": generic,
    "slack": slack,
    "alertmanager": alertmanager,
}


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
