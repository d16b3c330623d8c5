"""How long caches may go on serving an HTTP answer, and how old it is already. Pure.

Sources: RFC 9111 §4.2 (freshness), §5.1 (Age), §5.2.2 (response directives); RFC 5861 (stale-*);
RFC 9213 (CDN-Cache-Control). Where caches differ, the longest reading counts: whoever waits for caches
waits for the slowest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

Headers = Mapping[str, Sequence[str]]
"""Header fields by lower-case name; a field that was sent twice has two values."""

_LONGEST: Final = 2**31  # seconds; what caches make of larger numbers (RFC 9111 §1.2.2)
_HEURISTIC: Final = 10  # a fresh tenth of the time since Last-Modified (RFC 9111 §4.2.2)
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Freshness:
    """What an answer says of caches.

    Attributes:
        lifetime: how long a cache may go on serving it, counted from when it was made; None when
            nothing in it says so.
        age: how long it lay in a cache already; None when no cache said so.
        notes: remarks for a person.
    """

    lifetime: timedelta | None
    age: timedelta | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Directives:
    """One Cache-Control field, in seconds."""

    present: bool
    never: bool
    max_age: int | None
    s_maxage: int | None
    stale: int
    notes: tuple[str, ...]


def freshness(headers: Headers, now: datetime) -> Freshness:
    """Return what the header fields of an answer say of caches.

    Args:
        now: stands in for a missing `Date`.
    """
    date = http_date(headers, "date") or now
    control = _read_directives(headers.get("cache-control", ()))
    edge = _read_directives(headers.get("cdn-cache-control", ()))
    notes = [*control.notes, *edge.notes]
    undirected, guessed = _undirected(headers, date)
    found = [_lifetime(control, undirected)]
    if edge.present:
        found.append(_lifetime(edge, None))
    if guessed and control.max_age is None and not control.never and undirected:
        notes.append(f"no lifetime is sent; caches may guess {undirected} s")
    age = _age(headers, notes)
    if age is not None:
        notes.append(f"Age {age} s")
        if age > max((seconds for seconds in found if seconds is not None), default=-1):
            notes.append("a cache served it longer than it was told to")
        # A cache that went beyond what it was told, or was told elsewhere, may do so again.
        found.append(age)
    longest = max((seconds for seconds in found if seconds is not None), default=None)
    return Freshness(_seconds(longest), _seconds(age), tuple(notes))


def http_date(headers: Headers, name: str) -> datetime | None:
    """Return the first value of a date field (RFC 9110 §5.6.7), None when it is missing or malformed."""
    from email.utils import parsedate_to_datetime

    values = headers.get(name, ())
    if not values:
        return None
    try:
        date = parsedate_to_datetime(values[0])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _seconds(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _lifetime(directives: _Directives, undirected: int | None) -> int | None:
    if directives.never:
        return 0
    private = directives.max_age if directives.max_age is not None else undirected
    terms = [term for term in (private, directives.s_maxage) if term is not None]
    if not terms and not directives.stale:
        return None
    return max(terms, default=0) + directives.stale


def _undirected(headers: Headers, date: datetime) -> tuple[int | None, bool]:
    """Return the lifetime of an answer without `max-age`, and whether caches have to guess it."""
    if headers.get("expires"):
        expires = http_date(
            headers, "expires"
        )  # malformed, such as "0": in the past (RFC 9111 §5.3)
        return (_between(date, expires) if expires else 0), False
    modified = http_date(headers, "last-modified")
    return (_between(modified, date) // _HEURISTIC, True) if modified else (None, True)


def _between(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds()))


def _age(headers: Headers, notes: list[str]) -> int | None:
    # The first of several values counts, and a malformed one not at all (RFC 9111 §5.1).
    values = [value.strip() for field in headers.get("age", ()) for value in field.split(",")]
    if not values:
        return None
    age = _delta_seconds(values[0])
    if age is None:
        notes.append(f"unreadable Age {values[0][:_SHOWN]!r}")
    return age


def _read_directives(fields: Sequence[str]) -> _Directives:
    seconds: dict[str, int] = {}
    notes: list[str] = []
    never = False
    for name, argument in (pair for field in fields for pair in _pairs(field)):
        if name == "no-store" or (name == "no-cache" and not argument):
            never = True  # `no-cache` with field names speaks of these fields only
        elif name in ("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"):
            value = _delta_seconds(argument)
            if value is None:
                notes.append(f"unreadable {name} {argument[:_SHOWN]!r}")
            else:
                seconds[name] = max(value, seconds.get(name, 0))
    stale = max(seconds.get("stale-while-revalidate", 0), seconds.get("stale-if-error", 0))
    return _Directives(
        present=bool(fields),
        never=never,
        max_age=seconds.get("max-age"),
        s_maxage=seconds.get("s-maxage"),
        stale=stale,
        notes=tuple(notes),
    )


def _pairs(field: str) -> Iterator[tuple[str, str]]:
    """Yield each directive of a field with its argument, unquoted; commas in quotes do not separate."""
    piece, quoted, escaped = "", False, False
    for character in field + ",":
        if character == "," and not quoted:
            name, _, argument = piece.partition("=")
            if name.strip():
                yield name.strip().lower(), argument.strip()
            piece = ""
        elif escaped or (character not in '"\\'):
            piece, escaped = piece + character, False
        elif character == '"':
            quoted = not quoted
        else:
            escaped = quoted
    if quoted:  # a quote that never closed swallowed the rest: read it again without quotes
        yield from _pairs(field.replace('"', ""))


def _delta_seconds(text: str) -> int | None:
    """Return the seconds that digits mean (RFC 9111 §1.2.2), None when they are none."""
    if not (text.isascii() and text.isdigit()):
        return None
    return _LONGEST if len(text) > 10 else min(int(text), _LONGEST)
