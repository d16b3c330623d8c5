"""Faults that somebody could make in the program: each small, named, and caught by the model.

`breaks` says which rule of DESIGN §3, which clause of the contract, or which incident elsewhere it stands
for. `scenario` is the story in which its harm shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from rotator import documents, evidence, jwks, mend, plan, reconcile, steps, transitions
from rotator.clock import Verdict
from rotator.jwks import public_jwk
from rotator.keyset import Memory, Site
from rotator.look import look_at
from rotator.mend import Mender
from rotator.observed import DocumentKind, Observed
from rotator.plan import Do, Reason, Situation, Step
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile import View
from rotator.ring import Key, KeyRing, Phase
from rotator.ring_document import write_ring
from tests.model import scenarios

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault: what it is called, what it breaks, how it is put in, and where it shows."""

    name: str
    breaks: str
    patch: Patch
    scenario: Callable[[], None]


def instead(owner: Any, name: str, new: Any) -> Patch:
    """Return a patch that replaces one thing."""
    return lambda: mock.patch.object(owner, name, new)


@contextlib.contextmanager
def together(*patches: Patch) -> Iterator[None]:
    """Put several patches in at once."""
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        yield


def floor_without(floor: str, name: str) -> Patch:
    """Leave one term out of a floor of the timing contract."""
    whole = getattr(RotationPolicy, floor).fget

    def lacking(policy: RotationPolicy) -> timedelta:
        term = 2 * policy.clock_skew if name == "2 × clock_skew" else getattr(policy, name)
        left: timedelta = whole(policy) - term
        return left

    return instead(RotationPolicy, floor, property(lacking))


# -- evidence --------------------------------------------------------------------------------------


def _never_unannounced(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
    for key in ring.in_phase(Phase.PENDING):
        dates = dict(key.announced)
        for name, seen in observed.announcing():
            if key.kid in seen.kids and at is not None:
                dates.setdefault(name, at)
        ring = ring.with_key(replace(key, announced=dates))
    return ring


def _announced_first(key: Key, _required: object) -> datetime | None:
    return min(key.announced.values(), default=None)


def _announced_when_created(situation: Situation, key: Key) -> datetime | None:
    return (
        key.pending_at if key.announced_at(n for n, _ in situation.observed.announcing()) else None
    )


def _hmac_unseen() -> contextlib.AbstractContextManager[Any]:
    looked_at = Observed.announcing

    def announcing(observed: Observed) -> Iterator[Any]:
        return (i for i in looked_at(observed) if i[1].kind is DocumentKind.JWKS)

    return together(
        instead(Observed, "announcing", announcing),
        instead(Key, "announced_at", lambda key, _required: key.pending_at),
    )


def _superseded_with(date: Callable[[Key, datetime], datetime | None]) -> Patch:
    original = evidence._supersede

    def supersede(ring: KeyRing, observed: Observed, at: datetime | None) -> KeyRing:
        after = original(ring, observed, at)
        for key in after.in_phase(Phase.RETIRING):
            if key.superseded_at is not None and at is not None:
                after = after.with_key(replace(key, superseded_at=date(key, at)))
        return after

    return instead(evidence, "_supersede", supersede)


def _not_the_old_key(ring: KeyRing, observed: Observed, active: str, *, instead_of: str) -> bool:
    del active
    return not observed.may_hold(ring, instead_of)


def _only_what_is_configured(observed: Observed, _ring: KeyRing, kid: str) -> tuple[str, ...]:
    return tuple(n for n, seen in observed.signing() if kid in seen.kids + seen.strangers)


def _holders_as_seen(ring: KeyRing, observed: Observed) -> KeyRing:
    seen = {n: sighting.kids for n, sighting in observed.signing() if sighting.answered}
    return replace(ring, holders={**ring.holders, **seen})


# -- plan ------------------------------------------------------------------------------------------


def _retire_without_last_look(s: Situation, key: Key) -> Step:
    if key.kid in s.ring.pins or key.superseded_at is None:
        return s.wait(Reason.IN_GRACE, key.kid)
    due = key.superseded_at + s.policy.grace_wait
    return s.wait(Reason.IN_GRACE, key.kid, due) if s.now < due else _retires(key)


def _retires(key: Key) -> Step:
    return Step(Do.RETIRE, Reason.GRACE_PASSED, key.kid)


def _retire_unpinned() -> contextlib.AbstractContextManager[Any]:
    original = plan._retire_one

    def retire_one(s: Situation, key: Key) -> Step:
        return original(replace(s, ring=replace(s.ring, pins={})), key)

    return mock.patch.object(plan, "_retire_one", retire_one)


def _retire_by_count() -> contextlib.AbstractContextManager[Any]:
    original = plan._retire_one

    def retire_one(s: Situation, key: Key) -> Step:
        oldest = s.ring.in_phase(Phase.RETIRING)[0]
        crowded = len(s.ring.published) > 3 and key.kid == oldest.kid
        return _retires(key) if crowded and key.superseded_at else original(s, key)

    return mock.patch.object(plan, "_retire_one", retire_one)


def _overdue_at_once() -> contextlib.AbstractContextManager[Any]:
    original = plan._promote

    def promote(s: Situation) -> Iterator[Step]:
        active = s.ring.active
        if active is not None and s.next_keys and s.due_at(active) <= s.now:
            key = s.next_keys[0]
            if not s.observed.not_showing(key.kid):
                yield Step(Do.PROMOTE, Reason.ROTATION_DUE, key.kid)
                return
        yield from original(s)

    return mock.patch.object(plan, "_promote", promote)


def _kind_at_once() -> contextlib.AbstractContextManager[Any]:
    original = plan._promote

    def promote(s: Situation) -> Iterator[Step]:
        active = s.ring.active
        for key in s.next_keys:
            if active is not None and key.kind != active.kind and s.announced_at(key):
                yield Step(Do.PROMOTE, Reason.KIND_CHANGED, key.kid)
                return
        yield from original(s)

    return mock.patch.object(plan, "_promote", promote)


def _nothing(_s: Situation) -> Iterator[Step]:
    return iter(())


# -- the tick --------------------------------------------------------------------------------------


def _mend_first() -> contextlib.AbstractContextManager[Any]:
    original = reconcile.look_around

    def look_around(site: Site) -> View:
        view = View(site)
        view.look()
        if view.loaded.revision:
            mender = Mender(
                view.loaded,
                site.policy,
                site.material,
                site.keys,
                view.fence,
                lambda _name: None,
                lambda item: look_at(item.target, view.loaded, site.keys, site.clock),
            )
            mender.mend(view.seen)
        return original(site)

    return mock.patch.object(reconcile, "look_around", look_around)


def _dates_from_the_start() -> contextlib.AbstractContextManager[Any]:
    original = View.read_clock

    def read_clock(view: View) -> None:
        if not hasattr(view, "now"):
            original(view)

    return mock.patch.object(View, "read_clock", read_clock)


def _swap_unfenced(view: View) -> None:
    ring = replace(view.ring, revision=view.loaded.revision + 1)
    view.version = view.site.rings.save(write_ring(ring), replacing=view.version)
    view.loaded, view.ring, view.swapped = ring, ring, True


def _swap_over_others(view: View) -> None:
    present = view.site.rings.load()
    view.version = present.version if present is not None else None
    _swap_unfenced(view)


def _kid_unasked(view: View, why: Reason) -> Any:
    new = view.site.keys.make(view.site.policy.kind)
    locator = view.site.material.allocate(new.kid, view.ring.locators)
    key = Key(
        new.kid,
        new.kind.algorithm,
        new.kind.size,
        Phase.CREATING,
        locator,
        view.date(),
        new.public,
        new.check,
    )
    view.ring = transitions.add_creating(view.ring, key, view.date(), why)
    view.swap()
    return new


_DISCARD = transitions.discard


def _discard_for_good(ring: KeyRing, kid: str, at: datetime, why: str, **_: object) -> KeyRing:
    discarded = _DISCARD(ring, kid, at, why, write_window=ZERO)
    return discarded.without_key(kid)


def _superseded_for_ever() -> contextlib.AbstractContextManager[Any]:
    activate, promote = transitions._activate, transitions.promote

    def activate_keeping(ring: KeyRing, key: Key, at: datetime) -> KeyRing:
        after = activate(ring, key, at)
        kept = after.find(key.kid)
        return after.with_key(replace(kept, superseded_at=key.superseded_at)) if kept else after

    def promote_keeping(ring: KeyRing, kid: str, at: datetime, why: str) -> KeyRing:
        before, after = ring.active, promote(ring, kid, at, why)
        kept = after.find(before.kid) if before is not None else None
        if before is None or kept is None:
            return after
        return after.with_key(replace(kept, superseded_at=before.superseded_at))

    return together(
        instead(transitions, "_activate", activate_keeping),
        instead(transitions, "promote", promote_keeping),
    )


def _date_of_this_clock(view: View) -> datetime:
    return max(view.site.clock.now(), view.ring.latest or view.now)


# -- what is published -----------------------------------------------------------------------------


def _with_a_private_member(key: Key) -> dict[str, str]:
    return {**public_jwk(key), "d": "secret"}


def _empty_is_fine() -> contextlib.AbstractContextManager[Any]:
    def render(ring: KeyRing, also: Any = ()) -> bytes:
        keys = ",".join(str(public_jwk(key)).replace("'", '"') for key in (*ring.published, *also))
        return f'{{"keys":[{keys}]}}'.encode()

    def publish_gone(mender: Mender, item: Any) -> Any:
        if mender._differs(item, mender.ring.published):
            mender._write(item, mender._announcement(item, mender.ring.published, ()), ())
        return item

    return together(
        instead(documents, "render_jwks", render), instead(Mender, "_publish_gone", publish_gone)
    )


def _pinned_left_out() -> contextlib.AbstractContextManager[Any]:
    whole = KeyRing.published.fget  # type: ignore[attr-defined]

    def published(ring: KeyRing) -> tuple[Key, ...]:
        keys: tuple[Key, ...] = whole(ring)
        return tuple(k for k in keys if not (k.kid in ring.pins and k.superseded_at))

    return mock.patch.object(KeyRing, "published", property(published))


def _uncacheable(ring: KeyRing, policy: RotationPolicy, also: Any = ()) -> Any:
    return replace(documents_jwks(ring, policy, also), max_age=0, stale=0)


documents_jwks = documents.jwks_document


def _gone_before_new() -> contextlib.AbstractContextManager[Any]:
    """Deliver first, publish after: a signer may have a key before verifiers were given it."""
    original = Mender.mend

    def mend_backwards(mender: Mender, seen: Any) -> None:
        signing = [item for item in seen if item.target.kind is DocumentKind.SIGNING]
        original(mender, signing)
        original(mender, [item for item in seen if item not in signing])

    return mock.patch.object(Mender, "mend", mend_backwards)


# -- the list --------------------------------------------------------------------------------------

S = scenarios
DEFECTS: tuple[Defect, ...] = (
    Defect(
        "dates set once",
        "rule 1",
        instead(evidence, "_announce", _never_unannounced),
        S.a_kid_that_vanishes,
    ),
    Defect(
        "propagation counted from creation",
        "rule 1",
        instead(Situation, "announced_at", _announced_when_created),
        S.a_publication_that_is_late,
    ),
    Defect(
        "probes counted together instead of each",
        "rule 1",
        instead(Key, "announced_at", _announced_first),
        S.a_publication_that_is_late,
    ),
    Defect(
        "HMAC announced with nobody looked at", "rule 1", _hmac_unseen, S.verifiers_that_are_late
    ),
    Defect("mending before looking", "rule 1", _mend_first, S.a_kid_that_vanishes),
    Defect(
        "an observed cache lifetime is ignored",
        "rule 1",
        instead(evidence, "_observed_cache", lambda *_: ZERO),
        S.a_cdn_that_keeps_for_longer_than_a_period,
    ),
    Defect(
        "dates from the start of the tick", "dates", _dates_from_the_start, S.dates_of_a_slow_look
    ),
    Defect(
        "grace from promotion",
        "rule 2",
        _superseded_with(lambda key, _at: key.retiring_at),
        S.a_signing_target_that_is_late,
    ),
    Defect(
        "superseded again at each promotion",
        "rule 2",
        _superseded_with(lambda _key, at: at),
        S.rotations_as_tight_as_can_be,
    ),
    Defect(
        "not holding the old key instead of holding the active one",
        "rule 2",
        instead(evidence, "_all_hold", _not_the_old_key),
        S.a_signing_target_that_lost_its_document,
    ),
    Defect(
        "retire without the last look",
        "rule 2",
        instead(plan, "_retire_one", _retire_without_last_look),
        S.a_signing_target_that_comes_back_old,
    ),
    Defect(
        "a target that left the configuration is forgotten",
        "rule 2",
        instead(Observed, "may_hold", _only_what_is_configured),
        S.a_signing_target_that_left,
    ),
    Defect(
        "a target holds only what was seen",
        "rule 2",
        instead(evidence, "_hold", _holders_as_seen),
        S.a_signing_target_nobody_else_knows,
    ),
    Defect(
        "self-test skipped",
        "rule 3",
        instead(steps, "self_test", lambda *_: True),
        S.material_that_is_lost,
    ),
    Defect(
        "first run when nobody answered",
        "rule 4",
        instead(reconcile, "_refuse_doubtful_first_run", lambda _view: None),
        S.a_ring_that_is_lost_while_nobody_answers,
    ),
    Defect(
        "a restored ring is taken for the truth",
        "rule 4",
        instead(reconcile, "_refuse_stale", lambda _view: None),
        S.a_ring_that_is_old,
    ),
    Defect("overdue shortens propagation", "rule 5", _overdue_at_once, S.a_long_absence),
    Defect(
        "the first key never waits",
        "rule 5",
        instead(plan, "_published_before", lambda *_: False),
        S.a_first_key_that_is_discarded,
    ),
    Defect(
        "a hold delays a revocation's fresh key",
        "rule 6",
        instead(Situation, "urgent", property(lambda _s: False)),
        S.a_revocation_while_held,
    ),
    Defect(
        "a hold ignored",
        "rule 7",
        instead(Situation, "held", property(lambda _s: False)),
        S.a_held_key_set,
    ),
    Defect("a pin ignored", "rule 7", _retire_unpinned, S.a_pinned_key),
    Defect(
        "a private member in the JWKS",
        "rule 8",
        instead(jwks, "public_jwk", _with_a_private_member),
        S.answers_that_may_be_kept,
    ),
    Defect("empty JWKS published", "rule 8", _empty_is_fine, S.a_revoked_first_key),
    Defect(
        "no limit to the number of keys",
        "rule 8",
        instead(plan, "_creation_obstacle", lambda *_: None),
        S.keys_that_pile_up,
    ),
    Defect(
        "a rollback keeps the old superseded date",
        "rule 9",
        _superseded_for_ever,
        S.a_rollback,
    ),
    Defect(
        "a lowered token_ttl acting at once",
        "rule 10",
        instead(KeyRing, "in_force", lambda _ring, policy: policy),
        S.a_lowered_token_ttl,
    ),
    Defect("a new kind of key signs at once", "rule 10", _kind_at_once, S.a_change_of_kind),
    Defect(
        "lifetimes that a target still sends are not counted",
        "rule 10",
        instead(evidence, "_observed_cache", lambda *_: ZERO),
        S.a_server_elsewhere_that_serves_old,
    ),
    Defect(
        "a stalled writer without the fence",
        "writing order",
        instead(View, "fence", lambda _view: None),
        S.a_writer_that_stands_still,
    ),
    Defect(
        "a swap long after its load",
        "writing order",
        instead(View, "swap", _swap_unfenced),
        S.a_swap_long_after_its_load,
    ),
    Defect(
        "creating taken over at once",
        "writing order",
        instead(RotationPolicy, "create_timeout", property(lambda _p: ZERO)),
        S.a_creation_that_takes_a_second,
    ),
    Defect(
        "a discarded creation forgotten at once",
        "writing order",
        instead(transitions, "discard", _discard_for_good),
        S.a_creator_that_comes_late,
    ),
    Defect(
        "delivered before published", "writing order", _gone_before_new, S.an_emergency_of_a_new_key
    ),
    Defect(
        "duplicate active: compare-and-set ignored",
        "writing order",
        instead(View, "swap", _swap_over_others),
        S.two_who_swap_at_once,
    ),
    Defect(
        "a leap of the clock that promotes",
        "clock",
        instead(reconcile, "judge", lambda *_, **__: Verdict()),
        S.a_clock_that_leaps,
    ),
    Defect(
        "CLOCK_BOOTTIME is not asked",
        "clock",
        instead(Memory, "drift", lambda *_: ZERO),
        S.a_clock_that_leaps,
    ),
    Defect(
        "the clock is read again after it was judged",
        "clock",
        instead(View, "date", _date_of_this_clock),
        S.a_clock_that_leaps_in_a_tick,
    ),
    *(
        Defect(
            f"propagation without {name}",
            "contract: propagation",
            floor_without("propagation_floor", name),
            S.rotations_ordered_at_once,
        )
        for name in ("jwks_max_age", "jwks_stale", "verifier_cache", "clock_skew", "resync")
    ),
    *(
        Defect(
            f"grace without {name}",
            "contract: grace",
            floor_without("grace_floor", name),
            S.rotations_as_tight_as_can_be,
        )
        for name in ("token_ttl", "leeway", "signer_lag", "2 × clock_skew")
    ),
    *(
        Defect(
            f"rotate_every without {name}",
            "contract: rotate_every",
            floor_without("rotate_every_floor", name),
            S.rotations_seen_through_a_cdn,
        )
        for name in ("propagation", "jwks_max_age", "jwks_stale")
    ),
    Defect(
        "max_keys without the overlap",
        "contract: max_keys",
        instead(RotationPolicy, "overlap", property(lambda _p: 4)),
        S.rotations_as_tight_as_can_be,
    ),
    Defect(
        "a retained key removed by the publisher",
        "incident: Azure AD 2021",
        _pinned_left_out,
        S.a_pinned_key,
    ),
    Defect(
        "signing at once",
        "incidents: Logto 2026, Istio/Zitadel/dex + Envoy, Nomad",
        instead(RotationPolicy, "propagation_wait", property(lambda _p: ZERO)),
        S.a_long_absence,
    ),
    Defect(
        "caches as long as the period",
        "incidents: EKS 2021-, dex 2026",
        instead(RotationPolicy, "cached", property(lambda _p: ZERO)),
        S.a_cdn_that_keeps_for_longer_than_a_period,
    ),
    Defect(
        "answers that must not be kept",
        "incident: GitLab CI and AWS STS",
        instead(mend, "jwks_document", _uncacheable),
        S.answers_that_may_be_kept,
    ),
    Defect(
        "retired by count", "incident: Nomad 2024", _retire_by_count, S.rotations_as_tight_as_can_be
    ),
    Defect(
        "the rotation never fires",
        "incident: Nomad 2024",
        instead(Situation, "due_at", lambda _s, _key: datetime.max.replace(tzinfo=UTC)),
        S.rotations_as_tight_as_can_be,
    ),
    Defect(
        "never retired",
        "incident: Storm-0558 2023",
        instead(plan, "_retire", _nothing),
        S.rotations_as_tight_as_can_be,
    ),
    Defect(
        "material never destroyed",
        "incident: Storm-0558 2023",
        instead(plan, "_destroy", _nothing),
        S.rotations_as_tight_as_can_be,
    ),
    Defect(
        "two key types in one JWKS",
        "incident: AKP 2026",
        instead(reconcile, "refuse_misfit", lambda *_: None),
        S.a_change_of_key_type,
    ),
    Defect(
        "keys without a budget",
        "incident: SPIRE 2023",
        instead(plan, "_creation_obstacle", lambda *_: None),
        S.keys_that_pile_up,
    ),
    Defect(
        "a missing ring mints",
        "incident: Duende",
        instead(reconcile, "_refuse_doubtful_first_run", lambda _view: None),
        S.a_ring_that_is_lost,
    ),
    Defect(
        "a kid used again",
        "kid",
        instead(steps, "begin_creation", _kid_unasked),
        S.kids_that_come_again,
    ),
)
