"""Counts and remembers, for whoever asks later: told of ticks, of calls to stores and of events."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from rotator.calls import on_call
from rotator.errors import RotatorError
from rotator.metrics.figures import KeySetFigures, taken
from rotator.notify.post import ReceiverFigures
from rotator.reconcile.site import Emit, Outcome, Site
from rotator.step import Do

BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.0, 10.0)
"""Upper bounds, in seconds, of the histogram of calls to stores: local disk, network, retries."""

DETAILED: Final = 1000
"""How many key sets have series of their own unless told otherwise."""


@dataclass(slots=True)
class Durations:
    """A histogram: how many calls took up to each bound of `BUCKETS` and no less, and all seconds together."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.counts[bisect.bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that a meter knows, as of one moment.

    Attributes:
        now: seconds since 1970.
        key_sets: all of them.
        detailed: those with series of their own.
    """

    now: float
    key_sets: tuple[KeySetFigures, ...]
    detailed: tuple[KeySetFigures, ...]
    ticks: dict[str, int]
    steps: dict[tuple[str, str, str], int]
    writes: dict[tuple[str, str], int]
    target_failures: dict[str, int]
    drift: dict[str, int]
    calls: dict[tuple[str, str, str], int]
    call_seconds: dict[tuple[str, str], Durations]
    jumps: int
    jump_seconds: float | None
    told: tuple[ReceiverFigures, ...] = ()


class Meter:
    """Takes what happens, from any thread; implements `rotator.daemon.state.Observer`.

    Args:
        now: this host's wall clock.
        detailed: with more key sets than this only those that are amiss have series of their own, this many
            at most, so that a fleet cannot flood whoever scrapes it.
    """

    def __init__(self, now: Callable[[], datetime], *, detailed: int = DETAILED) -> None:
        self._now, self._limit = now, detailed
        self._lock = threading.Lock()
        self._key_sets: dict[str, KeySetFigures] = {}
        self._ticks: Counter[str] = Counter()
        self._steps: Counter[tuple[str, str, str]] = Counter()
        self._writes: Counter[tuple[str, str]] = Counter()
        self._target_failures: Counter[str] = Counter()
        self._drift: Counter[str] = Counter()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._call_seconds: dict[tuple[str, str], Durations] = {}
        self._jumps = 0
        self._jump_seconds: float | None = None
        self.told: Callable[[], tuple[ReceiverFigures, ...]] = tuple
        """Asked for the receivers of notifications."""

    def limit(self, detailed: int) -> None:
        """Have series of their own for another number of key sets from now on."""
        self._limit = detailed

    def ticked(self, site: Site, outcome: Outcome) -> None:
        """Take what a tick that came to its end did."""
        before = self._key_sets.get(site.key_set)
        figures = taken(site, outcome, before, detailed=len(self._key_sets) <= self._limit)
        result = "failing" if outcome.failures else "changed" if outcome.changed else "ok"
        step = outcome.step
        with self._lock:
            self._key_sets[site.key_set] = figures
            self._ticks[result] += 1
            if step.do is not Do.WAIT and (step.do, step.kid) not in outcome.observed.stuck:
                self._steps[step.do.value, step.reason.value, "done"] += 1
            for do, _ in outcome.observed.stuck:
                # Why it was to be done is not known any more: the tick went on with something else.
                self._steps[str(do), "", "failed"] += 1
            for item in outcome.written:
                self._writes[item.kind.value, kind_of(item.target)] += 1
            for name in outcome.failures:
                self._target_failures[kind_of(name)] += 1

    def failed(self, site: Site, error: Exception) -> None:
        """Take why a tick could not be made."""
        self.could_not(site.key_set, error, site.policy.kind.algorithm)

    def could_not(self, key_set: str, error: Exception, algorithm: str) -> None:
        """Take why a key set could not be ticked; what was known of its keys stays."""
        result = type(error).__name__ if isinstance(error, RotatorError) else "unexpected"
        with self._lock:
            before = self._key_sets.get(key_set) or KeySetFigures(key_set, algorithm)
            self._key_sets[key_set] = replace(before, failing=True)
            self._ticks[result] += 1

    def dropped(self, key_set: str) -> None:
        """Forget a key set that left the configuration."""
        with self._lock:
            self._key_sets.pop(key_set, None)

    def called(self, store: str, op: str, outcome: str, seconds: float) -> None:
        """Take one call to a store; implements `rotator.calls.Heard`."""
        with self._lock:
            self._calls[store, op, outcome] += 1
            self._call_seconds.setdefault((store, op), Durations()).add(seconds)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count the calls to every store for as long as the block runs."""
        with on_call(self.called):
            yield

    def through(self, emit: Emit) -> Emit:
        """Return where events may go so that those that are counted are, on their way to `emit`."""

        def counted(level: str, event: str, **fields: Any) -> None:
            if event == "target.drift":
                with self._lock:
                    self._drift[kind_of(str(fields.get("target", "")))] += 1
            elif event == "clock.jumped":
                with self._lock:
                    self._jumps += 1
                    self._jump_seconds = float(fields.get("seconds", 0.0))
            emit(level, event, **fields)

        return counted

    def find(self, key_set: str) -> KeySetFigures | None:
        """Return what is known of a key set, None before its first tick."""
        return self._key_sets.get(key_set)

    def read(self) -> Reading:
        """Return everything as of now."""
        now, told = self._now().timestamp(), self.told()
        with self._lock:
            key_sets = tuple(self._key_sets.values())
            return Reading(
                now=now,
                key_sets=key_sets,
                detailed=tuple(_detailed(key_sets, self._limit, now)),
                ticks=dict(self._ticks),
                steps=dict(self._steps),
                writes=dict(self._writes),
                target_failures=dict(self._target_failures),
                drift=dict(self._drift),
                calls=dict(self._calls),
                call_seconds={
                    place: Durations(list(item.counts), item.total)
                    for place, item in self._call_seconds.items()
                },
                jumps=self._jumps,
                jump_seconds=self._jump_seconds,
                told=told,
            )


def kind_of(target: str) -> str:
    """Return what kind of target a name means: addresses are too many for a label of a counter."""
    return target.partition(":")[0]


def _detailed(
    key_sets: tuple[KeySetFigures, ...], limit: int, now: float
) -> Iterable[KeySetFigures]:
    if len(key_sets) <= limit:
        return key_sets
    amiss = [item for item in key_sets if item.amiss(now)]
    return sorted(amiss, key=lambda item: -(item.overdue(now) or 0.0))[:limit]
