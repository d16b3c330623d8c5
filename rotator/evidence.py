"""What looks teach: terms that begin, go on or start again (rules 1, 2 and 10). Pure.

`absorb` runs before anything is decided or mended, so that a target found without a key starts its term
again before the key is put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.observed import Observed
from rotator.policy import PROTECTIVE, ZERO, RotationPolicy, format_duration
from rotator.ring import Entry, Key, KeyRing, Phase, Protected

_DISPUTED: Final = 24
"""For so many `resync` at least a lower value is not recorded again that somebody took back."""


def stamp(ring: KeyRing, now: datetime) -> datetime:
    """Return the date for something that happens now: never before the latest date in the ring."""
    latest = ring.latest
    return now if latest is None else max(now, latest)


def absorb(ring: KeyRing, policy: RotationPolicy, now: datetime, observed: Observed) -> KeyRing:
    """Return the ring with everything recorded that was observed.

    Args:
        policy: as configured here; the ring keeps the protective durations in force.
        now: read after the looks were taken.
        observed: when its clock is suspicious, terms are cleared but no date is set.
    """
    at = None if observed.suspicious else stamp(ring, now)
    ring = _protect(ring, policy, observed, at)
    ring = _hold(ring, observed)
    ring = _announce(ring, observed, at)
    ring = _supersede(ring, observed, at)
    return _drop_done_orders(ring)


def differences(ring: KeyRing, policy: RotationPolicy) -> dict[str, str]:
    """Return which protective durations in force differ from the configured ones, in words."""
    found = {}
    for name, item in ring.protection.items():
        if name not in PROTECTIVE:  # observed at a probe, or of a version that is not ours
            continue
        configured = _configured(policy, name)
        if configured is None or item.value == configured:
            continue
        until = f" until {item.lowered_at:%Y-%m-%d %H:%M:%S}Z" if item.lowered_at else ""
        found[name] = (
            f"configured {format_duration(configured)}, in force {format_duration(item.value)}{until}"
        )
    return found


def _configured(policy: RotationPolicy, name: str) -> timedelta | None:
    # A grace that is not configured is computed; what is in force is then what was computed.
    if name == "grace":
        return policy.grace_wait
    value: timedelta = getattr(policy, name)
    return value


def _protect(
    ring: KeyRing, policy: RotationPolicy, observed: Observed, at: datetime | None
) -> KeyRing:
    protection = dict(ring.protection)
    for name in PROTECTIVE:
        wanted = _configured(policy, name)
        if wanted is not None:
            item = protection.get(name)
            ready = item.lowered_at if item is not None else None
            protection[name] = _step_towards(item, wanted, at, ready, policy.resync)
    cache = _observed_cache(policy, observed)
    if cache is not None and (cache > ZERO or "observed_cache" in protection):
        item = protection.get("observed_cache")
        ready = None if item is None else lowered_at("observed_cache", item, ring.in_force(policy))
        protection["observed_cache"] = _step_towards(item, cache, at, ready, policy.resync)
        if protection["observed_cache"] == Protected(ZERO):
            del protection["observed_cache"]
    return replace(ring, protection=protection) if protection != ring.protection else ring


def lowered_at(name: str, item: Protected, policy: RotationPolicy) -> datetime | None:
    """Return when a lower value comes into force, None when none is recorded.

    What a cache held for the observed time is held by verifiers after that. `propagation` has room for
    this when a configured duration is lowered, being lowered itself only after its own old value; it
    has none for what was observed beyond it.

    Args:
        policy: with the durations in force.
    """
    if name == "observed_cache" and item.since is not None:
        return item.since + policy.propagation_floor
    return item.lowered_at


def longest(
    first: Mapping[str, Protected], second: Mapping[str, Protected]
) -> dict[str, Protected]:
    """Return the longer of each duration in force in two rings; what was to be lowered is to be lowered anew.

    For a ring that comes back from a backup: what was raised after it, and what was lowered and raised
    again, may still be what caches, tokens and signers go by.
    """
    found = dict(first)
    for name, item in second.items():
        if name not in found or item.value > found[name].value:
            found[name] = item
    return {
        name: replace(item, lower=None, since=None, disputed_at=None)
        for name, item in found.items()
    }


def _step_towards(
    item: Protected | None,
    wanted: timedelta,
    at: datetime | None,
    ready: datetime | None,
    resync: timedelta,
) -> Protected:
    """Raise at once; lower at `ready`, when the old value has passed since the lower was recorded."""
    if item is None or wanted > item.value:
        return Protected(wanted)
    if wanted == item.value:
        # Somebody else is configured with less, or was; `disputed_at` keeps the two from taking turns.
        return item if item.lower is None else Protected(wanted, disputed_at=at)
    if at is None:
        return item
    if item.lower is None:
        if item.disputed_at is not None:
            rest = max(item.value, _DISPUTED * resync)
            if at < item.disputed_at + rest:
                return item
        return Protected(item.value, wanted, at)
    if ready is not None and at >= ready:
        return _step_towards(Protected(item.lower), wanted, at, None, resync)
    # A still lower wish waits its turn, so that two replicas that differ do not restart each other.
    return replace(item, lower=max(item.lower, wanted))


def _observed_cache(policy: RotationPolicy, observed: Observed) -> timedelta | None:
    """Return the longest cache lifetime seen, if it is longer than ours; None when it is not known.

    A longer one counts as soon as it is seen; that it is gone is known only when every target answered.
    """
    if policy.kind.symmetric:
        return None
    seen = [sighting for _, sighting in observed.announcing()]
    longest = max((sighting.cache for sighting in seen if sighting.cache is not None), default=ZERO)
    if longest > policy.jwks_max_age + policy.jwks_stale:
        return longest
    return ZERO if all(sighting.answered for sighting in seen) else None


def _hold(ring: KeyRing, observed: Observed) -> KeyRing:
    """Remember what each signing target was last seen with, and may be given from now on."""
    holders = dict(ring.holders)
    # This tick, or one that loaded the same ring, may deliver the active key after the look.
    active = {ring.active.kid} if ring.active is not None else set()
    for name, sighting in observed.signing():
        if sighting.answered:
            holders[name] = tuple(sorted({*sighting.kids, *sighting.strangers, *active}))
        else:
            holders.setdefault(name, tuple(active))
    return replace(ring, holders=holders) if holders != dict(ring.holders) else ring


def _announce(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
    required = tuple(name for name, _ in observed.announcing())
    for key in ring.in_phase(Phase.PENDING):
        announced = dict(key.announced)
        for name, sighting in observed.announcing():
            if not sighting.answered:
                continue
            if key.kid not in sighting.kids:
                announced.pop(name, None)
            elif name not in announced and at is not None:
                announced[name] = at
        if announced == dict(key.announced):
            continue
        changed = replace(key, announced=announced)
        ring = _note_announcement(ring.with_key(changed), key, changed, required, at)
    return ring


def _note_announcement(
    ring: KeyRing, before: Key, after: Key, required: tuple[str, ...], at: datetime | None
) -> KeyRing:
    was, stands = before.announced_at(required), after.announced_at(required)
    if was is None and stands is not None:
        return ring.noting(Entry(at or stands, "key.announced", after.kid, "seen everywhere"))
    if was is not None and stands is None:
        gone = ", ".join(sorted(set(before.announced) - set(after.announced)))
        reason = f"missing at {gone}; announced since {was:%Y-%m-%dT%H:%M:%SZ}"
        return ring.noting(Entry(at or was, "key.unannounced", after.kid, reason))
    return ring


def _supersede(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
    active = ring.active
    for key in ring.in_phase(Phase.RETIRING):
        held_by = _seen_holding(observed, key.kid)
        if key.superseded_at is not None and held_by:
            entry = Entry(
                at or key.superseded_at,
                "key.unsuperseded",
                key.kid,
                f"held again by {', '.join(held_by)}; superseded since {key.superseded_at:%Y-%m-%dT%H:%M:%SZ}",
            )
            ring = ring.with_key(replace(key, superseded_at=None)).noting(entry)
        elif key.superseded_at is not None or at is None or active is None:
            continue
        elif _all_hold(ring, observed, active.kid, instead_of=key.kid):
            reason = f"every signing target holds {active.kid}"
            ring = ring.with_key(replace(key, superseded_at=at))
            ring = ring.noting(Entry(at, "key.superseded", key.kid, reason))
    return ring


def _seen_holding(observed: Observed, kid: str) -> list[str]:
    signing = observed.signing()
    return [name for name, seen in signing if seen.answered and kid in seen.kids + seen.strangers]


def _all_hold(ring: KeyRing, observed: Observed, active: str, *, instead_of: str) -> bool:
    """True when every signing target was read back with the active key, and none left may hold another."""
    signing = list(observed.signing())
    if not signing or any(seen.drifted or active not in seen.kids for _, seen in signing):
        return False
    return not observed.may_hold(ring, instead_of)


def _drop_done_orders(ring: KeyRing) -> KeyRing:
    order, active = ring.promote, ring.active
    if order is None or active is None or order.replaces == active.kid:
        return ring
    return replace(ring, promote=None)
