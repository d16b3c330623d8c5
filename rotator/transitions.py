"""How one ring becomes the next: each change of a key's life as a pure function.

Every function takes the date to set (see `rotator.evidence.stamp`) and returns a new ring with a line
in its history; the revision is counted up by whoever saves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import UsageError
from rotator.ring import ADOPTION, ENDED, Entry, Key, KeyRing, Order, Phase
from rotator.step import Reason

ROLLBACK: Final = "rollback"
"""What the reason of the hold that a rollback leaves begins with."""

_STALLED: Final = timedelta(seconds=60)
"""No write window is longer than this."""

_NO_FAILURE: Final = frozenset({Reason.KIND_UNWANTED.value, Reason.CREATION_ABANDONED.value})


def add_creating(ring: KeyRing, key: Key, at: datetime, reason: Reason) -> KeyRing:
    """Enter a key whose material is about to be written."""
    key = replace(key, phase=Phase.CREATING, created_at=at)
    if ring.active is not None and key.kind != ring.active.kind:
        ring = replace(ring, kind_changed_at=at)
    return ring.with_key(key).noting(Entry(at, "key.creating", key.kid, reason.value))


def created(ring: KeyRing, kid: str, at: datetime) -> KeyRing:
    """A key's material was read back and passed its self-test: it may be announced."""
    key = replace(_need(ring, kid), phase=Phase.PENDING, pending_at=at)
    ring = replace(ring, discards=0, discarded_at=None)
    return ring.with_key(key).noting(Entry(at, "key.created", kid, str(key.kind)))


def begin_adoption(ring: KeyRing, key: Key, at: datetime) -> KeyRing:
    """Enter a live key that is to be adopted, before its material is written anywhere.

    Nobody takes it over and nothing else is created beside it: the adoption is finished by whoever has
    the key (`rotator adopt` again), or given up by `rotator revoke`.
    """
    key = replace(key, phase=Phase.CREATING, created_at=at, reason=ADOPTION)
    return ring.with_key(key).noting(Entry(at, "key.creating", key.kid, ADOPTION))


def adopt(ring: KeyRing, kid: str, at: datetime, since: datetime | None, why: str) -> KeyRing:
    """A live key whose material proved good is the current one: signers and verifiers have it already.

    Args:
        since: when it really began to sign, if an operator said so; due dates count from it.
    """
    key = replace(_need(ring, kid), pending_at=at, reason="")
    ring = _activate(ring, key, at)
    if since is not None:
        ring = ring.with_key(replace(_need(ring, kid), activated_at=since))
    return ring.noting(Entry(at, "key.adopted", kid, why))


def discard(ring: KeyRing, kid: str, at: datetime, why: str, *, write_window: timedelta) -> KeyRing:
    """A key that was never active comes to nothing.

    Args:
        why: a key that is no longer wanted, or whose creator died before writing its material, is no
            failure; any other discard makes the next creation wait longer (rule 3).
        write_window: until this has passed, whoever was creating the key may still put its material.
    """
    key = _need(ring, kid)
    if why not in _NO_FAILURE:
        ring = replace(ring, discards=ring.discards + 1, discarded_at=at)
    late = at + write_window if key.phase is Phase.CREATING else None
    return _end(ring, key, Phase.DISCARDED, at, why, destroy_after=late)


def promote(ring: KeyRing, kid: str, at: datetime, why: str) -> KeyRing:
    """The next key becomes the current one, and the current one the previous, in one swap."""
    key, before = _need(ring, kid), ring.active
    if before is not None:
        retiring = replace(before, phase=Phase.RETIRING, retiring_at=at, superseded_at=None)
        ring = ring.with_key(retiring)
    ring = _activate(ring, key, at)
    note = f"{why}; replaces {before.kid}" if before is not None else why
    return ring.noting(Entry(at, "key.promoted", kid, note))


def _activate(ring: KeyRing, key: Key, at: datetime) -> KeyRing:
    active = replace(
        key,
        phase=Phase.ACTIVE,
        activated_at=at,
        retiring_at=None,
        superseded_at=None,
        announced={},
    )
    order = ring.promote
    # From now on a target that does not answer may have been given this key (rule 2).
    holders = {name: tuple(sorted({*kids, key.kid})) for name, kids in ring.holders.items()}
    return replace(
        ring.with_key(active),
        holders=holders,
        promote=None if order is not None and order.replaces != key.kid else order,
        first_activated_at=ring.first_activated_at or at,
    )


def retire(ring: KeyRing, kid: str, at: datetime) -> KeyRing:
    """A superseded key's grace has passed: it leaves the JWKS, and its material is to be destroyed."""
    key = _need(ring, kid)
    superseded = f"superseded {key.superseded_at:%Y-%m-%dT%H:%M:%SZ}" if key.superseded_at else ""
    return _end(ring, key, Phase.RETIRED, at, superseded)


def destroyed(ring: KeyRing, kid: str, at: datetime) -> KeyRing:
    """The material of an ended key is gone: the key leaves the ring for its history."""
    key = ring.find(kid)
    if key is None:
        return ring
    lived = f"{key.phase.value}; created {key.created_at:%Y-%m-%dT%H:%M:%SZ}"
    if key.activated_at is not None:
        lived += f", active since {key.activated_at:%Y-%m-%dT%H:%M:%SZ}"
    return ring.without_key(kid).noting(Entry(at, "key.destroyed", kid, lived))


def revoke(
    ring: KeyRing,
    kids: Iterable[str],
    at: datetime,
    why: str,
    *,
    successor: str | None,
    write_window: timedelta,
    fresh: bool = False,
) -> KeyRing:
    """Take keys out at once, with a successor if the active one is among them (rule 6).

    The creation and promotion of a key that no cache knows yet is ordered with it, if any of them may
    have signed.

    Args:
        fresh: order that whatever the ring says of the keys, for it may not know them all.
    """
    used = fresh
    for kid in kids:
        key = _need(ring, kid)
        used = used or key.phase in (Phase.ACTIVE, Phase.RETIRING)
        late = at + write_window if key.phase is Phase.CREATING else None
        ring = _end(ring, key, Phase.REVOKED, at, why, destroy_after=late)
        ring = replace(ring, pins={k: order for k, order in ring.pins.items() if k != kid})
    if successor is not None:
        ring = _activate(ring, _need(ring, successor), at)
        ring = ring.noting(Entry(at, "key.promoted", successor, "successor of a revoked key"))
    active = ring.active
    if used and active is not None:
        order = Order(at, "revocation", replaces=active.kid, urgent=True)
        ring = replace(ring, promote=order)
    return ring


def roll_back(ring: KeyRing, kid: str, at: datetime, why: str) -> KeyRing:
    """The previous key becomes active again, and the key set is held (rule 9)."""
    ring = promote(ring, kid, at, "rollback")
    return hold(replace(ring, promote=None), at, f"{ROLLBACK}: {why}" if why else ROLLBACK)


def hold(ring: KeyRing, at: datetime, why: str) -> KeyRing:
    """Stop create, promote and retire until `release` (rule 7)."""
    why = why or (ring.hold.reason if ring.hold is not None else "")
    return replace(ring, hold=Order(at, why)).noting(Entry(at, "order.hold", "", why))


def release(ring: KeyRing, at: datetime) -> KeyRing:
    """End a hold."""
    return replace(ring, hold=None).noting(Entry(at, "order.release"))


def pin(ring: KeyRing, kid: str, at: datetime, why: str) -> KeyRing:
    """Keep a key published with its material until `unpin` (rule 7)."""
    before = ring.pins.get(kid)
    pins = {**ring.pins, kid: Order(at, why or (before.reason if before is not None else ""))}
    return replace(ring, pins=pins).noting(Entry(at, "order.pin", kid, why))


def unpin(ring: KeyRing, kid: str, at: datetime) -> KeyRing:
    """Let a pinned key go when its time has come."""
    pins = {name: order for name, order in ring.pins.items() if name != kid}
    return replace(ring, pins=pins).noting(Entry(at, "order.unpin", kid))


def order_promotion(
    ring: KeyRing, kid: str, at: datetime, why: str, *, ignore_windows: bool = False
) -> KeyRing:
    """Order that the current key be replaced as soon as the next one's propagation has passed."""
    ring = replace(ring, promote=Order(at, why, replaces=kid, ignore_windows=ignore_windows))
    return ring.noting(Entry(at, "order.promote", kid, why))


def forget(ring: KeyRing, target: str, at: datetime) -> KeyRing:
    """Stop counting a target that is gone for good: whatever it held is nobody's concern any more."""
    holders = {name: kids for name, kids in ring.holders.items() if name != target}
    keys = tuple(
        replace(key, announced={n: d for n, d in key.announced.items() if n != target})
        for key in ring.keys
    )
    ring = replace(ring, holders=holders, keys=keys)
    return ring.noting(Entry(at, "order.forget", "", target))


def take_over(ring: KeyRing, found: Mapping[str, Key], target: str, at: datetime) -> KeyRing:
    """Enter keys found at a filled target as `retiring`, public half only (rule 4)."""
    for kid, key in found.items():
        if ring.find(kid) is None:
            entered = replace(
                key, phase=Phase.RETIRING, locator=None, created_at=at, retiring_at=at
            )
            ring = ring.with_key(entered)
            ring = ring.noting(Entry(at, "key.taken_over", kid, f"found at {target}"))
    return ring.noting(Entry(at, "order.take_over", "", target))


def confirm_clock(ring: KeyRing, now: datetime) -> KeyRing:
    """The operator says that the clocks are right: dates from the future are cleared.

    A term from the future starts again when it is next seen; any other date becomes now.
    """

    def past(date: datetime | None) -> datetime | None:
        return None if date is None else min(date, now)

    keys = tuple(_without_future(key, now) for key in ring.keys)
    protection = {
        name: replace(item, since=past(item.since), disputed_at=past(item.disputed_at))
        for name, item in ring.protection.items()
    }
    return replace(
        ring,
        keys=keys,
        protection=protection,
        hold=ring.hold and replace(ring.hold, at=min(ring.hold.at, now)),
        promote=ring.promote and replace(ring.promote, at=min(ring.promote.at, now)),
        pins={kid: replace(order, at=min(order.at, now)) for kid, order in ring.pins.items()},
        first_activated_at=past(ring.first_activated_at),
        kind_changed_at=past(ring.kind_changed_at),
        discarded_at=past(ring.discarded_at),
        clock_confirmed_at=now,
        history=tuple(replace(entry, at=min(entry.at, now)) for entry in ring.history),
    ).noting(Entry(now, "clock.confirmed", "", "by the operator"))


def _without_future(key: Key, now: datetime) -> Key:
    superseded = key.superseded_at
    return replace(
        key,
        created_at=min(key.created_at, now),
        pending_at=key.pending_at and min(key.pending_at, now),
        activated_at=key.activated_at and min(key.activated_at, now),
        retiring_at=key.retiring_at and min(key.retiring_at, now),
        ended_at=key.ended_at and min(key.ended_at, now),
        destroy_after=key.destroy_after and min(key.destroy_after, now + _STALLED),
        superseded_at=None if superseded is not None and superseded > now else superseded,
        announced={name: date for name, date in key.announced.items() if date <= now},
    )


def _end(
    ring: KeyRing,
    key: Key,
    phase: Phase,
    at: datetime,
    why: str,
    *,
    destroy_after: datetime | None = None,
) -> KeyRing:
    ended = replace(
        key,
        phase=phase,
        ended_at=at,
        destroy_after=destroy_after,
        announced={},
        reason=why,
    )
    return ring.with_key(ended).noting(Entry(at, f"key.{phase.value}", key.kid, why))


def _need(ring: KeyRing, kid: str) -> Key:
    key = ring.find(kid)
    if key is None or key.phase in ENDED:
        known = ", ".join(k.kid for k in ring.published) or "none"
        raise UsageError(
            f"key set {ring.key_set} has no key {kid}", hint=f"its published keys are {known}"
        )
    return key
