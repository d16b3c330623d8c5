"""The durations of a key set, and the timing contract between them.

Pure: no clock, no I/O. All durations are `timedelta`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from rotator.algorithms import Kind
from rotator.windows import Windows

ZERO: Final = timedelta(0)

PROTECTIVE: Final = (
    "token_ttl",
    "signer_lag",
    "leeway",
    "clock_skew",
    "verifier_cache",
    "jwks_max_age",
    "jwks_stale",
    "propagation",
    "grace",
)
"""The durations that the ring keeps in force: raised at once, lowered only after the old value passed."""

_CREATE_TIMEOUT: Final = timedelta(seconds=30)
_SAME_CLOCK: Final = timedelta(milliseconds=100)
_LONGEST_WRITE_WINDOW: Final = timedelta(seconds=60)
_LONG_ABSENCE: Final = timedelta(days=30)


class Standby(StrEnum):
    """When the next key is announced."""

    ALWAYS = "always"
    JUST_IN_TIME = "just-in-time"


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """How long each part of a key's life lasts, and what kind of key the set wants.

    `token_ttl` and `signer_lag` have no default: nobody can guess them. `grace=None` means: the
    smallest value that the contract allows.
    """

    kind: Kind
    token_ttl: timedelta
    signer_lag: timedelta
    rotate_every: timedelta = timedelta(days=90)
    propagation: timedelta = timedelta(hours=24)
    verifier_cache: timedelta = timedelta(hours=1)
    leeway: timedelta = timedelta(minutes=5)
    clock_skew: timedelta = timedelta(minutes=5)
    jwks_max_age: timedelta = timedelta(seconds=300)
    jwks_stale: timedelta = timedelta(hours=6)
    resync: timedelta = timedelta(minutes=5)
    max_keys: int = 10
    grace: timedelta | None = None
    standby: Standby = Standby.ALWAYS
    allow_mixed_kty: bool = False
    first_run: str = "auto"
    windows: Windows | None = None
    """When a current key may be replaced; None: at any time."""
    observed_cache: timedelta = ZERO
    """The longest cache lifetime seen at a probe; stands in for `jwks_max_age + jwks_stale` if longer."""

    @property
    def cached(self) -> timedelta:
        """How long a cache on the way may go on serving an old JWKS; nothing for HMAC, which has none."""
        if self.kind.symmetric:
            return ZERO
        return max(self.jwks_max_age + self.jwks_stale, self.observed_cache)

    @property
    def propagation_floor(self) -> timedelta:
        """The shortest safe `propagation`: the slowest verifier's view of the JWKS, plus clocks and resync."""
        return self.cached + self.verifier_cache + self.clock_skew + self.resync

    @property
    def propagation_wait(self) -> timedelta:
        """How long a key must stand announced before it may sign."""
        return max(self.propagation, self.propagation_floor)

    @property
    def grace_floor(self) -> timedelta:
        """The shortest safe `grace`: the last token of a superseded key, on the slowest clocks."""
        return self.token_ttl + self.leeway + self.signer_lag + 2 * self.clock_skew

    @property
    def grace_wait(self) -> timedelta:
        """How long a superseded key must stay published."""
        return max(self.grace or ZERO, self.grace_floor)

    @property
    def rotate_every_floor(self) -> timedelta:
        """The shortest safe `rotate_every`: a next key must be able to propagate within one period."""
        return self.propagation_wait + self.cached

    @property
    def overlap(self) -> int:
        """How many keys may be published at once when every key lives its full term."""
        return 4 + math.ceil(self.grace_wait / self.rotate_every)

    @property
    def longest_silence(self) -> timedelta:
        """How old the latest date of a ring may be before a clock that nobody confirms is suspicious."""
        return max(2 * self.rotate_every, _LONG_ABSENCE)

    @property
    def write_window(self) -> timedelta:
        """How long after its load a tick may still start a write; a stalled writer is fenced by it."""
        half = min(self.propagation_wait, self.grace_wait) / 2
        return min(_LONGEST_WRITE_WINDOW, half)

    @property
    def create_timeout(self) -> timedelta:
        """How long somebody else's `creating` key must be seen unchanged before it is taken over.

        Where the write window is shorter, its creator can no longer write once that has passed.
        """
        return min(_CREATE_TIMEOUT, self.write_window)

    @property
    def creation_lead(self) -> timedelta:
        """With `standby: just-in-time`, how long before its due date the next key is created."""
        return self.propagation_wait + 2 * self.resync

    def with_durations(self, durations: Mapping[str, timedelta]) -> RotationPolicy:
        """Return this policy with some durations replaced (by those that a ring keeps in force)."""
        known = {field.name for field in fields(self)}
        changed: dict[str, Any] = {n: value for n, value in durations.items() if n in known}
        return replace(self, **changed) if changed else self


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a contract's right-hand side."""

    name: str
    value: timedelta


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken clause of the timing contract, with its numbers and the smallest safe value."""

    field: str
    value: str
    terms: tuple[Term, ...]
    smallest_safe: str

    def __str__(self) -> str:
        total = " + ".join(f"{term.name} {format_duration(term.value)}" for term in self.terms)
        summed = f" = {self.smallest_safe}" if self.terms else ""
        return (
            f"{self.field} {self.value} is unsafe: it must be at least {total}{summed}"
            f"; the smallest safe value is {self.smallest_safe}"
        )


def broken_clauses(policy: RotationPolicy) -> tuple[Violation, ...]:
    """Return every clause of the timing contract that a policy breaks, none when it is safe.

    The clauses are those of DESIGN §3 ("Timing contract"). `observed_cache` plays no part: a longer
    cache lifetime than configured lengthens the wait instead of refusing the configuration.
    """
    plain = replace(policy, observed_cache=ZERO)
    found: list[Violation] = []

    def require(field: str, value: timedelta, *terms: Term) -> None:
        floor = sum((term.value for term in terms), ZERO)
        if value < floor:
            found.append(Violation(field, format_duration(value), terms, format_duration(floor)))

    http = () if plain.kind.symmetric else _terms(plain, "jwks_max_age", "jwks_stale")
    require(
        "propagation",
        plain.propagation,
        *http,
        *_terms(plain, "verifier_cache", "clock_skew", "resync"),
    )
    if plain.grace is not None:
        doubled = Term("2 × clock_skew", 2 * plain.clock_skew)
        require("grace", plain.grace, *_terms(plain, "token_ttl", "leeway", "signer_lag"), doubled)
    require("clock_skew", plain.clock_skew, Term("two readings of one clock", _SAME_CLOCK))
    require("rotate_every", plain.rotate_every, *_terms(plain, "propagation"), *http)
    if not found and plain.overlap > plain.max_keys:
        found.append(_too_many_keys(plain))
    return tuple(found)


def _terms(policy: RotationPolicy, *names: str) -> tuple[Term, ...]:
    return tuple(Term(name, getattr(policy, name)) for name in names)


def _too_many_keys(policy: RotationPolicy) -> Violation:
    # Lengthening rotate_every is the usual way out; the number of keys is what verifiers can bear.
    return Violation(
        "max_keys",
        str(policy.max_keys),
        (Term("4 + ⌈grace / rotate_every⌉ with grace", policy.grace_wait),),
        str(policy.overlap),
    )


_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def format_duration(value: timedelta) -> str:
    """Write a duration the way that configurations read it: `90d`, `1h30m`, `250ms`."""
    if value < ZERO:
        return "-" + format_duration(-value)
    seconds, parts = value // timedelta(seconds=1), []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    milliseconds = value.microseconds // 1000
    if milliseconds:
        parts.append(f"{milliseconds}ms")
    return "".join(parts) or "0s"
