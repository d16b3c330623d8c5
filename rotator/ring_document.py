"""How a key ring is written down: one JSON document with a format name, a version and a revision."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rotator.ring import Entry, Key, KeyRing, Order, Protected
from rotator.ring_reader import FORMAT, MAX_BYTES, VERSION, read_ring

__all__ = [
    "FORMAT",
    "MAX_BYTES",
    "VERSION",
    "format_date",
    "read_ring",
    "write_bounded",
    "write_ring",
]


def format_date(date: datetime) -> str:
    """Write a date as RFC 3339 in UTC, with microseconds: rounding would move it before its evidence."""
    return date.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_ring(ring: KeyRing) -> bytes:
    """Return the bytes of a ring. The same ring gives the same bytes."""
    document = {
        **ring.extra,
        "format": FORMAT,
        "version": VERSION,
        "key_set": ring.key_set,
        "revision": ring.revision,
        "keys": [_write_key(key) for key in ring.keys],
        "holders": {name: list(kids) for name, kids in ring.holders.items()},
        "protection": {name: _write_protected(item) for name, item in ring.protection.items()},
        "hold": _write_order(ring.hold),
        "promote": _write_order(ring.promote),
        "pins": {kid: _write_order(order) for kid, order in ring.pins.items()},
        "first_activated_at": _write_date(ring.first_activated_at),
        "kind_changed_at": _write_date(ring.kind_changed_at),
        "discards": ring.discards or None,
        "discarded_at": _write_date(ring.discarded_at),
        "clock_confirmed_at": _write_date(ring.clock_confirmed_at),
        "history": [_write_entry(entry) for entry in ring.history],
    }
    kept = {name: value for name, value in document.items() if value is not None}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_bounded(ring: KeyRing) -> tuple[KeyRing, bytes]:
    """Return a ring as it is to be saved, and its bytes: the oldest history goes when there is no room."""
    document = write_ring(ring)
    while len(document) > MAX_BYTES and ring.history:
        ring = replace(ring, history=ring.history[len(ring.history) // 2 + 1 :])
        document = write_ring(ring)
    return ring, document


def _write_date(date: datetime | None) -> str | None:
    return None if date is None else format_date(date)


def _write_key(key: Key) -> dict[str, Any]:
    document: dict[str, Any] = {
        **key.extra,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "size": key.size,
        "phase": key.phase.value,
        "locator": key.locator,
        "public": dict(key.public) if key.public is not None else None,
        "check": key.check,
        "announced": {name: format_date(date) for name, date in key.announced.items()} or None,
        "reason": key.reason or None,
    }
    for name in ("created", "pending", "activated", "retiring", "superseded", "ended"):
        document[f"{name}_at"] = _write_date(getattr(key, f"{name}_at"))
    document["destroy_after"] = _write_date(key.destroy_after)
    return {name: value for name, value in document.items() if value is not None}


def _write_order(order: Order | None) -> dict[str, Any] | None:
    if order is None:
        return None
    document = {
        **order.extra,
        "at": format_date(order.at),
        "reason": order.reason or None,
        "replaces": order.replaces,
        "urgent": order.urgent or None,
        "ignore_windows": order.ignore_windows or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _write_protected(item: Protected) -> dict[str, Any]:
    document: dict[str, Any] = {**item.extra, "value": item.value.total_seconds()}
    if item.lower is not None and item.since is not None:
        document |= {"lower": item.lower.total_seconds(), "since": format_date(item.since)}
    if item.disputed_at is not None:
        document["disputed_at"] = format_date(item.disputed_at)
    return document


def _write_entry(entry: Entry) -> dict[str, Any]:
    document = {**entry.extra, "at": format_date(entry.at), "event": entry.event}
    optional = (("kid", entry.kid), ("reason", entry.reason), ("id", entry.id))
    return document | {name: value for name, value in optional if value}
