"""What every rule of a key's life looks at, and what several of them ask of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.observed import Observed
from rotator.policy import RotationPolicy
from rotator.ring import Key, KeyRing, Phase
from rotator.step import Do, Reason, Step


def opening(
    ring: KeyRing, policy: RotationPolicy, due: datetime, now: datetime | None = None
) -> datetime:
    """Return when change windows let the current key be replaced, once it is due and may be.

    They hold up the replacing of a key that signs, and nothing else: neither the first key, without which
    nobody can sign, nor what belongs to a revocation, nor an order that says so.

    Args:
        policy: with the durations in force.
        due: since when the next key is wanted and may sign.
        now: for windows still to come; without it the answer may be past.
    """
    windows, order, active = policy.windows, ring.promote, ring.active
    if windows is None or active is None:
        return due if now is None else max(due, now)
    if (
        order is not None
        and order.replaces == active.kid
        and (order.urgent or order.ignore_windows)
    ):
        return due if now is None else max(due, now)
    return windows.moment(due, now or due, ring.key_set, policy.write_window)


@dataclass(frozen=True, slots=True)
class Situation:
    """What every rule looks at; `policy` has the durations in force."""

    ring: KeyRing
    policy: RotationPolicy
    now: datetime
    observed: Observed

    def wait(
        self, reason: Reason, kid: str = "", due_at: datetime | None = None, detail: str = ""
    ) -> Step:
        """Return a wait that is as it should be."""
        return Step(Do.WAIT, reason, kid, due_at, detail)

    def blocked(self, reason: Reason, kid: str, due_at: datetime | None, detail: str) -> Step:
        """Return a wait for something that has to be mended; overdue when its time has passed."""
        late = due_at is not None and due_at <= self.now
        return Step(Do.WAIT, reason, kid, due_at, detail, blocked=late)

    @property
    def urgent(self) -> bool:
        """True while a revocation's follow-up is to be done: no hold stops it (rule 6)."""
        return self.ring.promote is not None and self.ring.promote.urgent

    @property
    def held(self) -> bool:
        """True when an operator's hold stops create, promote and retire (rule 7)."""
        return self.ring.hold is not None

    @property
    def next_keys(self) -> tuple[Key, ...]:
        """The pending keys of the wanted kind, the one announced longest first."""
        pending = self.ring.in_phase(Phase.PENDING)
        if self.ring.active is not None:
            pending = tuple(key for key in pending if key.kind == self.policy.kind)
        return tuple(sorted(pending, key=self._announced_first))

    def _announced_first(self, key: Key) -> tuple[bool, datetime, str]:
        since = self.announced_at(key)
        return (since is None, since or key.created_at, key.kid)

    def announced_at(self, key: Key) -> datetime | None:
        """Since when a key has stood announced at everything this process looks at."""
        return key.announced_at(name for name, _ in self.observed.announcing())

    def opening(self, due: datetime, *, to_come: bool = False) -> datetime:
        """Return when change windows let the current key be replaced; with `to_come` not before now."""
        return opening(self.ring, self.policy, due, self.now if to_come else None)

    def due_at(self, active: Key) -> datetime:
        """When the active key is to be replaced; counted from when it really became active (rule 5)."""
        return (active.activated_at or active.created_at) + self.policy.rotate_every
