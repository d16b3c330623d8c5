"""One row for each reason of `next_step`, and the dates that `next_deadline` names.

A row tells a situation and what follows from it. The set of reasons covered is the enumeration itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.algorithms import kind_of
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.plan import next_deadline, next_step, waiting_for
from rotator.policy import RotationPolicy, Standby
from rotator.ring import ADOPTION, Entry, Key, KeyRing, Order, Phase, Protected
from rotator.step import Do, Reason, Step
from rotator.windows import Opening, Windows, jitter

NOW = datetime(2030, 6, 1, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
KIND, OTHER = kind_of("RS256", 2048), kind_of("RS512", 2048)
POLICY = RotationPolicy(KIND, token_ttl=HOUR, signer_lag=10 * MINUTE)
JUST_IN_TIME = replace(POLICY, standby=Standby.JUST_IN_TIME)
GRACE, PROPAGATION = POLICY.grace_wait, POLICY.propagation_wait
JWKS, SIGNING = "file:jwks", "files:signing"
IN_THE_MORNING = replace(POLICY, windows=Windows((Opening(tuple(range(7)), 8 * 60, 10 * 60),)))
OWN_MOMENT = jitter("orders", 2 * HOUR - POLICY.write_window)
MORNING = NOW + 8 * HOUR + OWN_MOMENT


def key(kid: str, phase: Phase, **fields: object) -> Key:
    """Return a key with the dates that its phase needs, all of them long ago."""
    long_ago = NOW - 10 * DAY
    made = Key(
        kid,
        KIND.algorithm,
        KIND.size,
        phase,
        f"at-{kid}",
        long_ago,
        public={"kty": "RSA", "n": f"n-{kid}", "e": "AQAB"},
        pending_at=long_ago,
    )
    dates: dict[Phase, dict[str, object]] = {
        Phase.PENDING: {"announced": {JWKS: long_ago}},
        Phase.ACTIVE: {"activated_at": long_ago},
        Phase.RETIRING: {"retiring_at": long_ago, "superseded_at": long_ago},
        Phase.RETIRED: {"ended_at": long_ago},
        Phase.REVOKED: {"ended_at": long_ago},
        Phase.DISCARDED: {"ended_at": long_ago},
    }
    return replace(made, **{**dates.get(phase, {}), **fields})  # type: ignore[arg-type]


def ring(*keys: Key, **fields: object) -> KeyRing:
    """Return a ring of these keys."""
    return replace(KeyRing("orders", revision=7, keys=keys), **fields)  # type: ignore[arg-type]


def seen(*kids: str, held: str = "now", silent: tuple[str, ...] = (), **fields: object) -> Observed:
    """Return a look in which the JWKS shows `kids` and the signing target holds `held`."""
    sightings = {
        JWKS: Sighting(DocumentKind.JWKS, answered=True, filled=True, ours=True, kids=kids),
        SIGNING: Sighting(
            DocumentKind.SIGNING, answered=True, filled=True, ours=True, kids=(held,)
        ),
    }
    for name in silent:
        sightings[name] = Sighting(sightings[name].kind, answered=False, error="no answer")
    return replace(Observed(sightings), **fields)  # type: ignore[arg-type]


ACTIVE = key("now", Phase.ACTIVE)
DUE = key("now", Phase.ACTIVE, activated_at=NOW - 91 * DAY)
NEXT = key("next", Phase.PENDING)
OLD = key("old", Phase.RETIRING)
BOTH = seen("now", "next")


@dataclass(frozen=True, slots=True)
class Row:
    """A situation, and the step that follows; `due_at` is asserted where it is given."""

    reason: Reason
    do: Do
    ring: KeyRing
    observed: Observed
    kid: str = ""
    policy: RotationPolicy = POLICY
    blocked: bool = False
    due_at: datetime | None = None
    told: str = ""


ROWS = (
    Row(Reason.FIRST_KEY, Do.CREATE, ring(), seen()),
    Row(Reason.NO_STANDBY, Do.CREATE, ring(ACTIVE), seen("now")),
    Row(
        Reason.STANDBY_DUE,
        Do.CREATE,
        ring(DUE),
        seen("now"),
        policy=JUST_IN_TIME,
        due_at=NOW - DAY - JUST_IN_TIME.creation_lead,
    ),
    Row(
        Reason.KIND_CHANGED,
        Do.CREATE,
        ring(ACTIVE),
        seen("now"),
        policy=replace(POLICY, kind=OTHER),
    ),
    Row(
        Reason.KIND_CHANGED,
        Do.PROMOTE,
        ring(ACTIVE, replace(NEXT, algorithm="RS512")),
        BOTH,
        "next",
        policy=replace(POLICY, kind=OTHER),
    ),
    Row(
        Reason.CREATION_ABANDONED,
        Do.TAKE_OVER,
        ring(ACTIVE, key("new", Phase.CREATING)),
        seen("now", creating_idle={"new": POLICY.create_timeout}),
        "new",
    ),
    Row(
        Reason.FIRST_ANNOUNCED,
        Do.PROMOTE,
        ring(key("next", Phase.PENDING, announced={JWKS: NOW})),
        seen("next"),
        "next",
    ),
    Row(Reason.ROTATION_DUE, Do.PROMOTE, ring(DUE, NEXT), BOTH, "next", due_at=NOW - DAY),
    Row(
        Reason.ORDERED,
        Do.PROMOTE,
        ring(ACTIVE, NEXT, promote=Order(NOW - HOUR, replaces="now")),
        BOTH,
        "next",
        due_at=NOW - HOUR,
    ),
    Row(
        Reason.REVOCATION,
        Do.PROMOTE,
        ring(
            ACTIVE,
            NEXT,
            promote=Order(NOW - HOUR, replaces="now", urgent=True),
            hold=Order(NOW - DAY),
        ),
        BOTH,
        "next",
    ),
    Row(
        Reason.GRACE_PASSED,
        Do.RETIRE,
        ring(ACTIVE, replace(OLD, superseded_at=NOW - GRACE)),
        seen("now", "old"),
        "old",
        due_at=NOW,
    ),
    Row(
        Reason.KIND_UNWANTED,
        Do.DISCARD,
        ring(ACTIVE, replace(NEXT, algorithm="RS512")),
        BOTH,
        "next",
    ),
    Row(Reason.ENDED, Do.DESTROY, ring(ACTIVE, key("old", Phase.RETIRED)), seen("now"), "old"),
    Row(
        Reason.CLOCK_SUSPICIOUS,
        Do.WAIT,
        ring(DUE, NEXT, OLD),
        replace(BOTH, suspicious="it leapt"),
        blocked=True,
        told="it leapt",
    ),
    Row(
        Reason.ADOPTING,
        Do.WAIT,
        ring(replace(key("live", Phase.CREATING), reason=ADOPTION)),
        seen(creating_idle={"live": 2 * POLICY.create_timeout}),
        "live",
        blocked=True,
        told="not finished",
    ),
    Row(
        Reason.CREATED_ELSEWHERE,
        Do.WAIT,
        ring(key("new", Phase.CREATING)),
        seen(creating_idle={"new": timedelta(seconds=10)}),
        "new",
        due_at=NOW + POLICY.create_timeout - timedelta(seconds=10),
    ),
    Row(
        Reason.DISCARD_BACKOFF,
        Do.WAIT,
        ring(ACTIVE, discards=3, discarded_at=NOW - MINUTE),
        seen("now"),
        blocked=True,
        due_at=NOW + 3 * MINUTE,
    ),
    Row(
        Reason.UNDESTROYED,
        Do.WAIT,
        ring(
            ACTIVE,
            *(key(f"e{n}", Phase.DISCARDED, destroy_after=NOW + n * MINUTE) for n in range(1, 7)),
        ),
        seen("now"),
        blocked=True,
    ),
    Row(
        Reason.FULL,
        Do.WAIT,
        ring(ACTIVE, *(replace(OLD, kid=f"o{n}", superseded_at=NOW) for n in range(3))),
        seen("now"),
        policy=replace(POLICY, max_keys=5),
        blocked=True,
        told="5 are allowed",
    ),
    Row(
        Reason.HELD,
        Do.WAIT,
        ring(DUE, NEXT, hold=Order(NOW - DAY, "audit")),
        BOTH,
        "next",
        told="audit",
    ),
    Row(
        Reason.KIND_PACED,
        Do.WAIT,
        ring(ACTIVE, kind_changed_at=NOW),
        seen("now"),
        policy=replace(POLICY, kind=OTHER),
        due_at=NOW + PROPAGATION,
    ),
    Row(
        Reason.NOT_ANNOUNCED,
        Do.WAIT,
        ring(DUE, replace(NEXT, announced={})),
        seen("now"),
        "next",
        blocked=True,
        told=JWKS,
    ),
    Row(
        Reason.PROPAGATING,
        Do.WAIT,
        ring(DUE, replace(NEXT, announced={JWKS: NOW - HOUR})),
        BOTH,
        "next",
        blocked=True,
        due_at=NOW - HOUR + PROPAGATION,
    ),
    Row(
        Reason.NO_ANSWER,
        Do.WAIT,
        ring(DUE, NEXT),
        seen("now", "next", silent=(JWKS,)),
        "next",
        blocked=True,
        told=JWKS,
    ),
    Row(
        Reason.NOT_DUE,
        Do.WAIT,
        ring(ACTIVE, NEXT),
        BOTH,
        "next",
        due_at=NOW + 80 * DAY,
    ),
    Row(
        Reason.WINDOW_CLOSED,
        Do.WAIT,
        ring(replace(DUE, activated_at=NOW - 90 * DAY), NEXT),
        BOTH,
        "next",
        policy=IN_THE_MORNING,
        due_at=MORNING,
        told="due since 2030-06-01T00:00:00Z",
    ),
    Row(
        Reason.NOT_SUPERSEDED,
        Do.WAIT,
        ring(ACTIVE, NEXT, replace(OLD, superseded_at=None)),
        seen("now", "next", "old", held="old"),
        "old",
        blocked=True,
        told=SIGNING,
    ),
    Row(
        Reason.IN_GRACE,
        Do.WAIT,
        ring(ACTIVE, NEXT, replace(OLD, superseded_at=NOW)),
        seen("now", "next", "old"),
        "old",
        due_at=NOW + GRACE,
    ),
    Row(
        Reason.STILL_HELD,
        Do.WAIT,
        ring(ACTIVE, NEXT, OLD, holders={"files:gone": ("old",)}),
        seen("now", "next", "old"),
        "old",
        blocked=True,
        told="files:gone",
    ),
    Row(
        Reason.PINNED,
        Do.WAIT,
        ring(ACTIVE, NEXT, OLD, pins={"old": Order(NOW)}),
        seen("now", "next", "old"),
        "old",
        told="unpin",
    ),
    Row(
        Reason.STALLED_WRITER,
        Do.WAIT,
        ring(ACTIVE, NEXT, key("bad", Phase.DISCARDED, destroy_after=NOW + MINUTE)),
        BOTH,
        "bad",
        due_at=NOW + MINUTE,
    ),
)


def _follows(row: Row) -> Step:
    """Return the step, or for a wait the one of the row's reason: the most telling may be another."""
    step = next_step(row.ring, row.policy, NOW, row.observed)
    if row.do is not Do.WAIT:
        return step
    assert step.do is Do.WAIT, step
    waits = waiting_for(row.ring, row.policy, NOW, row.observed)
    assert step in waits
    return next(wait for wait in waits if wait.reason is row.reason)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.do}-{row.reason}")
def test_each_reason(row: Row) -> None:
    """The situation of a row leads to its step."""
    step = _follows(row)
    assert (step.do, step.reason, step.kid) == (row.do, row.reason, row.kid)
    assert step.blocked is row.blocked
    assert row.told in step.detail
    if row.due_at is not None:
        assert step.due_at == row.due_at


def test_every_reason_has_a_row() -> None:
    """No reason is left out."""
    assert {row.reason for row in ROWS} == set(Reason)


def test_everything_that_can_be_done_has_a_row() -> None:
    """No step is left out."""
    assert {row.do for row in ROWS} == set(Do)


@pytest.mark.parametrize(
    ("what", "at", "expected"),
    [
        ("propagation", PROPAGATION - timedelta(microseconds=1), Do.WAIT),
        ("propagation", PROPAGATION, Do.PROMOTE),
        ("grace", GRACE - timedelta(microseconds=1), Do.WAIT),
        ("grace", GRACE, Do.RETIRE),
    ],
)
def test_the_edges(what: str, at: timedelta, expected: Do) -> None:
    """Not a microsecond too early, and not one too late."""
    if what == "propagation":
        there, observed = ring(DUE, replace(NEXT, announced={JWKS: NOW - at})), BOTH
    else:
        there = ring(ACTIVE, NEXT, replace(OLD, superseded_at=NOW - at))
        observed = seen("now", "next", "old")
    assert next_step(there, POLICY, NOW, observed).do is expected


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (seen("now"), "the JWKS is without it in this very look"),
        (seen("now", "next", silent=(JWKS,)), "the JWKS does not answer"),
    ],
)
def test_promotion_looks_once_more(observed: Observed, why: str) -> None:
    """However long ago its term began."""
    assert next_step(ring(DUE, NEXT), POLICY, NOW, observed).do is Do.WAIT, why


@pytest.mark.parametrize(
    "observed",
    [
        seen("now", "next", "old", held="old"),
        seen("now", "next", "old", silent=(SIGNING,)),
    ],
)
def test_retiring_looks_once_more(observed: Observed) -> None:
    """However long ago it was superseded."""
    there = ring(ACTIVE, NEXT, OLD, holders={SIGNING: ("old",)})
    assert next_step(there, POLICY, NOW, observed).do is Do.WAIT


def test_a_suspicious_clock_destroys_revoked_keys_and_nothing_else() -> None:
    """Nothing delays the end of a revoked key (rule 6)."""
    suspicious = replace(BOTH, suspicious="it leapt")
    revoked, retired = key("bad", Phase.REVOKED), key("old", Phase.RETIRED)
    step = next_step(ring(DUE, NEXT, revoked, retired), POLICY, NOW, suspicious)
    assert (step.do, step.kid) == (Do.DESTROY, "bad")
    step = next_step(ring(DUE, NEXT, retired), POLICY, NOW, suspicious)
    assert step.reason is Reason.CLOCK_SUSPICIOUS


def test_an_order_for_another_key_is_none() -> None:
    """An order names the kid it replaces; for a kid no longer current it is done already (rule 7)."""
    done = ring(ACTIVE, NEXT, promote=Order(NOW, replaces="before"))
    assert next_step(done, POLICY, NOW, BOTH).reason is Reason.NOT_DUE


def test_a_first_key_waits_where_verifiers_know_others() -> None:
    """Keys taken over, or a first key that was discarded: somebody has cached those."""
    fresh = key("next", Phase.PENDING, announced={JWKS: NOW - HOUR})
    for other in (OLD, key("lost", Phase.DISCARDED, destroy_after=NOW + DAY)):
        waits = waiting_for(ring(fresh, other), POLICY, NOW, seen("next", "old"))
        assert Reason.PROPAGATING in [wait.reason for wait in waits]
        assert Do.PROMOTE not in [wait.do for wait in waits]


DUE_NOW = key("now", Phase.ACTIVE, activated_at=NOW - 90 * DAY)


def test_a_change_window_opens_for_each_key_set_at_its_own_moment() -> None:
    """Not a microsecond too early, and until just before the end."""
    there, instant = ring(DUE_NOW, NEXT), timedelta(microseconds=1)
    assert timedelta(0) < OWN_MOMENT < HOUR
    end = NOW + 10 * HOUR - IN_THE_MORNING.write_window
    for at, expected in (
        (MORNING - instant, Do.WAIT),
        (MORNING, Do.PROMOTE),
        (end - instant, Do.PROMOTE),
        (end, Do.WAIT),
    ):
        assert next_step(there, IN_THE_MORNING, at, BOTH).do is expected, at


def test_a_key_that_is_due_in_a_window_is_promoted_at_once() -> None:
    """Its date is its own already."""
    at = NOW + 8 * HOUR + MINUTE
    there = ring(replace(DUE_NOW, activated_at=at - 90 * DAY), NEXT)
    step = next_step(there, IN_THE_MORNING, at, BOTH)
    assert (step.do, step.due_at) == (Do.PROMOTE, at)


def test_overdue_is_what_missed_a_window() -> None:
    """To wait for the first is as it should be; afterwards it says that a window is to blame."""
    there = ring(DUE_NOW, NEXT)
    step = next_step(there, IN_THE_MORNING, NOW + 7 * HOUR, BOTH)
    assert (step.reason, step.blocked) == (Reason.WINDOW_CLOSED, False)
    step = next_step(there, IN_THE_MORNING, NOW + 11 * HOUR, BOTH)
    assert (step.reason, step.blocked, step.due_at) == (
        Reason.WINDOW_CLOSED,
        True,
        MORNING + DAY,
    )
    assert "a change window was missed" in step.detail


def test_nothing_is_late_before_its_window() -> None:
    """What is still to be announced, or propagates, is overdue from its window on."""
    unseen = ring(DUE_NOW, replace(NEXT, announced={}))
    on_its_way = ring(DUE_NOW, replace(NEXT, announced={JWKS: NOW}))
    for there, observed in ((unseen, seen("now")), (on_its_way, BOTH)):
        assert not next_step(there, IN_THE_MORNING, NOW + 7 * HOUR, observed).blocked
        assert next_step(there, IN_THE_MORNING, NOW + 9 * HOUR, observed).blocked
    step = next_step(on_its_way, IN_THE_MORNING, NOW + HOUR, BOTH)
    assert (step.reason, step.due_at) == (Reason.PROPAGATING, MORNING + DAY)
    assert "its change window opens later" in step.detail


@pytest.mark.parametrize(
    "order",
    [
        Order(NOW - HOUR, replaces="now", urgent=True),
        Order(NOW - HOUR, replaces="now", ignore_windows=True),
    ],
    ids=["a revocation", "--ignore-windows"],
)
def test_what_no_window_holds_up(order: Order) -> None:
    """An emergency never; an order when it says so."""
    there = ring(ACTIVE, NEXT, promote=order)
    assert next_step(there, IN_THE_MORNING, NOW, BOTH).do is Do.PROMOTE


def test_an_order_and_a_new_kind_wait_for_a_window() -> None:
    """Both are planned."""
    ordered = ring(ACTIVE, NEXT, promote=Order(NOW - HOUR, replaces="now"))
    other = ring(ACTIVE, replace(NEXT, algorithm="RS512"))
    for there, policy in (
        (ordered, IN_THE_MORNING),
        (other, replace(IN_THE_MORNING, kind=OTHER)),
    ):
        step = next_step(there, policy, NOW, BOTH)
        assert (step.reason, step.due_at) == (Reason.WINDOW_CLOSED, MORNING)
    # An order for a key that is current no more exempts nothing.
    stale = Order(NOW - HOUR, replaces="before", ignore_windows=True)
    step = next_step(ring(DUE_NOW, NEXT, promote=stale), IN_THE_MORNING, NOW, BOTH)
    assert step.reason is Reason.WINDOW_CLOSED


def test_the_first_key_waits_for_no_window() -> None:
    """Without it nobody can sign."""
    there = ring(key("next", Phase.PENDING, announced={JWKS: NOW}))
    assert next_step(there, IN_THE_MORNING, NOW, seen("next")).do is Do.PROMOTE


def test_windows_hold_up_nothing_but_promotions() -> None:
    """Keys are made, announced, retired and destroyed at any time."""
    for row in ROWS:
        if row.do not in (Do.WAIT, Do.PROMOTE):
            policy = replace(row.policy, windows=IN_THE_MORNING.windows)
            step = next_step(row.ring, policy, NOW, row.observed)
            assert (step.do, step.reason) == (row.do, row.reason)


DEADLINES = (
    ("nothing", ring(), POLICY, None),
    (
        "an active key alone",
        ring(ACTIVE),
        JUST_IN_TIME,
        NOW + 80 * DAY - JUST_IN_TIME.creation_lead,
    ),
    ("a next key that waits for its date", ring(ACTIVE, NEXT), POLICY, NOW + 80 * DAY),
    (
        "a next key that propagates",
        ring(DUE, replace(NEXT, announced={JWKS: NOW})),
        POLICY,
        NOW + PROPAGATION,
    ),
    (
        "a next key that waits for a window",
        ring(DUE_NOW, NEXT),
        IN_THE_MORNING,
        MORNING,
    ),
    (
        "a next key that waits for its date, and then for a window",
        ring(replace(ACTIVE, activated_at=NOW), NEXT),
        IN_THE_MORNING,
        MORNING + 90 * DAY,
    ),
    (
        "an ordered one",
        ring(ACTIVE, replace(NEXT, announced={JWKS: NOW}), promote=Order(NOW, replaces="now")),
        POLICY,
        NOW + PROPAGATION,
    ),
    (
        "a key in its grace",
        ring(ACTIVE, NEXT, replace(OLD, superseded_at=NOW)),
        POLICY,
        NOW + GRACE,
    ),
    (
        "a pinned one",
        ring(ACTIVE, NEXT, replace(OLD, superseded_at=NOW), pins={"old": Order(NOW)}),
        POLICY,
        NOW + 80 * DAY,
    ),
    (
        "a stalled writer",
        ring(ACTIVE, NEXT, key("bad", Phase.DISCARDED, destroy_after=NOW + MINUTE)),
        POLICY,
        NOW + MINUTE,
    ),
    (
        "a duration that is being lowered",
        ring(ACTIVE, NEXT, protection={"token_ttl": Protected(2 * HOUR, HOUR, NOW)}),
        POLICY,
        NOW + 2 * HOUR,
    ),
    (
        "a cache lifetime that was observed, and verifiers after it",
        ring(ACTIVE, NEXT, protection={"observed_cache": Protected(48 * HOUR, HOUR, NOW)}),
        POLICY,
        NOW + 48 * HOUR + POLICY.verifier_cache + POLICY.clock_skew + POLICY.resync,
    ),
)


@pytest.mark.parametrize(
    ("there", "policy", "expected"),
    [row[1:] for row in DEADLINES],
    ids=[row[0] for row in DEADLINES],
)
def test_the_next_deadline(
    there: KeyRing, policy: RotationPolicy, expected: datetime | None
) -> None:
    """The ring wants looking at again when the clock alone says so."""
    assert next_deadline(there, policy) == expected


@pytest.mark.parametrize(
    ("event", "kid", "waits"),
    [
        ("key.discarded", "before", False),
        ("key.creating", "before", False),
        ("order.release", "", False),
        ("key.created", "next", False),
        ("key.created", "before", True),
        ("key.adopted", "before", True),
        ("key.taken_over", "before", True),
        ("order.restore", "", True),
    ],
)
def test_a_first_key_waits_where_verifiers_may_know_another(
    event: str, kid: str, waits: bool
) -> None:
    """Nothing of the earlier key is left in the ring; what happened tells (decision 0006)."""
    first = key("next", Phase.PENDING, announced={JWKS: NOW})
    history = (Entry(NOW - HOUR, event, kid), Entry(NOW - HOUR, "key.revoked", kid))
    step = next_step(ring(first, history=history), POLICY, NOW, seen("next"))
    expected = (Do.WAIT, Reason.PROPAGATING) if waits else (Do.PROMOTE, Reason.FIRST_ANNOUNCED)
    assert (step.do, step.reason) == expected
    if waits:
        assert step.due_at == NOW + PROPAGATION
