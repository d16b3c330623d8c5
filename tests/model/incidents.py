"""Faults that others had, with those who had them: each is put into this program and caught."""

from __future__ import annotations

from datetime import UTC, datetime

from rotator import rules
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile import gather, mend, tick
from rotator.situation import Situation
from tests.model import faulty_decisions as wrong
from tests.model import faulty_ticks as faulty
from tests.model import stories_of_keys as keys
from tests.model import stories_of_time as time
from tests.model import stories_of_writers as writers
from tests.model.patches import Defect, instead

INCIDENTS: tuple[Defect, ...] = (
    Defect(
        "a retained key removed by the publisher",
        "incident: Azure AD 2021",
        faulty.pinned_left_out,
        keys.a_pinned_key,
    ),
    Defect(
        "signing at once",
        "incidents: Logto 2026, Istio/Zitadel/dex + Envoy, Nomad",
        instead(RotationPolicy, "propagation_wait", property(lambda _p: ZERO)),
        time.a_long_absence,
    ),
    Defect(
        "caches as long as the period",
        "incidents: EKS 2021-, dex 2026",
        instead(RotationPolicy, "cached", property(lambda _p: ZERO)),
        time.a_cdn_that_keeps_for_longer_than_a_period,
    ),
    Defect(
        "answers that must not be kept",
        "incident: GitLab CI and AWS STS",
        instead(mend, "jwks_document", faulty.uncacheable),
        keys.answers_that_may_be_kept,
    ),
    Defect(
        "retired by count",
        "incident: Nomad 2024",
        wrong.retire_by_count,
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "the rotation never fires",
        "incident: Nomad 2024",
        instead(Situation, "due_at", lambda _s, _key: datetime.max.replace(tzinfo=UTC)),
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "never retired",
        "incident: Storm-0558 2023",
        instead(rules, "retire", wrong.nothing),
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "material never destroyed",
        "incident: Storm-0558 2023",
        instead(rules, "destroy", wrong.nothing),
        time.rotations_as_tight_as_can_be,
    ),
    Defect(
        "two key types in one JWKS",
        "incident: AKP 2026",
        instead(tick, "refuse_misfit", lambda *_: None),
        keys.a_change_of_key_type,
    ),
    Defect(
        "keys without a budget",
        "incident: SPIRE 2023",
        instead(rules, "_creation_obstacle", lambda *_: None),
        keys.keys_that_pile_up,
    ),
    Defect(
        "a missing ring mints",
        "incident: Duende",
        instead(gather, "_refuse_doubtful_first_run", lambda _view: None),
        writers.a_ring_that_is_lost,
    ),
)
