"""Faults that somebody could make in the program: each small, named, and caught by the model.

`breaks` says which rule of DESIGN §3, which clause of the contract, or which incident elsewhere it stands
for. `scenario` is the story in which its harm shows.
"""

from __future__ import annotations

from rotator import evidence, jwks, rules, situation, transitions
from rotator.clock import Verdict
from rotator.observed import Observed
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile import gather, steps
from rotator.reconcile.mend import Mender
from rotator.reconcile.site import Memory
from rotator.reconcile.view import View
from rotator.ring import Key, KeyRing
from rotator.situation import Situation
from tests.model import faulty_decisions as wrong
from tests.model import faulty_ticks as faulty
from tests.model import stories_of_keys as keys
from tests.model import stories_of_stores as stores
from tests.model import stories_of_time as time
from tests.model import stories_of_writers as writers
from tests.model.defects_of_signers import SIGNERS
from tests.model.defects_of_stores import STORES
from tests.model.incidents import INCIDENTS
from tests.model.patches import Defect, floor_without, instead

DEFECTS: tuple[Defect, ...] = (
    *INCIDENTS,
    *STORES,
    *SIGNERS,
    Defect(
        "dates set once",
        "rule 1",
        instead(evidence, "_announce", wrong.never_unannounced),
        time.a_kid_that_vanishes,
    ),
    Defect(
        "propagation counted from creation",
        "rule 1",
        instead(Situation, "announced_at", wrong.announced_when_created),
        time.a_publication_that_is_late,
    ),
    Defect(
        "probes counted together instead of each",
        "rule 1",
        instead(Key, "announced_at", wrong.announced_first),
        time.a_publication_that_is_late,
    ),
    Defect(
        "HMAC announced with nobody looked at",
        "rule 1",
        wrong.hmac_unseen,
        time.verifiers_that_are_late,
    ),
    Defect("mending before looking", "rule 1", faulty.mend_first, time.a_kid_that_vanishes),
    Defect(
        "an observed cache lifetime is ignored",
        "rule 1",
        instead(evidence, "_observed_cache", lambda *_: ZERO),
        time.a_cdn_that_keeps_for_longer_than_a_period,
    ),
    Defect(
        "dates from the start of the tick",
        "dates",
        faulty.dates_from_the_start,
        writers.dates_of_a_slow_look,
    ),
    Defect(
        "grace from promotion",
        "rule 2",
        wrong.superseded_with(lambda key, _at: key.retiring_at),
        time.a_signing_target_that_is_late,
    ),
    Defect(
        "superseded again at each promotion",
        "rule 2",
        wrong.superseded_with(lambda _key, at: at),
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "not holding the old key instead of holding the active one",
        "rule 2",
        instead(evidence, "_all_hold", wrong.not_the_old_key),
        time.a_signing_target_that_lost_its_document,
    ),
    Defect(
        "retire without the last look",
        "rule 2",
        instead(rules, "_retire_one", wrong.retire_without_last_look),
        time.a_signing_target_that_comes_back_old,
    ),
    Defect(
        "a target that left the configuration is forgotten",
        "rule 2",
        instead(Observed, "may_hold", wrong.only_what_is_configured),
        time.a_signing_target_that_left,
    ),
    Defect(
        "a target holds only what was seen",
        "rule 2",
        instead(evidence, "_hold", wrong.holders_as_seen),
        time.a_signing_target_nobody_else_knows,
    ),
    Defect(
        "self-test skipped",
        "rule 3",
        instead(steps, "self_test", lambda *_: True),
        keys.material_that_is_lost,
    ),
    Defect(
        "one lost HMAC key keeps the others from verifiers",
        "rule 3",
        instead(Mender, "_pair", faulty.every_material_is_needed),
        keys.hmac_material_that_is_lost,
    ),
    Defect(
        "first run when nobody answered",
        "rule 4",
        instead(gather, "_refuse_doubtful_first_run", lambda _view: None),
        writers.a_ring_that_is_lost_while_nobody_answers,
    ),
    Defect(
        "a restored ring is taken for the truth",
        "rule 4",
        instead(gather, "_refuse_stale", lambda _view: None),
        writers.a_ring_that_is_old,
    ),
    Defect("overdue shortens propagation", "rule 5", wrong.overdue_at_once, time.a_long_absence),
    Defect(
        "the first key never waits",
        "rule 5",
        instead(rules, "_published_before", lambda *_: False),
        keys.a_first_key_that_is_discarded,
    ),
    Defect(
        "a hold delays a revocation's fresh key",
        "rule 6",
        instead(Situation, "urgent", property(lambda _s: False)),
        keys.a_revocation_while_held,
    ),
    Defect(
        "a hold ignored",
        "rule 7",
        instead(Situation, "held", property(lambda _s: False)),
        keys.a_held_key_set,
    ),
    Defect("a pin ignored", "rule 7", wrong.retire_unpinned, keys.a_pinned_key),
    Defect(
        "a private member in the JWKS",
        "rule 8",
        instead(jwks, "public_jwk", faulty.with_a_private_member),
        keys.answers_that_may_be_kept,
    ),
    Defect("empty JWKS published", "rule 8", faulty.empty_is_fine, keys.a_revoked_first_key),
    Defect(
        "no limit to the number of keys",
        "rule 8",
        instead(rules, "_creation_obstacle", lambda *_: None),
        keys.keys_that_pile_up,
    ),
    Defect(
        "a rollback keeps the old superseded date",
        "rule 9",
        faulty.superseded_for_ever,
        keys.a_rollback,
    ),
    Defect(
        "a lowered token_ttl acting at once",
        "rule 10",
        instead(KeyRing, "in_force", lambda _ring, policy: policy),
        time.a_lowered_token_ttl,
    ),
    Defect("a new kind of key signs at once", "rule 10", wrong.kind_at_once, keys.a_change_of_kind),
    Defect(
        "lifetimes that a target still sends are not counted",
        "rule 10",
        instead(evidence, "_observed_cache", lambda *_: ZERO),
        time.a_server_elsewhere_that_serves_old,
    ),
    Defect(
        "a stalled writer without the fence",
        "writing order",
        instead(View, "fence", lambda _view: None),
        writers.a_writer_that_stands_still,
    ),
    Defect(
        "a swap long after its load",
        "writing order",
        instead(View, "swap", faulty.swap_unfenced),
        writers.a_swap_long_after_its_load,
    ),
    Defect(
        "creating taken over at once",
        "writing order",
        instead(RotationPolicy, "create_timeout", property(lambda _p: ZERO)),
        writers.a_creation_that_takes_a_second,
    ),
    Defect(
        "a discarded creation forgotten at once",
        "writing order",
        instead(transitions, "discard", faulty.discard_for_good),
        writers.a_creator_that_comes_late,
    ),
    Defect(
        "delivered before published",
        "writing order",
        faulty.gone_before_new,
        keys.an_emergency_of_a_new_key,
    ),
    Defect(
        "duplicate active: compare-and-set ignored",
        "writing order",
        instead(View, "swap", faulty.swap_over_others),
        writers.two_who_swap_at_once,
    ),
    Defect(
        "a leap of the clock that promotes",
        "clock",
        instead(gather, "judge", lambda *_, **__: Verdict()),
        time.a_clock_that_leaps,
    ),
    Defect(
        "CLOCK_BOOTTIME is not asked",
        "clock",
        instead(Memory, "drift", lambda *_: ZERO),
        time.a_clock_that_leaps,
    ),
    Defect(
        "the clock is read again after it was judged",
        "clock",
        instead(View, "date", faulty.date_of_this_clock),
        writers.a_clock_that_leaps_in_a_tick,
    ),
    *(
        Defect(
            f"propagation without {name}",
            "contract: propagation",
            floor_without("propagation_floor", name),
            time.rotations_ordered_at_once,
        )
        for name in ("jwks_max_age", "jwks_stale", "verifier_cache", "clock_skew", "resync")
    ),
    *(
        Defect(
            f"grace without {name}",
            "contract: grace",
            floor_without("grace_floor", name),
            time.rotations_as_tight_as_can_be,
        )
        for name in ("token_ttl", "leeway", "signer_lag", "2 × clock_skew")
    ),
    *(
        Defect(
            f"rotate_every without {name}",
            "contract: rotate_every",
            floor_without("rotate_every_floor", name),
            time.rotations_seen_through_a_cdn,
        )
        for name in ("propagation", "jwks_max_age", "jwks_stale")
    ),
    Defect(
        "max_keys without the overlap",
        "contract: max_keys",
        instead(RotationPolicy, "overlap", property(lambda _p: 4)),
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "a kid used again",
        "kid",
        instead(steps, "begin_creation", faulty.kid_unasked),
        writers.kids_that_come_again,
    ),
    Defect(
        "promoted outside change windows",
        "windows",
        instead(situation, "opening", lambda _ring, _policy, due, now=None: max(due, now or due)),
        time.rotations_in_change_windows,
    ),
    Defect(
        "a new key tried again though nobody knows whether the ring has it",
        "kid",
        instead(steps, "begin_creation", faulty.spare_kept),
        stores.a_creation_whose_answer_was_lost,
    ),
)
