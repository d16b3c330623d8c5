"""What the daemon knows of itself, for whoever asks from another thread: `/readyz`, metrics, the hourly line.

Everything here is immutable or replaced whole, so that a reader never sees half of a tick; nothing here is
secret.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rotator.plan import next_deadline
from rotator.policy import RotationPolicy
from rotator.reconcile.site import Outcome, Site
from rotator.step import Do


@dataclass(frozen=True, slots=True)
class KeySetState:
    """One key set after its last tick.

    Attributes:
        store: the store of its ring.
        last_success: when a tick last came to its end, by this host's clock; None when none did yet.
        next_due: when the next thing in its keys' lives is due; may be past, then it is overdue or being
            done; None when nothing has a date.
        due: something was due at the last tick.
        overdue: something that is due is held up.
        reason: what the key set does or waits for, as in `docs/reasons.md`; empty before the first tick.
        failing: why it could not be ticked, or which of its targets fails; empty when all is well.
        failures: how many ticks in a row could not be made.
    """

    key_set: str
    store: str
    last_success: datetime | None = None
    next_due: datetime | None = None
    due: bool = False
    overdue: bool = False
    reason: str = ""
    failing: str = ""
    failures: int = 0

    def is_due(self, now: datetime) -> bool:
        """Tell whether something is due at a moment, as far as the last tick can tell."""
        return self.due or (self.next_due is not None and self.next_due <= now)

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether something that is due is held up: by what the tick saw, or by what keeps it from ticking."""
        return self.overdue or (bool(self.failures) and self.is_due(now))


def store_in(lane: str) -> str:
    """Return the store of a lane, which has a number more once the store was changed: `main~2`."""
    return lane.partition("~")[0]


def after_tick(store: str, outcome: Outcome, policy: RotationPolicy, now: datetime) -> KeySetState:
    """Return what a tick that came to its end says of its key set."""
    step, ring = outcome.step, outcome.ring
    waits = step.do is Do.WAIT
    due_at = step.due_at if waits and step.due_at is not None else next_deadline(ring, policy, now)
    first = next(iter(sorted(outcome.failures)), None)
    return KeySetState(
        ring.key_set,
        store,
        last_success=now,
        next_due=due_at,
        due=not waits or step.blocked,
        overdue=waits and step.blocked,
        reason=step.reason.value,
        failing="" if first is None else f"{first}: {outcome.failures[first].message}",
    )


@dataclass(frozen=True, slots=True)
class ReloadState:
    """How the configuration that is in force came about.

    Attributes:
        loaded_at: when it was loaded.
        reloads: how many reloads went well since the start.
        refusals: how many were refused.
        error: why the newest one was refused; empty while the newest configuration is the one in force.
        hint: what to do about that.
    """

    loaded_at: datetime
    reloads: int = 0
    refusals: int = 0
    error: str = ""
    hint: str = ""


class Observer(Protocol):
    """Who is told of every tick, in the thread of the worker that made it; returns at once, raises nothing."""

    def ticked(self, site: Site, outcome: Outcome) -> None:
        """Take what a tick that came to its end did."""
        ...

    def failed(self, site: Site, error: Exception) -> None:
        """Take why a tick could not be made; a `Conflict` is no failure and not told."""
        ...

    def dropped(self, key_set: str) -> None:
        """Forget a key set that left the configuration."""
        ...


def _no_server() -> tuple[bool, int] | None:
    return None


class DaemonState:
    """What is known of the daemon and of each key set in its charge.

    Args:
        now: when the configuration was loaded.
    """

    def __init__(self, now: datetime) -> None:
        self._lock = threading.Lock()
        self._key_sets: dict[str, KeySetState] = {}
        self.beat: float | None = None
        """`time.monotonic()` when the main loop last came round; None before it first did."""
        self.server: Callable[[], tuple[bool, int] | None] = _no_server
        """Whether the built-in server runs, and how often it was started again; None without one."""
        self.reload = ReloadState(now)
        """Replaced whole by the daemon's main thread."""

    def put(self, state: KeySetState) -> None:
        """Replace what is known of a key set."""
        with self._lock:
            self._key_sets[state.key_set] = state

    def drop(self, key_set: str) -> None:
        """Forget a key set that left the configuration."""
        with self._lock:
            self._key_sets.pop(key_set, None)

    def find(self, key_set: str) -> KeySetState | None:
        """Return what is known of one key set, None when it is not in the daemon's charge."""
        return self._key_sets.get(key_set)

    def key_sets(self) -> Mapping[str, KeySetState]:
        """Return what is known of every key set, as of now."""
        with self._lock:
            return dict(self._key_sets)

    @property
    def last_success(self) -> datetime | None:
        """When a tick of any key set last came to its end."""
        ended = [item.last_success for item in self.key_sets().values()]
        return max((date for date in ended if date is not None), default=None)
