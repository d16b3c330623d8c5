"""What an operator asks for: orders, revocation, rollback, recovery, each on a real tick over memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator import operations
from rotator.algorithms import kind_of
from rotator.errors import (
    ClockSuspicious,
    RotatorError,
    StoreCorrupt,
    StoreUnavailable,
    TargetFailing,
    UsageError,
)
from rotator.observed import DocumentKind
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile.settle import Settled, settle
from rotator.reconcile.site import Site
from rotator.rehearsal.clocks import Host, HostClock, TrueTime
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.toykeys import ToyKeys
from rotator.rehearsal.walls import Fault, MemoryStore, MemoryTarget, Place
from rotator.ring import KeyRing, Phase, Protected
from rotator.ring_document import read_ring, write_bounded
from rotator.stores import Document
from rotator.windows import Freeze, Windows

DAY = timedelta(days=1)
POLICY = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=5)
)


class Bench:
    """One key set over memory: a store, a JWKS, two signing targets, one host."""

    def __init__(self, policy: RotationPolicy = POLICY) -> None:
        self.true = TrueTime()
        self.host = Host("host", self.true)
        self.gate = Gate()
        self.store = MemoryStore(self.true)
        announcing = DocumentKind.VERIFICATION if policy.kind.symmetric else DocumentKind.JWKS
        self.jwks = Place("jwks", announcing)
        self.signing = Place("signing", DocumentKind.SIGNING)
        self.mirror = Place("mirror", DocumentKind.SIGNING)
        self.keys = ToyKeys()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.site = self.process(policy)
        self.policy = policy

    def process(self, policy: RotationPolicy) -> Site:
        """Return the key set as a new process sees it."""
        login = self.store.login(self.gate)
        places = (self.jwks, self.signing, self.mirror)
        return Site(
            "web",
            policy,
            login.rings("web"),
            login.material("web"),
            tuple(MemoryTarget(place, self.gate) for place in places),
            self.keys,
            HostClock(self.host, self.gate),
            self.emit,
        )

    def emit(self, level: str, event: str, **fields: Any) -> None:
        """Keep an event."""
        del level
        self.events.append((event, fields))

    def settle(self) -> Settled:
        """Tick until nothing changes."""
        return settle(self.site, self.true.advance)

    def after(self, duration: timedelta) -> KeyRing:
        """Let time pass in days, ticking at each, and return the ring."""
        while duration > timedelta(0):
            self.true.advance(min(duration, DAY))
            duration -= DAY
            self.settle()
        return self.ring

    @property
    def ring(self) -> KeyRing:
        """The ring in the store."""
        document = self.store.shelf("web").ring
        assert document is not None
        return read_ring(document, key_set="web")

    def kid(self, phase: Phase) -> str:
        """The kid of the only key in a phase."""
        (key,) = self.ring.in_phase(phase)
        return key.kid

    @property
    def material(self) -> set[str]:
        """The kids whose material is in the store."""
        return {kid for kid, _ in self.store.shelf("web").material.values()}

    @property
    def published(self) -> list[str]:
        """The kids in the JWKS."""
        assert self.jwks.document is not None
        return [jwk["kid"] for jwk in json.loads(self.jwks.document.body)["keys"]]

    @property
    def signed_with(self) -> str:
        """The kid that signers hold."""
        assert self.signing.document is not None
        return str(json.loads(self.signing.document.body)["kid"])


@pytest.fixture
def bench() -> Bench:
    """A key set whose next key has long propagated."""
    made = Bench()
    made.settle()
    made.after(2 * DAY)
    return made


def rotated() -> Bench:
    """A key set with a current, a next and a previous key."""
    made = Bench()
    made.settle()
    made.after(2 * DAY)
    operations.order_promotion(made.site, None, "")
    made.settle()
    return made


def phases(ring: KeyRing) -> dict[str, str]:
    """Return the phase of every key."""
    return {key.kid: key.phase.value for key in ring.keys}


def test_a_first_run_leaves_one_active_and_one_pending_key() -> None:
    """The first key signs as soon as it is announced; the next one is announced at once."""
    bench = Bench()
    bench.settle()
    assert sorted(phases(bench.ring).values()) == ["active", "pending"]
    assert bench.published == [bench.kid(Phase.ACTIVE), bench.kid(Phase.PENDING)]
    assert bench.signed_with == bench.kid(Phase.ACTIVE)
    assert bench.material == set(bench.published)


def test_a_year_of_rotations(bench: Bench) -> None:
    """Every ninety days, each key through its whole life; nothing is left behind."""
    bench.after(365 * DAY)
    promoted = [fields["kid"] for event, fields in bench.events if event == "key.promoted"]
    destroyed = [fields["kid"] for event, fields in bench.events if event == "key.destroyed"]
    assert len(promoted) == 5
    assert destroyed == promoted[:4]
    assert bench.material == set(bench.published)


def test_hmac_lives_the_same_life() -> None:
    """Its verifiers read the verification document."""
    bench = Bench(RotationPolicy(kind_of("HS256"), timedelta(hours=1), timedelta(minutes=5)))
    bench.settle()
    bench.after(92 * DAY)
    assert len([event for event, _ in bench.events if event == "key.promoted"]) == 2
    assert bench.published[0] == bench.signed_with


def test_hold_stops_the_schedule_and_release_catches_up(bench: Bench) -> None:
    """Nothing is created, promoted or retired; what is missing at a target is put back all the same."""
    before = phases(bench.ring)
    operations.hold(bench.site, "audit")
    bench.after(100 * DAY)
    assert phases(bench.ring) == before
    bench.signing.put(None)
    bench.settle()
    assert bench.signed_with == bench.kid(Phase.ACTIVE)
    operations.release(bench.site)
    bench.settle()
    assert phases(bench.ring) != before


def test_release_without_a_hold_is_refused(bench: Bench) -> None:
    """A refusal, not a silent success."""
    with pytest.raises(UsageError, match="not held"):
        operations.release(bench.site)


def test_a_pin_keeps_a_key_beyond_its_grace() -> None:
    """Until unpin; then it retires at once, for its grace has long passed."""
    bench = rotated()
    previous = bench.kid(Phase.RETIRING)
    operations.pin(bench.site, previous, "partner has a copy")
    bench.after(30 * DAY)
    assert previous in bench.published
    assert previous in bench.material
    operations.unpin(bench.site, previous)
    bench.settle()
    assert previous not in bench.published
    assert previous not in bench.material


def test_pins_leave_a_place_to_rotate_in() -> None:
    """A pin that would fill the JWKS is refused (rule 8)."""
    bench = Bench(
        RotationPolicy(kind_of("ES256"), timedelta(hours=1), timedelta(minutes=5), max_keys=5)
    )
    bench.settle()
    pinned = []
    for _ in range(2):
        bench.after(2 * DAY)
        pinned.append(bench.kid(Phase.ACTIVE))
        operations.order_promotion(bench.site, None, "")
        bench.settle()
        operations.pin(bench.site, pinned[-1], "")
    bench.after(2 * DAY)
    third = bench.kid(Phase.ACTIVE)
    operations.order_promotion(bench.site, None, "")
    bench.settle()
    with pytest.raises(UsageError, match="no place to rotate in"):
        operations.pin(bench.site, third, "")


def test_promote_now_names_the_key_it_replaces(bench: Bench) -> None:
    """Asked twice it is done once."""
    first = bench.kid(Phase.ACTIVE)
    operations.order_promotion(bench.site, first, "")
    bench.settle()
    second = bench.kid(Phase.ACTIVE)
    assert second != first
    done = operations.order_promotion(bench.site, first, "")
    assert done.outcome is None
    assert "nothing to do" in done.statement[0]
    bench.settle()
    assert bench.kid(Phase.ACTIVE) == second


def test_promote_now_waits_for_propagation() -> None:
    """An order is no leave to sign with a key that verifiers do not know."""
    bench = Bench()
    bench.settle()
    first = bench.kid(Phase.ACTIVE)
    operations.order_promotion(bench.site, None, "")
    bench.settle()
    assert bench.kid(Phase.ACTIVE) == first
    bench.after(DAY + timedelta(hours=1))
    assert bench.kid(Phase.ACTIVE) != first


def test_promote_now_waits_for_a_change_window_unless_told_otherwise() -> None:
    """What was ordered before may be told so later; asked once more, nothing changes."""
    frozen = Windows(freezes=(Freeze((1, 1), (12, 31)),))
    bench = Bench(replace(POLICY, windows=frozen))
    bench.settle()  # the first key waits for no window
    bench.after(2 * DAY)
    first = bench.kid(Phase.ACTIVE)
    done = operations.order_promotion(bench.site, None, "")
    assert "in its next change window" in done.statement[0]
    bench.settle()
    assert bench.kid(Phase.ACTIVE) == first
    again = operations.order_promotion(bench.site, None, "")
    assert "already" in again.statement[0]
    done = operations.order_promotion(bench.site, None, "", ignore_windows=True)
    assert "whatever its change windows" in done.statement[0]
    bench.settle()
    assert bench.kid(Phase.ACTIVE) != first


def test_unknown_kids_are_refused(bench: Bench) -> None:
    """With the kids that there are."""
    asks: list[Callable[[], operations.Done]] = [
        lambda: operations.revoke(bench.site, ["nope"], ""),
        lambda: operations.pin(bench.site, "nope", ""),
        lambda: operations.order_promotion(bench.site, "nope", ""),
    ]
    for ask in asks:
        with pytest.raises(UsageError, match="nope") as refusal:
            ask()
        assert bench.kid(Phase.ACTIVE) in refusal.value.hint
    with pytest.raises(UsageError):
        operations.unpin(bench.site, bench.kid(Phase.ACTIVE))


def test_revoking_the_active_key_promotes_the_standby(bench: Bench) -> None:
    """The standby's propagation has passed; a fresh key follows, for caches that only know new kids."""
    bad, standby = bench.kid(Phase.ACTIVE), bench.kid(Phase.PENDING)
    operations.revoke(bench.site, [bad], "leaked")
    bench.settle()
    assert bench.kid(Phase.ACTIVE) == standby == bench.signed_with
    assert bad not in bench.published
    assert bad not in bench.material
    fresh = bench.kid(Phase.PENDING)
    bench.after(DAY + timedelta(hours=1))
    assert bench.kid(Phase.ACTIVE) == fresh


def test_a_young_standby_yields_to_the_previous_key() -> None:
    """Verifiers know the previous key; they may not know the standby yet."""
    bench = rotated()
    previous, current = bench.kid(Phase.RETIRING), bench.kid(Phase.ACTIVE)
    operations.revoke(bench.site, [current], "leaked")
    bench.settle()
    assert bench.kid(Phase.ACTIVE) == previous == bench.signed_with
    assert previous in bench.published
    assert current not in bench.material


def test_a_standby_is_better_than_nothing() -> None:
    """With neither a ripe standby nor a previous key, the unripe one signs."""
    bench = Bench()
    bench.settle()
    bad, standby = bench.kid(Phase.ACTIVE), bench.kid(Phase.PENDING)
    operations.revoke(bench.site, [bad], "leaked")
    assert bench.kid(Phase.ACTIVE) == standby


def test_a_candidate_that_fails_its_self_test_is_passed_over(bench: Bench) -> None:
    """Then a new key is made, without the wait after discards."""
    bad, standby = bench.kid(Phase.ACTIVE), bench.kid(Phase.PENDING)
    shelf = bench.store.shelf("web").material
    for locator, (kid, _) in list(shelf.items()):
        if kid == standby:
            del shelf[locator]
    operations.revoke(bench.site, [bad], "leaked")
    assert bench.kid(Phase.ACTIVE) not in (bad, standby)
    assert bench.signed_with == bench.kid(Phase.ACTIVE)


def test_revoking_every_key_makes_a_new_one() -> None:
    """All named ones in one swap."""
    bench = rotated()
    kids = [key.kid for key in bench.ring.keys]
    assert len(kids) == 3
    operations.revoke(bench.site, kids, "leaked")
    bench.settle()
    assert not set(kids) & set(bench.published)
    assert not set(kids) & bench.material
    assert bench.signed_with == bench.kid(Phase.ACTIVE)


def test_the_successor_is_published_before_it_is_delivered_and_the_revoked_leaves_last(
    bench: Bench,
) -> None:
    """DESIGN's writing order of a revocation, seen from the targets."""
    bad = bench.kid(Phase.ACTIVE)
    order: list[str] = []
    bench.jwks.changed = lambda _place: order.append(
        "with" if bad in bench.published else "without"
    )
    bench.signing.changed = lambda _place: order.append("deliver")
    shelf = bench.store.shelf("web").material
    standby = bench.kid(Phase.PENDING)
    for locator, (kid, _) in list(shelf.items()):
        if kid == standby:
            del shelf[locator]
    operations.revoke(bench.site, [bad], "leaked")
    assert order == ["with", "deliver", "without"]


@pytest.mark.parametrize("obstacle", ["hold", "pin", "dead target", "suspicious clock"])
def test_nothing_delays_a_revocation(bench: Bench, obstacle: str) -> None:
    """No hold, pin, dead target, nor a suspicious clock, whose dates are the ring's latest."""
    bad = bench.kid(Phase.ACTIVE)
    latest = bench.ring.latest
    if obstacle == "hold":
        operations.hold(bench.site, "")
    elif obstacle == "pin":
        operations.pin(bench.site, bad, "")
    elif obstacle == "dead target":
        bench.mirror.fault = Fault.SILENT
    else:
        bench.host.offset = timedelta(days=-400)
    operations.revoke(bench.site, [bad], "leaked")
    bench.settle()
    assert bad not in bench.published
    assert bad not in bench.material
    assert bench.signed_with == bench.kid(Phase.ACTIVE) != bad
    if obstacle == "suspicious clock":
        assert bench.ring.latest == latest


def test_the_statement_of_a_revocation_says_what_breaks(bench: Bench) -> None:
    """And a dry run writes nothing."""
    before = bench.store.shelf("web").ring
    done = operations.revoke(bench.site, [bench.kid(Phase.ACTIVE)], "leaked", dry_run=True)
    text = "\n".join(done.statement)
    assert "stop verifying" in text
    assert bench.kid(Phase.PENDING) in text
    assert "7h5m" in text  # jwks_max_age + jwks_stale + verifier_cache
    assert bench.store.shelf("web").ring == before


def corrupt(bench: Bench) -> None:
    """Tear the ring."""
    document = bench.store.shelf("web").ring
    assert document is not None
    bench.store.put_back("web", document[:100])


def vanish(bench: Bench) -> None:
    """Lose the ring."""
    bench.store.put_back("web", None)


def go_stale(bench: Bench) -> None:
    """Put a ring back that is older than what is published."""
    old = bench.store.shelf("web").ring
    operations.order_promotion(bench.site, None, "")
    bench.settle()
    bench.store.put_back("web", old)


@pytest.mark.parametrize("disaster", [corrupt, vanish, go_stale])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_stopped_key_set_changes_nothing_and_an_emergency_ends_it(
    bench: Bench, disaster: Any, *, fresh: bool
) -> None:
    """Rule 4: nothing is minted, nothing is changed; `rotate --emergency` works all the same."""
    disaster(bench)
    site = bench.process(POLICY) if fresh else bench.site
    lying = (bench.store.shelf("web").ring, bench.jwks.document, bench.signing.document)
    with pytest.raises(StoreCorrupt) as stop:
        settle(site, bench.true.advance)
    assert "recover" in stop.value.hint
    assert lying == (bench.store.shelf("web").ring, bench.jwks.document, bench.signing.document)
    revision = bench.jwks.document.revision if bench.jwks.document else 0
    operations.emergency(site, "lost")
    settle(site, bench.true.advance)
    assert bench.ring.revision > (revision or 0)
    assert bench.signed_with == bench.kid(Phase.ACTIVE)
    assert bench.published[0] == bench.signed_with


@pytest.mark.parametrize("disaster", [corrupt, vanish, go_stale])
def test_a_backup_makes_a_stopped_key_set_go_on(bench: Bench, disaster: Any) -> None:
    """What signers hold is active, what else is published only verifies; the revision is above all seen."""
    backup = bench.store.shelf("web").ring
    assert backup is not None
    disaster(bench)
    signing, published = bench.signed_with, bench.published
    site = bench.process(POLICY)
    done = operations.restore(site, backup)
    assert done.outcome is not None
    assert bench.kid(Phase.ACTIVE) == signing == bench.signed_with
    retiring = {key.kid for key in bench.ring.in_phase(Phase.RETIRING)}
    assert retiring == set(published) - {signing}
    settle(site, bench.true.advance)
    assert set(published) <= set(bench.published)
    bench.site = site
    bench.after(200 * DAY)
    assert bench.material == set(bench.published)


def test_a_backup_makes_nothing_shorter_than_the_ring_in_place(bench: Bench) -> None:
    """A CDN that kept answers for ten days after the backup was taken: they are still there."""
    shelf = bench.store.shelf("web")
    backup = shelf.ring
    assert backup is not None
    cache = Protected(10 * DAY, ZERO, bench.true.now)
    long = {**bench.ring.protection, "observed_cache": cache}
    _, shelf.ring = write_bounded(replace(bench.ring, protection=long))
    operations.restore(bench.process(POLICY), backup)
    assert bench.ring.in_force(POLICY).propagation_wait >= 10 * DAY > POLICY.propagation_wait


def test_a_backup_without_the_key_that_signs_is_refused(bench: Bench) -> None:
    """The way left is named."""
    backup = bench.store.shelf("web").ring
    assert backup is not None
    bench.after(200 * DAY)
    vanish(bench)
    with pytest.raises(StoreCorrupt, match="signers hold") as refusal:
        operations.restore(bench.process(POLICY), backup)
    assert "--emergency" in refusal.value.hint
    assert bench.store.shelf("web").ring is None


def test_a_backup_needs_every_answer(bench: Bench) -> None:
    """Or the operator's word that a target is gone for good."""
    backup = bench.store.shelf("web").ring
    assert backup is not None
    vanish(bench)
    bench.mirror.fault = Fault.SILENT
    with pytest.raises(TargetFailing, match="mirror"):
        operations.restore(bench.process(POLICY), backup)
    operations.restore(bench.process(POLICY), backup, forget=("mirror",))
    assert bench.ring.active is not None


@pytest.mark.parametrize("document", [b"", b"{}", b'{"format":"rotator.ring","version":9}'])
def test_what_is_no_backup_is_refused(bench: Bench, document: bytes) -> None:
    """Nothing is changed."""
    before = bench.store.shelf("web").ring
    with pytest.raises(StoreCorrupt, match="the file given"):
        operations.restore(bench.site, document)
    assert bench.store.shelf("web").ring == before


def test_rollback_brings_the_previous_key_back_and_holds() -> None:
    """The other retires after release, once its full grace has passed (rule 9)."""
    bench = rotated()
    previous, current = bench.kid(Phase.RETIRING), bench.kid(Phase.ACTIVE)
    before = bench.ring.find(previous)
    operations.roll_back(bench.site, "bad build")
    bench.settle()
    back = bench.ring.active
    assert back is not None
    assert before is not None
    assert back.kid == previous == bench.signed_with
    assert (back.activated_at or before.created_at) > (before.activated_at or before.created_at)
    assert bench.ring.hold is not None
    bench.after(10 * DAY)
    assert current in bench.published
    operations.release(bench.site)
    bench.settle()
    assert current not in bench.published


def test_rollback_with_nothing_to_roll_back_to(bench: Bench) -> None:
    """A refusal that says what would be needed."""
    with pytest.raises(UsageError, match="nothing to roll back to"):
        operations.roll_back(bench.site, "")


@pytest.mark.parametrize(
    ("obstacle", "error"),
    [
        ("silent", TargetFailing),
        ("missing", TargetFailing),
        ("material", StoreCorrupt),
        ("clock", ClockSuspicious),
    ],
)
def test_rollback_is_refused_when_it_would_break(obstacle: str, error: type[RotatorError]) -> None:
    """Not served everywhere, its material gone, a suspicious clock: the current key stays."""
    bench = rotated()
    current = bench.kid(Phase.ACTIVE)
    if obstacle == "silent":
        bench.jwks.fault = Fault.SILENT
    elif obstacle == "missing":
        bench.jwks.put(None)
    elif obstacle == "clock":
        bench.host.offset = timedelta(days=-400)
    else:
        shelf = bench.store.shelf("web").material
        for locator, (kid, _) in list(shelf.items()):
            if kid == bench.kid(Phase.RETIRING):
                del shelf[locator]
    with pytest.raises(error):
        operations.roll_back(bench.site, "")
    assert bench.kid(Phase.ACTIVE) == current


def test_a_target_that_is_gone_holds_a_key_back_until_it_is_forgotten() -> None:
    """Rule 2: it counts as holding what it was last seen with."""
    bench = Bench()
    bench.settle()
    bench.after(2 * DAY)
    first = bench.kid(Phase.ACTIVE)
    bench.mirror.fault = Fault.SILENT
    bench.after(120 * DAY)
    assert first in bench.published
    with pytest.raises(UsageError, match="it knows"):
        operations.forget(bench.site, "nowhere")
    with pytest.raises(UsageError, match="answers"):
        operations.forget(bench.site, "signing")
    bench.site.targets = bench.site.targets[:2]
    bench.after(10 * DAY)
    assert first in bench.published
    operations.forget(bench.site, "mirror")
    bench.after(2 * DAY)
    assert first not in bench.published


FOREIGN = {"kty": "EC", "crv": "P-256", "x": "theirs", "y": "theirs", "alg": "ES256", "use": "sig"}


def test_a_foreign_document_is_left_alone_until_it_is_taken_over(bench: Bench) -> None:
    """Its kids stay published for a full grace, with the public half only."""
    body = json.dumps(
        {"keys": [{**FOREIGN, "kid": "theirs"}, {"kty": "oct", "kid": "s", "k": "x"}]}
    )
    foreign = Document(body.encode(), None, None)
    bench.jwks.put(foreign)
    outcome = bench.settle().outcome
    assert "take-over" in str(outcome.failures["jwks"])
    assert outcome.exit_code == 75
    assert bench.jwks.document is not None
    assert bench.jwks.document.body == foreign.body
    operations.take_over(bench.site, "jwks")
    bench.settle()
    assert "theirs" in bench.published
    assert bench.kid(Phase.ACTIVE) in bench.published
    assert "s" not in bench.published
    bench.after(3 * DAY)
    assert "theirs" not in bench.published


@pytest.mark.parametrize(
    ("target", "says"), [("jwks", "nothing to take over"), ("nope", "no target")]
)
def test_taking_over_what_is_ours_is_refused(bench: Bench, target: str, says: str) -> None:
    """There is nothing to do."""
    with pytest.raises(UsageError, match=says):
        operations.take_over(bench.site, target)


def test_the_clock_is_confirmed_after_a_leap(bench: Bench) -> None:
    """A clock years ahead with nobody to confirm it dates nothing, until the operator says it is right."""
    bench.true.advance(400 * DAY)
    stopped = settle(bench.process(POLICY), bench.true.advance).outcome
    assert "ahead" in stopped.step.detail
    assert stopped.exit_code == 75
    site = bench.process(POLICY)
    operations.confirm_clock(site)
    assert settle(site, bench.true.advance).outcome.exit_code == 0


def test_dates_from_the_future_are_cleared(bench: Bench) -> None:
    """The clock was wrong for a while and is right again: the key set goes on as if it had been."""
    bench.host.offset = timedelta(days=20)
    site = bench.process(POLICY)
    operations.hold(site, "")
    operations.release(site)
    bench.host.offset = timedelta(0)
    site = bench.process(POLICY)
    assert "behind" in settle(site, bench.true.advance).outcome.step.detail
    operations.confirm_clock(site)
    assert bench.ring.latest == bench.true.now
    assert settle(site, bench.true.advance).outcome.exit_code == 0


def test_operations_need_a_ring() -> None:
    """A key set that has none yet says how it gets one."""
    bench = Bench()
    asks: list[Callable[[], operations.Done]] = [
        lambda: operations.hold(bench.site, ""),
        lambda: operations.revoke(bench.site, ["x"], ""),
        lambda: operations.roll_back(bench.site, ""),
        lambda: operations.forget(bench.site, "x"),
        lambda: operations.confirm_clock(bench.site),
    ]
    for ask in asks:
        with pytest.raises(UsageError, match="no ring yet"):
            ask()


def test_a_dry_run_of_anything_writes_nothing(bench: Bench) -> None:
    """Only the statement comes back."""
    before = bench.store.shelf("web").ring
    asked: Sequence[operations.Done] = (
        operations.hold(bench.site, "", dry_run=True),
        operations.pin(bench.site, bench.kid(Phase.ACTIVE), "", dry_run=True),
        operations.order_promotion(bench.site, None, "", dry_run=True),
        operations.emergency(bench.site, "", dry_run=True),
        operations.confirm_clock(bench.site, dry_run=True),
        operations.restore(bench.site, before or b"", dry_run=True),
    )
    assert all(done.outcome is None and done.statement for done in asked)
    assert bench.store.shelf("web").ring == before


def test_an_unreadable_store_ends_an_operation_with_its_own_error(bench: Bench) -> None:
    """Nothing is changed."""
    bench.store.fault = Fault.SILENT
    with pytest.raises(StoreUnavailable):
        operations.hold(bench.site, "")


def test_revoking_a_key_that_never_signed_breaks_nothing_and_says_so(bench: Bench) -> None:
    """No fresh key is ordered, for no cache could be fooled by it."""
    done = operations.revoke(bench.site, [bench.kid(Phase.PENDING)], "lost laptop")
    assert "no token breaks" in done.statement[0]
    assert bench.ring.promote is None


def test_an_emergency_over_a_torn_ring_orders_a_fresh_key_too(bench: Bench) -> None:
    """What it says of caches that only look again at an unknown kid holds there as well."""
    corrupt(bench)
    operations.emergency(bench.process(POLICY), "lost")
    assert bench.ring.promote is not None
    assert bench.ring.promote.urgent


def test_a_second_rollback_does_not_bring_the_bad_key_back() -> None:
    """Only after `release`, which says that the first one is dealt with."""
    bench = rotated()
    operations.roll_back(bench.site, "bad build")
    good = bench.signed_with
    with pytest.raises(UsageError, match="rolled back already"):
        operations.roll_back(bench.site, "")
    assert bench.signed_with == good
    assert bench.ring.hold is not None
    assert bench.ring.hold.reason == "rollback: bad build"


def test_a_reason_outlives_an_order_given_again_without_one(bench: Bench) -> None:
    """Of a hold, and of a pin."""
    kid = bench.kid(Phase.ACTIVE)
    for why in ("audit", ""):
        operations.hold(bench.site, why)
        operations.pin(bench.site, kid, why)
    assert bench.ring.hold is not None
    assert (bench.ring.hold.reason, bench.ring.pins[kid].reason) == ("audit", "audit")


def test_confirming_the_clock_tells_no_old_news(bench: Bench) -> None:
    """Earlier dates move; what they date did not happen again."""
    operations.revoke(bench.site, [bench.kid(Phase.PENDING)], "leaked")
    bench.settle()
    bench.host.offset = timedelta(days=-1)
    bench.events.clear()
    operations.confirm_clock(bench.process(POLICY))
    assert "clock.confirmed" in [event for event, _ in bench.events]
    assert "key.revoked" not in [event for event, _ in bench.events]


def test_a_backup_that_does_not_know_the_signing_key_is_told_from_lost_material(
    bench: Bench,
) -> None:
    """The file is to blame, and a newer one is the way out."""
    backup = bench.store.shelf("web").ring
    assert backup is not None
    bench.after(200 * DAY)
    with pytest.raises(StoreCorrupt, match="backup does not know") as refusal:
        operations.restore(bench.site, backup)
    assert "newer backup" in refusal.value.hint


def test_restoring_over_a_good_ring_says_so(bench: Bench) -> None:
    """An operator who mistook the key set sees it before it happens."""
    backup = bench.store.shelf("web").ring
    assert backup is not None
    said = "\n".join(operations.restore(bench.site, backup, dry_run=True).statement)
    assert "can be read" in said
