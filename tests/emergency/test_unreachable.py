"""Targets that are down or hang: what they hold up, which is themselves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from rotator import operations
from rotator.cli.revoked import Reports
from rotator.reconcile.tick import tick
from rotator.rehearsal.walls import Fault
from rotator.ring import Phase
from tests.emergency.ground import BOUND, DAY, Ground, Hanging, all_ended


def test_nine_of_ten_signers_down_hold_back_the_end_of_the_old_key_alone() -> None:
    """Show 7 in memory: promoted, delivered to the tenth, published on and on; they return, it completes."""
    ground = Ground(10)
    ground.settle()
    old = ground.kid(Phase.ACTIVE)
    ground.after(2 * DAY)
    down = ground.held[1:]
    for place in down:
        place.fault = Fault.SILENT
    operations.order_promotion(ground.site, None, "")
    ground.settle()
    new = ground.kid(Phase.ACTIVE)
    assert new != old
    assert ground.kids_at(ground.held[0]) == [new]
    settled = ground.after(30 * DAY)
    retiring = ground.ring.find(old)
    assert retiring is not None
    assert retiring.superseded_at is None
    assert all(old in ground.kids_at(place) for place in ground.published)
    assert set(settled.outcome.failures) == {place.name for place in down}
    for place in down:
        place.fault = Fault.NONE
    settled = ground.after(DAY)
    assert all(ground.kids_at(place) == [new] for place in ground.held)
    assert not settled.outcome.failures
    ground.after(2 * DAY)
    assert all(old not in ground.kids_at(place) for place in ground.published)
    assert ground.ring.find(old) is None


def test_a_target_that_hangs_costs_its_own_time_and_no_other_targets() -> None:
    """The others are looked at and written while it hangs; it is as silent as one that is down."""
    ground = Ground(6)
    ground.settle()
    for place in ground.held[1:]:
        place.put(None)
    hanging, written = Hanging(), threading.Barrier(6)
    ground.target("signer-0").before_look = hanging
    for target in ground.targets:
        if target.name.startswith("signer") and target.name != "signer-0":
            target.before_look = lambda: written.wait(BOUND)

    def others_were_looked_at() -> None:
        written.wait(BOUND)
        hanging.let_go()

    waiter = threading.Thread(target=others_were_looked_at)
    waiter.start()
    outcome = tick(ground.site)
    waiter.join(BOUND)
    assert not outcome.failures
    assert len(outcome.written) == 5


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let an emergency wait for a second, for here nobody is slow, and some hang; then for more.

    A second try is for a machine that stood still for that second, so that others were late as well.
    """
    module = sys.modules["rotator.operations.emergency"]  # the package has a function of that name

    def tries() -> Iterator[int]:
        for seconds in (1, 15):
            monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=seconds))
            yield seconds

    return tries()


@pytest.mark.parametrize("when", ["look", "write"])
@pytest.mark.parametrize("name", ["signer-1", "set-1"])
def test_a_target_that_hangs_does_not_hold_up_a_revocation(
    name: str, when: str, patience: Iterator[int]
) -> None:
    """Every other target has the successor while it still hangs; the report names it and says why."""
    for seconds in patience:
        said = f"within {seconds}s"
        ground = Ground(4, 3)
        ground.settle()
        bad, standby = ground.kid(Phase.ACTIVE), ground.kid(Phase.PENDING)
        hanging = Hanging()
        if when == "look":
            ground.target(name).before_look = hanging
        else:
            ground.target(name).before_write = hanging
        done = operations.revoke(ground.site, [bad], "leaked")  # returns while it hangs
        if done.outcome is not None and set(done.outcome.failures) == {name}:
            break
        hanging.let_go()
    assert hanging.came.is_set()
    for place in (*ground.held, *ground.published):
        if place.name != name:
            assert bad not in ground.kids_at(place)
            assert standby in ground.kids_at(place)
    assert done.outcome is not None
    assert set(done.outcome.failures) == {name}
    assert said in done.outcome.failures[name].message
    reports = Reports(None)
    reports.note(done, done.outcome)
    told = reports.of("web")
    if name.startswith("signer"):
        (late,) = [signer for signer in told["signers"] if not signer["given"]]
        assert (late["target"], said in late["why_not"]) == (name, True)
    else:
        (late,) = [item for item in told["trust"] if item["longest_seconds"] is None]
        assert (late["place"], said in late["note"]) == (name, True)
    hanging.let_go()
    all_ended()
    ground.true.advance(timedelta(minutes=5))
    assert not ground.settle().outcome.failures
    place = next(p for p in (*ground.held, *ground.published) if p.name == name)
    assert bad not in ground.kids_at(place)
    assert standby in ground.kids_at(place)


def test_a_target_that_hangs_does_not_hold_up_an_emergency_over_a_torn_ring(
    patience: Iterator[int],
) -> None:
    """Two looks, each within its bound."""
    for _ in patience:
        ground = Ground(4)
        ground.settle()
        document = ground.store.shelf("web").ring
        assert document is not None
        ground.store.put_back("web", document[:100])
        hanging = Hanging()
        ground.target("signer-2").before_look = hanging
        operations.emergency(ground.site, "the store leaked")
        new = ground.kid(Phase.ACTIVE)
        given = [ground.kids_at(place) == [new] for place in ground.held]
        if given == [True, True, False, True]:
            break
        hanging.let_go()
    assert given == [True, True, False, True]
    hanging.let_go()
    all_ended()
    ground.true.advance(timedelta(minutes=5))
    ground.settle()
    assert ground.kids_at(ground.held[2]) == [new]
