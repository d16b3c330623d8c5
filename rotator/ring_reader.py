"""Reading a key ring, strictly: what cannot be trusted is `StoreCorrupt`, with the place named.

Nothing is guessed. Optional fields that this version does not know are kept for the next save, so that
two versions of the program can share a ring during an upgrade.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NoReturn, TypeVar

from rotator.algorithms import ALGORITHMS, PRIVATE_MEMBERS, PUBLIC_MEMBERS
from rotator.errors import RingMoved, StoreCorrupt
from rotator.ring import ENDED, Entry, Key, KeyRing, Order, Phase, Protected, line_id

FORMAT: Final = "rotator.ring"
VERSION: Final = 1
MOVED_FORMAT: Final = "rotator.ring.moved"
"""What stands in the place of a ring that is elsewhere (`rotator.ring_moved`); no earlier program reads it."""

ARRIVING: Final = "arriving"
MAX_BYTES: Final = 48 * 1024
"""A ring stays below this, so that it fits every secrets manager (AWS Secrets Manager: 64 KiB)."""

_T = TypeVar("_T")
_RING_FIELDS: Final = frozenset(
    {"format", "version", *(field.name for field in fields(KeyRing))} - {"extra"}
)


@cache
def _names(part: type[Key | Order | Protected | Entry]) -> frozenset[str]:
    return frozenset({field.name for field in fields(part)} - {"extra"})


def _unknown(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that a later version may have written, to be saved as they are."""
    if data.keys() <= known:  # a ring is read at each tick, a hundred entries of history with it
        return {}
    return {name: value for name, value in data.items() if name not in known}


def read_ring(document: bytes, *, key_set: str, place: str = "") -> KeyRing:
    """Read a ring.

    Args:
        document: the bytes that a store holds.
        key_set: the key set that this ring must belong to.
        place: where the bytes came from, for the message (a path, a secret's name).

    Raises:
        RingMoved: the ring is in another store, or on its way here from one.
        StoreCorrupt: not a ring, one of another key set or of a newer version, a field missing or
            malformed, two active keys, a kid twice, or a private member in it; the place is named.
    """
    return _Reader(key_set, place).ring(document)


class _Reader:
    """Reads one ring; every fault names the path inside the document."""

    def __init__(self, key_set: str, place: str) -> None:
        self._key_set = key_set
        self._place = f" ({place})" if place else ""

    def fail(self, path: str, what: str, *, first: str = "") -> NoReturn:
        raise StoreCorrupt(
            f"the ring of key set {self._key_set}{self._place} cannot be trusted: "
            f"{path or 'document'}: {what}",
            hint=f"nothing was changed; {first}restore a backup with `rotator recover "
            f"{self._key_set} --ring FILE`, or, if the store leaked, `rotator rotate --emergency`",
        )

    def ring(self, document: bytes) -> KeyRing:
        if len(document) > 4 * MAX_BYTES:
            self.fail("", f"{len(document)} bytes are more than a ring can have")
        try:
            data = json.loads(document, parse_constant=lambda name: self.fail("", f"{name} in it"))
        except (ValueError, RecursionError) as error:
            self.fail("", f"not JSON ({type(error).__name__})")
        if not isinstance(data, dict):
            self.fail("", "not a JSON object")
        if data.get("format") == MOVED_FORMAT and data.get("key_set") == self._key_set:
            at = f"{str(data.get('at'))[:19]}Z"
            date = at if data.get("state") != ARRIVING else None
            raise RingMoved(self._key_set, self._place[2:-1], str(data.get("store")), date)
        if data.get("format") != FORMAT:
            self.fail("format", f"is not {FORMAT!r}")
        if data.get("version") != VERSION:
            self.fail(
                "version",
                f"is {data.get('version')!r}; this program reads version {VERSION}",
                first="if a newer rotator wrote it, start that one again; else ",
            )
        if data.get("key_set") != self._key_set:
            self.fail("key_set", f"it is the ring of key set {data.get('key_set')!r}")
        self._refuse_private(data, "")
        return self._check(self._build(data))

    def _build(self, data: dict[str, Any]) -> KeyRing:
        revision = self.take(data, "", "revision", int)
        if revision < 1:
            self.fail("revision", "is below 1")
        pins = self.take(data, "", "pins", dict)
        protection = self.take(data, "", "protection", dict)
        holders = self.take(data, "", "holders", dict)
        return KeyRing(
            key_set=self._key_set,
            revision=revision,
            keys=self.each(data, "keys", self._key),
            holders={name: self._kids(kids, f"holders.{name}") for name, kids in holders.items()},
            protection={n: self._protected(v, f"protection.{n}") for n, v in protection.items()},
            hold=self._optional_order(data, "hold"),
            promote=self._optional_order(data, "promote"),
            pins={kid: self._order(order, f"pins.{kid}") for kid, order in pins.items()},
            first_activated_at=self.date(data, "", "first_activated_at"),
            kind_changed_at=self.date(data, "", "kind_changed_at"),
            discards=self.take(data, "", "discards", int, 0),
            discarded_at=self.date(data, "", "discarded_at"),
            clock_confirmed_at=self.date(data, "", "clock_confirmed_at"),
            history=self.each(data, "history", self._entry),
            extra=_unknown(data, _RING_FIELDS),
        )

    def _check(self, ring: KeyRing) -> KeyRing:
        kids = [key.kid for key in ring.keys]
        for index, kid in enumerate(kids):
            if kid in kids[:index]:
                self.fail(f"keys[{index}].kid", f"{kid!r} is there twice")
        if len(ring.in_phase(Phase.ACTIVE)) > 1:
            self.fail("keys", "two keys are active")
        located = [key.locator for key in ring.keys if key.locator is not None]
        if len(set(located)) != len(located):
            self.fail("keys", "two keys share one locator")
        return ring

    def _key(self, data: dict[str, Any], path: str) -> Key:
        algorithm = self.take(data, path, "algorithm", str)
        if algorithm not in ALGORITHMS:
            self.fail(f"{path}.algorithm", f"unknown algorithm {algorithm!r}")
        try:
            phase = Phase(self.take(data, path, "phase", str))
        except ValueError:
            self.fail(f"{path}.phase", f"unknown phase {data['phase']!r}")
        announced = self.take(data, path, "announced", dict, {})
        key = Key(
            kid=self._text(data, path, "kid"),
            algorithm=algorithm,
            size=self.take(data, path, "size", int),
            phase=phase,
            locator=self.take(data, path, "locator", str, None),
            created_at=self.required_date(data, path, "created_at"),
            public=self.take(data, path, "public", dict, None),
            check=self.take(data, path, "check", str, None),
            pending_at=self.date(data, path, "pending_at"),
            activated_at=self.date(data, path, "activated_at"),
            retiring_at=self.date(data, path, "retiring_at"),
            superseded_at=self.date(data, path, "superseded_at"),
            ended_at=self.date(data, path, "ended_at"),
            destroy_after=self.date(data, path, "destroy_after"),
            announced={
                name: self.required_date(announced, f"{path}.announced", name) for name in announced
            },
            reason=self.take(data, path, "reason", str, ""),
            extra=_unknown(data, _names(Key)),
        )
        self._check_key(key, path)
        return key

    def _check_key(self, key: Key, path: str) -> None:
        entered = {
            Phase.PENDING: "pending_at",
            Phase.ACTIVE: "activated_at",
            Phase.RETIRING: "retiring_at",
        }
        name = "ended_at" if key.phase in ENDED else entered.get(key.phase, "created_at")
        if getattr(key, name) is None:
            self.fail(f"{path}.{name}", f"is missing from a key that is {key.phase.value}")
        if key.locator is None and key.phase is not Phase.RETIRING and key.phase not in ENDED:
            self.fail(f"{path}.locator", f"is missing from a key that is {key.phase.value}")
        if key.phase in ENDED:
            return
        kty = ALGORITHMS[key.algorithm].kty
        if kty == "oct":
            if not key.check:
                self.fail(f"{path}.check", "is missing from an HMAC key")
            return
        wanted = {"kty", *PUBLIC_MEMBERS[kty]}
        if key.public is None or set(key.public) != wanted or key.public.get("kty") != kty:
            self.fail(f"{path}.public", f"is not the public half of a {kty} key")
        if not all(isinstance(value, str) for value in key.public.values()):
            self.fail(f"{path}.public", "has a member that is not text")

    def _refuse_private(self, data: object, path: str) -> None:
        """Refuse a private member wherever it may be, unknown fields included (rule 8)."""
        if isinstance(data, dict):
            if "kty" in data and (found := PRIVATE_MEMBERS & data.keys()):
                self.fail(f"{path}.{min(found)}".lstrip("."), "a private member in a ring")
            for name, value in data.items():
                if isinstance(value, (dict, list)):
                    self._refuse_private(value, f"{path}.{name}".lstrip("."))
        elif isinstance(data, list):
            for index, value in enumerate(data):
                if isinstance(value, (dict, list)):
                    self._refuse_private(value, f"{path}[{index}]")

    def _order(self, data: object, path: str) -> Order:
        if not isinstance(data, dict):
            self.fail(path, "is not an object")
        return Order(
            at=self.required_date(data, path, "at"),
            reason=self.take(data, path, "reason", str, ""),
            replaces=self.take(data, path, "replaces", str, None),
            urgent=self.take(data, path, "urgent", bool, False),
            ignore_windows=self.take(data, path, "ignore_windows", bool, False),
            extra=_unknown(data, _names(Order)),
        )

    def _optional_order(self, data: dict[str, Any], name: str) -> Order | None:
        return None if data.get(name) is None else self._order(data[name], name)

    def _protected(self, data: object, path: str) -> Protected:
        if not isinstance(data, dict):
            self.fail(path, "is not an object")
        lower = self._seconds(data, path, "lower") if "lower" in data else None
        since = self.date(data, path, "since")
        if (lower is None) is not (since is None):
            self.fail(path, "has one of `lower` and `since` without the other")
        extra = _unknown(data, _names(Protected))
        disputed = self.date(data, path, "disputed_at")
        return Protected(self._seconds(data, path, "value"), lower, since, disputed, extra)

    def _seconds(self, data: dict[str, Any], path: str, name: str) -> timedelta:
        value = data.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"{path}.{name}", "is not a number of seconds")
        if not math.isfinite(value) or not 0 <= value <= 86400 * 36600:
            self.fail(f"{path}.{name}", "is no duration")
        return timedelta(seconds=value)

    def _entry(self, data: dict[str, Any], path: str) -> Entry:
        return Entry(
            at=self.required_date(data, path, "at"),
            event=self._text(data, path, "event"),
            kid=self.take(data, path, "kid", str, ""),
            reason=self.take(data, path, "reason", str, ""),
            extra=_unknown(data, _names(Entry)),
            id=line_id(data.get("id")),
        )

    def _kids(self, data: object, path: str) -> tuple[str, ...]:
        if not isinstance(data, list) or not all(isinstance(kid, str) for kid in data):
            self.fail(path, "is not a list of kids")
        return tuple(data)

    def _text(self, data: Mapping[str, Any], path: str, name: str) -> str:
        value = self.take(data, path, name, str)
        if not value:
            self.fail(f"{path}.{name}", "is empty")
        return str(value)

    def each(
        self, data: dict[str, Any], name: str, read: Callable[[dict[str, Any], str], _T]
    ) -> tuple[_T, ...]:
        found = []
        for index, item in enumerate(self.take(data, "", name, list)):
            if not isinstance(item, dict):
                self.fail(f"{name}[{index}]", "is not an object")
            found.append(read(item, f"{name}[{index}]"))
        return tuple(found)

    def take(self, data: Mapping[str, Any], path: str, name: str, kind: type, *default: Any) -> Any:
        value = data.get(name)
        if value is None:
            if default:
                return default[0]
            self.fail(f"{path}.{name}".lstrip("."), "is missing")
        if type(value) is not kind:  # exactly: True is no number
            self.fail(f"{path}.{name}".lstrip("."), f"is not of type {kind.__name__}")
        return value

    def date(self, data: Mapping[str, Any], path: str, name: str) -> datetime | None:
        return None if data.get(name) is None else self.required_date(data, path, name)

    def required_date(self, data: Mapping[str, Any], path: str, name: str) -> datetime:
        text = self.take(data, path, name, str)
        try:
            date = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{path}.{name}".lstrip("."), f"{text!r} is not a date")
        if date.tzinfo is None:
            self.fail(f"{path}.{name}".lstrip("."), f"{text!r} has no time zone")
        return date.astimezone(UTC)
