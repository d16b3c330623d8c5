"""Faults in how each kind of secrets manager is used: put into the rehearsal's way to it, and caught."""

from __future__ import annotations

from importlib import import_module

from rotator.reconcile import steps
from rotator.rehearsal import elsewhere
from rotator.rehearsal.labels import LabelStore, LabelWay
from rotator.rehearsal.numbers import NumberStore, NumberWay
from rotator.rehearsal.voids import VoidWay
from rotator.step import Reason
from tests.model import faulty_decisions as wrong
from tests.model import faulty_stores as faulty
from tests.model import stories_of_stores as stores
from tests.model import stories_of_time as time
from tests.model import stories_of_writers as writers
from tests.model.patches import Defect, instead, together

# `rotator.operations.emergency` is the operation; this is its module.
_EMERGENCY = import_module("rotator.operations.emergency")
_EVER = instead(elsewhere, "still_time", lambda: None)

LABELS: tuple[Defect, ...] = (
    Defect(
        "the label is moved without naming what it is moved from",
        "labels",
        instead(LabelStore, "flip", faulty.moved_from_anywhere),
        stores.two_who_change_a_ring_at_once,
        "labels",
    ),
    Defect(
        "the version put last is read instead of the current one",
        "labels",
        instead(LabelStore, "get", faulty.newest_version),
        stores.two_who_change_a_ring_at_once,
        "labels",
    ),
    Defect(
        "a version with a random name",
        "labels",
        instead(LabelWay, "token", faulty.named_at_random),
        stores.answers_that_are_lost,
        "labels",
    ),
    Defect(
        "not found is believed right after a put",
        "labels",
        instead(steps, "_young", lambda *_: False),
        stores.reads_that_lag,
        "labels",
    ),
    Defect(
        "a swap that stood still between its calls goes on",
        "labels",
        _EVER,
        writers.a_swap_long_after_its_load,
        "labels",
    ),
)

EMERGENCIES: tuple[Defect, ...] = (
    Defect(
        "an emergency that gives up leaves the key that it made",
        "rule 6",
        instead(_EMERGENCY, "_must_read_back", faulty.unread_and_left),
        stores.an_emergency_while_reads_lag,
        "labels",
    ),
)

NUMBERS: tuple[Defect, ...] = (
    Defect(
        "cas read just before the write",
        "cas numbers",
        instead(NumberWay, "base", faulty.read_just_before),
        stores.two_who_change_a_ring_at_once,
        "numbers",
    ),
    Defect(
        "a lost answer taken for a conflict",
        "cas numbers",
        instead(NumberWay, "replace", faulty.not_read_back),
        stores.answers_that_are_lost,
        "numbers",
    ),
    Defect(
        "a standby that lags is believed that nothing is to be destroyed",
        "cas numbers",
        instead(NumberWay, "_erase", faulty.destroyed_if_seen),
        stores.a_key_revoked_as_soon_as_it_was_made,
        "numbers",
    ),
    Defect(
        "soft-deleted instead of destroyed",
        "cas numbers",
        instead(NumberStore, "destroy", faulty.only_hidden),
        time.rotations_as_tight_as_can_be,
        "numbers",
    ),
    Defect(
        "a put that stood still between its calls goes on",
        "cas numbers",
        _EVER,
        stores.a_put_long_after_its_end,
        "numbers",
    ),
)

VOIDS: tuple[Defect, ...] = (
    Defect(
        "the newest entry counts, whatever its writer expected",
        "void versions",
        instead(VoidWay, "walk", faulty.newest_counts),
        stores.two_who_change_a_ring_at_once,
        "voids",
    ),
    Defect(
        "a write is believed without looking which number it got",
        "void versions",
        instead(VoidWay, "add", faulty.believed),
        stores.an_order_in_the_midst_of_a_promotion,
        "voids",
    ),
    Defect(
        "a slot used again before it is empty",
        "void versions",
        instead(VoidWay, "locator", faulty.any_slot),
        time.rotations_as_tight_as_can_be,
        "voids",
    ),
    Defect(
        "written over once, with nineteen older entries left",
        "void versions",
        instead(VoidWay, "_write_over", faulty.written_over_once),
        time.rotations_as_tight_as_can_be,
        "voids",
    ),
    Defect(
        "destroying writes nothing where nothing is, and a late put comes",
        "void versions",
        lambda: together(_EVER, instead(VoidWay, "_write_over", faulty.nothing_where_nothing_is)),
        stores.a_put_long_after_its_end,
        "voids",
    ),
)

SWALLOWING: tuple[Defect, ...] = (
    Defect(
        "a store that spoils keys is hammered",
        "rule 3",
        instead(steps, "SELF_TEST_FAILED", Reason.CREATION_ABANDONED.value),
        stores.a_store_that_swallows_material,
    ),
)

MIRRORS: tuple[Defect, ...] = (
    Defect(
        "a mirror that is down is not waited for",
        "rule 2",
        wrong.mirrors_left_out,
        stores.a_mirror_that_is_down,
    ),
)

REFUSALS: tuple[Defect, ...] = (
    Defect(
        "what cannot be destroyed ends all rotation",
        "promise: the other half",
        instead(steps, "_stuck", lambda *_: None),
        stores.a_store_that_lets_nobody_destroy,
    ),
    Defect(
        "what was seen is lost when there is no place for a new key",
        "promise: the other half",
        instead(steps, "_stuck", lambda *_: None),
        stores.slots_that_run_out,
    ),
)

STORES = (*EMERGENCIES, *SWALLOWING, *MIRRORS, *LABELS, *NUMBERS, *VOIDS, *REFUSALS)
