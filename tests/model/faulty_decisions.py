"""Faults in what is learnt from looks, and in what is decided."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

from rotator import evidence, rules
from rotator.observed import DocumentKind, Observed
from rotator.ring import Key, KeyRing, Phase
from rotator.situation import Situation
from rotator.step import Do, Reason, Step
from tests.model.patches import Patch, instead, together


def never_unannounced(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
    for key in ring.in_phase(Phase.PENDING):
        dates = dict(key.announced)
        for name, seen in observed.announcing():
            if key.kid in seen.kids and at is not None:
                dates.setdefault(name, at)
        ring = ring.with_key(replace(key, announced=dates))
    return ring


def announced_first(key: Key, _required: object) -> datetime | None:
    return min(key.announced.values(), default=None)


def announced_when_created(situation: Situation, key: Key) -> datetime | None:
    return (
        key.pending_at if key.announced_at(n for n, _ in situation.observed.announcing()) else None
    )


def hmac_unseen() -> contextlib.AbstractContextManager[Any]:
    looked_at = Observed.announcing

    def announcing(observed: Observed) -> Iterator[Any]:
        return (i for i in looked_at(observed) if i[1].kind is DocumentKind.JWKS)

    return together(
        instead(Observed, "announcing", announcing),
        instead(Key, "announced_at", lambda key, _required: key.pending_at),
    )


def superseded_with(date: Callable[[Key, datetime], datetime | None]) -> Patch:
    original = evidence._supersede

    def supersede(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
        after = original(ring, observed, at)
        for key in after.in_phase(Phase.RETIRING):
            if key.superseded_at is not None and at is not None:
                after = after.with_key(replace(key, superseded_at=date(key, at)))
        return after

    return instead(evidence, "_supersede", supersede)


def not_the_old_key(ring: KeyRing, observed: Observed, active: str, *, instead_of: str) -> bool:
    del active
    return not observed.may_hold(ring, instead_of)


def whoever_answers_holds_it(
    ring: KeyRing, observed: Observed, active: str, *, instead_of: str
) -> bool:
    del ring, instead_of
    answered = [seen for _, seen in observed.signing() if seen.answered]
    return bool(answered) and all(active in seen.kids for seen in answered)


def mirrors_left_out() -> contextlib.AbstractContextManager[Any]:
    return together(
        instead(evidence, "_all_hold", whoever_answers_holds_it),
        instead(rules, "_retire_one", retire_without_last_look),
    )


def only_what_is_configured(observed: Observed, _ring: KeyRing, kid: str) -> tuple[str, ...]:
    return tuple(n for n, seen in observed.signing() if kid in seen.kids + seen.strangers)


def holders_as_seen(ring: KeyRing, observed: Observed) -> KeyRing:
    seen = {n: sighting.kids for n, sighting in observed.signing() if sighting.answered}
    return replace(ring, holders={**ring.holders, **seen})


def retire_without_last_look(s: Situation, key: Key) -> Step:
    if key.kid in s.ring.pins or key.superseded_at is None:
        return s.wait(Reason.IN_GRACE, key.kid)
    due = key.superseded_at + s.policy.grace_wait
    return s.wait(Reason.IN_GRACE, key.kid, due) if s.now < due else retires(key)


def retires(key: Key) -> Step:
    return Step(Do.RETIRE, Reason.GRACE_PASSED, key.kid)


def retire_unpinned() -> contextlib.AbstractContextManager[Any]:
    original = rules._retire_one

    def retire_one(s: Situation, key: Key) -> Step:
        return original(replace(s, ring=replace(s.ring, pins={})), key)

    return mock.patch.object(rules, "_retire_one", retire_one)


def retire_by_count() -> contextlib.AbstractContextManager[Any]:
    original = rules._retire_one

    def retire_one(s: Situation, key: Key) -> Step:
        oldest = s.ring.in_phase(Phase.RETIRING)[0]
        crowded = len(s.ring.published) > 3 and key.kid == oldest.kid
        return retires(key) if crowded and key.superseded_at else original(s, key)

    return mock.patch.object(rules, "_retire_one", retire_one)


def overdue_at_once() -> contextlib.AbstractContextManager[Any]:
    original = rules.promote

    def promote(s: Situation) -> Iterator[Step]:
        active = s.ring.active
        if active is not None and s.next_keys and s.due_at(active) <= s.now:
            key = s.next_keys[0]
            if not s.observed.not_showing(key.kid):
                yield Step(Do.PROMOTE, Reason.ROTATION_DUE, key.kid)
                return
        yield from original(s)

    return mock.patch.object(rules, "promote", promote)


def kind_at_once() -> contextlib.AbstractContextManager[Any]:
    original = rules.promote

    def promote(s: Situation) -> Iterator[Step]:
        active = s.ring.active
        for key in s.next_keys:
            if active is not None and key.kind != active.kind and s.announced_at(key):
                yield Step(Do.PROMOTE, Reason.KIND_CHANGED, key.kid)
                return
        yield from original(s)

    return mock.patch.object(rules, "promote", promote)


def nothing(_s: Situation) -> Iterator[Step]:
    return iter(())
