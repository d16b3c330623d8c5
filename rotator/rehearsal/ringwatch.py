"""What must hold of every ring that is ever saved, and of everything once the world is healthy."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from rotator.policy import ZERO, RotationPolicy
from rotator.rehearsal.promise import Promise
from rotator.rehearsal.walls import AnyShelf
from rotator.ring import ADOPTION, ENDED, Key, KeyRing, Phase
from rotator.ring_document import read_ring
from rotator.secret import Secret
from rotator.window_contract import longest_closure
from rotator.windows import JITTER

_MAY_FOLLOW: Final[dict[Phase | None, set[Phase | None]]] = {
    None: {Phase.CREATING, Phase.RETIRING},
    Phase.CREATING: {Phase.PENDING, Phase.DISCARDED, Phase.REVOKED},
    Phase.PENDING: {Phase.ACTIVE, Phase.DISCARDED, Phase.REVOKED},
    Phase.ACTIVE: {Phase.RETIRING, Phase.REVOKED},
    Phase.RETIRING: {Phase.ACTIVE, Phase.RETIRED, Phase.REVOKED},
    Phase.RETIRED: {None},
    Phase.REVOKED: {None},
    Phase.DISCARDED: {None},
}


class RingWatch:
    """Holds each saved ring of one key set against the one before.

    Attributes:
        restoring: True while an operator restores a ring: then only what holds of any ring is asked.
        lossy: a ring was restored: material that only the lost one knew may lie about.
        urgent: a revocation is under way, which no hold stops.
        max_keys: the largest `max_keys` that any replica is configured with.
        sabotaged: kids whose material the world itself damaged.
    """

    def __init__(self, key_set: str, promise: Promise, policy: RotationPolicy) -> None:
        self.key_set = key_set
        self.policy = policy
        self.promise = promise
        self.restoring = False
        self.lossy = False
        self.urgent = False
        self.max_keys = 0
        self.gone: set[str] = set()
        self.ring = KeyRing(key_set)
        self.sabotaged: set[str] = set()

    def saved(self, key_set: str, before: bytes | None, after: bytes) -> None:
        """Judge a save, and take note of what the promise excepts from now on."""
        if key_set != self.key_set:
            return
        old = read_ring(before, key_set=key_set) if before else KeyRing(key_set)
        new = read_ring(after, key_set=key_set)
        self.ring = new
        if not self.restoring:
            self._judge(old, new)
        self._except(old, new)
        self.gone |= {key.kid for key in new.keys if key.phase in ENDED}

    def _judge(self, old: KeyRing, new: KeyRing) -> None:
        broken = self.promise.broken
        if new.revision != old.revision + 1:
            broken(f"revision {new.revision} follows {old.revision}")
        for kid in {key.kid for key in (*old.keys, *new.keys)}:
            if not (new.active and new.active.kid == kid and _revoked_now(old, new)):
                self._judge_key(old.find(kid), new.find(kid), kid)
        if old.latest is not None and new.clock_confirmed_at == old.clock_confirmed_at:
            early = [date for date in _dates(new) - _dates(old) if date < old.latest]
            if early:
                broken(f"{early} were set after {old.latest}")
        used = old.in_phase(Phase.ACTIVE, Phase.RETIRING)
        if used and not new.published and not _revoked_now(old, new):
            broken("no key is published any more")
        if not self.policy.allow_mixed_kty and len({key.kind.kty for key in new.published}) > 1:
            broken("keys of several types are published together")
        if self.max_keys and len(new.published) > max(self.max_keys, len(old.published)):
            broken(f"{len(new.published)} keys are published, {self.max_keys} are allowed")
        self._judge_window(old, new)
        if old.hold and new.hold and not self.urgent and not (old.promote and old.promote.urgent):
            self._judge_hold(old, new)

    def _judge_key(self, old: Key | None, new: Key | None, kid: str) -> None:
        was, now = old.phase if old else None, new.phase if new else None
        adopted = old is not None and old.reason == ADOPTION and now is Phase.ACTIVE
        if was is not now and now not in _MAY_FOLLOW[was] and not adopted:
            self.promise.broken(f"{kid} went from {was} to {now}")
        if now is Phase.RETIRED and was is not now and kid in self.ring.pins:
            self.promise.broken(f"{kid} is pinned and was retired")
        if was is None and kid in self.gone:
            self.promise.broken(f"{kid} came back")
        if old and new and (old.public, old.check) != (new.public, new.check):
            self.promise.broken(f"{kid} has another public half")

    def _judge_window(self, old: KeyRing, new: KeyRing) -> None:
        """A current key is replaced by the next inside a change window only, as far as clocks can tell."""
        windows, active, order = self.policy.windows, new.active, old.promote
        if windows is None or active is None or old.active is None or _revoked_now(old, new):
            return
        before, at = old.find(active.kid), active.activated_at
        if before is None or before.phase is not Phase.PENDING or at is None:
            return
        if self.urgent or (order is not None and (order.urgent or order.ignore_windows)):
            return
        # The date may be another host's, whose clock is ahead.
        if windows.next_open(at - self.policy.clock_skew) > at:
            self.promise.broken(f"{active.kid} became active at {at}, outside every change window")

    def _judge_hold(self, old: KeyRing, new: KeyRing) -> None:
        if _revoked_now(old, new):
            return
        for key in new.keys:
            before = old.find(key.kid)
            was = before.phase if before else None
            begun = (was, key.phase) in (
                (None, Phase.CREATING),
                (Phase.PENDING, Phase.ACTIVE),
                (Phase.RETIRING, Phase.RETIRED),
            )
            if begun and not (new.hold and new.hold.reason.startswith("rollback")):
                self.promise.broken(f"{key.kid} became {key.phase} in spite of a hold")

    def _except(self, old: KeyRing, new: KeyRing) -> None:
        revoked = _revoked_now(old, new)
        self.promise.excepted |= revoked
        active, before = new.active, old.active
        if active is None or (before is not None and before.kid == active.kid):
            return
        if revoked or self.restoring:
            wait = new.in_force(self.policy).propagation_wait
            self.promise.early[active.kid] = self.promise.true.now + wait


def _dates(ring: KeyRing) -> set[datetime]:
    dates = {date for key in ring.keys for date in key.dates()}
    return dates | {entry.at for entry in ring.history}


def _revoked_now(old: KeyRing, new: KeyRing) -> set[str]:
    known = {key.kid for key in old.keys if key.phase is Phase.REVOKED}
    return {key.kid for key in new.keys if key.phase is Phase.REVOKED} - known


def orphans(ring: KeyRing, remains: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the locators, with their kids, of material that the ring does not know to be there."""
    return remains - {(key.locator, key.kid) for key in ring.keys if key.locator is not None}


def overdue(
    ring: KeyRing,
    policy: RotationPolicy,
    now: datetime,
    *,
    healthy_for: timedelta,
    slack: timedelta,
    longest_wait: timedelta = ZERO,
    damaged: Collection[str] = (),
) -> list[str]:
    """Return what should have happened by now: the other half of the promise.

    Args:
        now: the time, with any clock's error counted in `slack`.
        healthy_for: how long every store, target and clock has been healthy.
        slack: one resync and one tick, and how far clocks may be apart.
        longest_wait: the longest propagation that was in force meanwhile.
        damaged: kids whose material the world damaged. One can become active all the same, if that happened
            between the look at its material and the promotion: then no signer can be given it, and the keys
            before it stay until the next promotion, which stays due.
    """
    found: list[str] = []
    policy = ring.in_force(policy)

    def check(due: datetime | None, what: str) -> None:
        if due is not None and now > due + slack and healthy_for > slack:
            found.append(f"{what}, due at {due}, and it is {now}")

    active = ring.active
    undeliverable = active is not None and active.kid in damaged
    for key in ring.keys:
        awaits_signers = key.phase is Phase.RETIRING and key.superseded_at is None
        if not (undeliverable and awaits_signers):
            check(_due(ring, policy, key, now, healthy_for), f"{key.kid} is still {key.phase}")
    if active is not None and ring.hold is None and active.activated_at is not None:
        wait = max(policy.propagation_wait, longest_wait)
        period = policy.rotate_every + policy.creation_lead + 2 * wait + _closed(policy)
        # A new kind starts its propagation when it is wanted, and is paced.
        if healthy_for > period + 2 * wait + policy.grace_wait:
            check(active.activated_at + period, f"{active.kid} still signs")
    return found


def _closed(policy: RotationPolicy) -> timedelta:
    """Return how long change windows may hold up a promotion."""
    closed = longest_closure(policy.windows) if policy.windows is not None else None
    return ZERO if closed is None else closed.length + JITTER


def _due(
    ring: KeyRing, policy: RotationPolicy, key: Key, now: datetime, healthy_for: timedelta
) -> datetime | None:
    if key.phase in ENDED:
        # Each tick destroys one; two ticks may be needed for each.
        return max(filter(None, (key.destroy_after, key.ended_at)), default=now)
    if key.phase is Phase.CREATING:
        began = max(now - healthy_for, key.created_at)
        return began + policy.create_timeout + 2 * policy.resync
    if key.phase is not Phase.RETIRING or key.kid in ring.pins or ring.active is None:
        return None
    if key.superseded_at is not None:
        return None if ring.hold is not None else key.superseded_at + policy.grace_wait
    began = now - healthy_for
    return max(began, key.retiring_at or began, ring.active.activated_at or began) + policy.resync


def material_faults(
    ring: KeyRing, shelf: AnyShelf, proves: Callable[[Key, Secret], bool]
) -> list[str]:
    """Return the active keys whose material does not prove good."""
    active = ring.active
    if active is None or active.locator is None:
        return []
    kid, material = shelf.material.get(active.locator, ("", Secret(b"")))
    if kid == active.kid and proves(active, material):
        return []
    return [
        f"the material of the active key {active.kid} in {sorted(shelf.material)} is not its own"
    ]
