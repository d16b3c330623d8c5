"""Writing the targets of one phase at the same time: the order of phases, failures apart, one read of the material."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from rotator import operations
from rotator.errors import Conflict, StoreUnavailable
from rotator.reconcile.mend import Stalled
from rotator.reconcile.tick import tick
from rotator.reconcile.together import Spread, one_by_one, together
from rotator.ring import Phase
from rotator.stores import Document
from tests.emergency.ground import BOUND, DAY, HMAC, Ground

MANY = 20


def test_targets_of_one_phase_are_written_at_the_same_time() -> None:
    """Twenty signers' documents meet on their way; so do the publications."""
    ground = Ground(MANY, MANY)
    signers, sets = threading.Barrier(MANY), threading.Barrier(MANY)
    for target in ground.targets:
        if target.name.startswith("signer"):
            target.before_write = lambda _: signers.wait(BOUND)
        else:
            target.before_write = lambda _: sets.wait(BOUND)
    settled = ground.settle()
    assert not settled.outcome.failures
    assert {tuple(ground.kids_at(place)) for place in ground.held} == {(ground.kid(Phase.ACTIVE),)}


@pytest.mark.parametrize("spread", [one_by_one, together])
def test_no_signer_is_given_a_key_before_every_publication_was(spread: Spread) -> None:
    """And no publication loses a revoked key before every signer was given the successor's."""
    ground = Ground(8, 8, spread=spread)
    ground.settle()
    order: list[str] = []
    bad = ground.kid(Phase.ACTIVE)
    standby = ground.kid(Phase.PENDING)
    shelf = ground.store.shelf("web").material
    for locator, (kid, _) in list(shelf.items()):
        if kid == standby:
            del shelf[locator]  # it fails its test: a new key, which no publication has, must sign

    for place in ground.published:
        place.changed = lambda here: order.append("new" if bad in ground.kids_at(here) else "gone")
    for place in ground.held:
        place.changed = lambda _: order.append("deliver")
    done = operations.revoke(ground.site, [bad], "leaked")
    assert order == ["new"] * 8 + ["deliver"] * 8 + ["gone"] * 8
    assert done.outcome is not None
    told = [item.target for item in done.outcome.written]
    names = [place.name for place in ground.published], [place.name for place in ground.held]
    assert told == [
        *names[0],
        *names[1],
        *names[0],
    ]  # in the order of the targets, whoever was faster


@pytest.mark.parametrize("spread", [one_by_one, together])
def test_the_material_is_read_once(spread: Spread) -> None:
    """Not once per target, and not once per thread."""
    ground = Ground(MANY, spread=spread)
    ground.settle()
    active = ground.kid(Phase.ACTIVE)
    for place in ground.held:
        place.put(None)
    ground.material.reads.clear()
    tick(ground.site)
    assert ground.material.reads == {active: 1}
    assert all(ground.kids_at(place) == [active] for place in ground.held)


def test_the_material_is_read_once_for_all_verification_documents() -> None:
    """Of every published key, however many verifiers there are."""
    ground = Ground(2, MANY, policy=HMAC)
    ground.settle()
    for place in ground.published:
        place.put(None)
    ground.material.reads.clear()
    tick(ground.site)
    assert ground.material.reads == {key.kid: 1 for key in ground.ring.published}
    assert len({tuple(ground.kids_at(place)) for place in ground.published}) == 1


def test_an_unreadable_material_is_not_asked_for_by_each_target() -> None:
    """Each would take as long to be refused; all are told, and healed by the next tick."""
    ground = Ground(MANY)
    ground.settle()
    for place in ground.held:
        place.put(None)
    ground.material.reads.clear()

    def fail() -> None:
        raise StoreUnavailable("the material is out of reach")

    ground.material.before_get = fail
    outcome = tick(ground.site)
    assert len(outcome.failures) == MANY
    assert ground.material.reads.total() == 1
    ground.material.before_get = lambda: None
    ground.true.advance(timedelta(minutes=5))
    assert not ground.settle().outcome.failures


@pytest.mark.parametrize("spread", [one_by_one, together])
def test_failures_and_conflicts_are_each_targets_own(spread: Spread) -> None:
    """One fails, one says that somebody else was faster, one is filled by others: the rest is written."""
    ground = Ground(8, spread=spread)
    ground.settle()
    active = ground.kid(Phase.ACTIVE)
    for place in ground.held:
        place.put(None)
    ground.held[1].put(Document(b"{}", "somebody", 3))

    def fail(_document: Document) -> None:
        raise StoreUnavailable("out of order")

    def lose(_document: Document) -> None:
        raise Conflict("somebody else was faster")

    ground.target("signer-3").before_write = fail
    ground.target("signer-5").before_write = lose
    outcome = tick(ground.site)
    assert set(outcome.failures) == {"signer-1", "signer-3"}
    assert outcome.changed  # outrun: looked at again at once
    assert ground.site.memory.conflicts == {"signer-5": 1}
    good = [place for place in ground.held if place.name[-1] not in "135"]
    assert [item.target for item in outcome.written] == [place.name for place in good]
    assert all(ground.kids_at(place) == [active] for place in good)
    for _ in range(5):
        outcome = tick(ground.site)
    assert "signer-5" in outcome.failures  # not for ever at one that always says so


def test_who_stands_still_in_the_midst_writes_nothing_more() -> None:
    """Each thread asks the write window for itself; what was written before that stays."""
    ground = Ground(MANY)
    ground.settle()
    for place in ground.held:
        place.put(None)
    ground.material.before_get = lambda: ground.true.advance(timedelta(minutes=2))
    with pytest.raises(Stalled):
        tick(ground.site)
    assert not any(place.document for place in ground.held)


def test_a_tick_at_rest_looks_once_at_each_and_writes_nothing() -> None:
    """A hundred targets, a hundred reads, no thread for writing."""
    ground = Ground(60, 40)
    ground.settle()
    ground.after(DAY)
    for target in ground.targets:
        target.looks = target.writes = 0
    ground.material.reads.clear()
    outcome = tick(ground.site)
    assert not outcome.changed
    assert {target.looks for target in ground.targets} == {1}
    assert {target.writes for target in ground.targets} == {0}
    assert not ground.material.reads
