"""A key set is carried to another store: killed, or standing still, at every passage, while replicas tick.

One pair of replicas has the configuration of before, another that of after; at no moment do both stores
have a ring, nothing that verifiers read changes, and no material is left that nothing names.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.errors import RingMoved, RotatorError, StoreCorrupt, TargetFailing, UsageError
from rotator.operations.confirm_move import confirm_move
from rotator.operations.move import move
from rotator.operations.move_sides import Carried, Side
from rotator.reconcile.site import Memory, Outcome, Site
from rotator.reconcile.tick import tick
from rotator.rehearsal.pauses import Crash
from rotator.rehearsal.promise import Broken
from rotator.rehearsal.walls import KINDS, AnyStore, Fault
from rotator.rehearsal.world import Process
from rotator.ring import ENDED, KeyRing, Phase
from rotator.ring_moved import Moved, State, read_either
from tests.model.scene import seconds
from tests.model.stage import ASYMMETRIC, SYMMETRIC, Stage, stage, tight_policy

_PASSAGES = 200


class Journey:
    """A stage with a second store, and whoever moves the key set there.

    Attributes:
        old, new: the stores.
        later: a replica that is configured with the new one.
    """

    def __init__(self, kind: str = "plain", *, symmetric: bool = False) -> None:
        policy = tight_policy(SYMMETRIC if symmetric else ASYMMETRIC)
        self.it: Stage = stage(policy)
        world = self.it.world
        self.it.signs(2)
        self.old = world.store
        self.new: AnyStore = KINDS[kind](world.true)
        self.old.saved = self._old_saved
        self.new.saved = self._new_saved
        self.mover = world.process("mover", self.it.slow.settings)
        self.later = world.process("later", self.it.slow.settings)
        self.switches = 0

    def _read(self, store: AnyStore) -> KeyRing | Moved | None:
        key_set = self.it.world.key_set
        ring = store.shelf(key_set).ring
        return None if ring is None else read_either(ring, key_set=key_set)

    def _old_saved(self, key_set: str, before: bytes | None, after: bytes) -> None:
        now = read_either(after, key_set=key_set)
        if isinstance(now, KeyRing):
            self.it.world._saved(key_set, before, after)
            return
        assert now.state is State.LEFT
        assert before is not None
        was = read_either(before, key_set=key_set)
        assert (was if isinstance(was, KeyRing) else was.ring) == now.ring
        self._not_both()

    def _new_saved(self, key_set: str, before: bytes | None, after: bytes) -> None:
        was = read_either(before, key_set=key_set) if before is not None else None
        now = read_either(after, key_set=key_set)
        if isinstance(was, KeyRing):
            assert isinstance(now, KeyRing)
            self.it.world._saved(key_set, before, after)
        elif isinstance(now, KeyRing):
            left = self._read(self.old)
            assert isinstance(left, Moved), "the old ring is still there"
            assert now.revision == left.revision + 1
            assert _told(now) == _told(left.ring)
            self.it.world.watch.ring = now
            self.switches += 1
        self._not_both()

    def _not_both(self) -> None:
        living = [isinstance(self._read(store), KeyRing) for store in (self.old, self.new)]
        if all(living):
            raise Broken("two stores have a ring")

    def side(self, store: AnyStore, process: Process) -> Side:
        """Return one store as a process sees it."""
        login, key_set = store.login(process.gate), self.it.world.key_set
        name = "old" if store is self.old else "new"
        return Side(name, login.rings(key_set), login.material(key_set), name)

    def move(self, site: Site) -> Carried:
        """Move, as the process that this site belongs to."""
        process = next(p for p in self.it.world.processes if p.site is site)
        return move(site, self.side(self.old, process), self.side(self.new, process))

    def confirm(self, site: Site) -> Carried:
        """Destroy what was left behind."""
        process = next(p for p in self.it.world.processes if p.site is site)
        new = self.side(self.new, process)
        over = replace(site, rings=new.rings, material=new.material, memory=Memory())
        return confirm_move(over, self.side(self.old, process), new)

    def tick_old(self) -> list[object]:
        """Let the replicas with the old configuration tick."""
        return [process.run(tick) for process in (self.it.slow, self.it.fast)]

    def tick_new(self) -> object:
        """Let the replica with the new configuration tick once, begun anew."""
        side = self.side(self.new, self.later)
        memory = self.later.site.memory
        self.later.site = replace(
            self.later.site, rings=side.rings, material=side.material, memory=memory
        )
        return self.later.run(tick)

    def documents(self) -> list[bytes | None]:
        """Return what everybody reads."""
        places = (*self.it.jwks, *self.it.signing)
        return [place.document.body if place.document else None for place in places]

    def lost(self) -> set[tuple[str, str]]:
        """Return the material that no ring, tombstone or arrival names."""
        key_set, found = self.it.world.key_set, set()
        for store in (self.old, self.new):
            content = self._read(store)
            ring = content.ring if isinstance(content, Moved) else content
            known = {(key.locator, key.kid) for key in ring.keys} if ring is not None else set()
            found |= {item for item in store.remains(key_set) if item not in known}
        return found

    def go_on(self) -> None:
        """Two rotations with the new configuration alone: everything is there that they need."""
        it, kids = self.it, set()
        for _ in range(4000):
            for _ in range(10):
                outcome = self.tick_new()
                assert isinstance(outcome, Outcome), outcome
                if not outcome.changed:
                    break
            if it.world.ring.active is not None:
                kids.add(it.world.ring.active.kid)
            if len(kids) > 2:
                return
            it.next_date()
        raise AssertionError("it does not rotate any more")


def _told(ring: KeyRing) -> list[object]:
    """Return all of a ring's keys but where their material lies, and its orders and terms."""
    keys: list[object] = [replace(key, locator=None) for key in ring.keys]
    return [*keys, ring.holders, ring.protection, ring.hold, ring.promote, ring.pins]


def _stopped(found: object) -> None:
    assert isinstance(found, StoreCorrupt), found
    assert found.exit_code == 65


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("symmetric", [False, True])
def test_killed_at_every_passage(kind: str, *, symmetric: bool) -> None:
    """Whatever was done by then, the replicas do no harm, and the same command again finishes it."""
    for number in range(1, _PASSAGES, 1 if kind == "plain" else 7):
        made = Journey(kind, symmetric=symmetric)
        before = made.documents()
        ended = made.mover.run(made.move, crash_at=number)
        made._not_both()
        assert not made.lost()
        new = made.tick_new()
        old = made.tick_old()
        if isinstance(made._read(made.old), KeyRing):
            assert all(isinstance(found, Outcome) for found in old)
            _stopped(new)
        else:
            assert all(isinstance(found, RingMoved) for found in old)
        assert made.documents() == before
        again = made.mover.run(made.move)
        assert isinstance(again, Carried), again
        assert made.switches == 1
        assert all(isinstance(found, RingMoved) for found in made.tick_old())
        assert made.documents() == before
        assert not made.lost()
        if not isinstance(ended, Crash):
            assert number > 20
            made.go_on()
            assert not made.lost()
            return
    raise AssertionError("it never came to its end")


def test_rotated_while_it_stands_still() -> None:
    """A key leaves the ring while the move stands still: what is there by then is carried, and no more."""
    for number in range(1, _PASSAGES, 4):
        made = Journey("numbers")
        it = made.it
        made.mover.begin(made.move, number)
        if made.mover.work is None:
            assert number > 20
            return
        first = it.world.ring.keys
        for _ in range(2000):
            found = made.tick_old()
            gone = [key for key in first if it.world.ring.find(key.kid) is None]
            if gone or any(isinstance(item, RotatorError) for item in found):
                break
            it.next_date()
        made.mover.go_on()
        assert isinstance(made.mover.run(made.move), Carried)
        assert made.switches == 1
        assert not made.lost()


def test_two_at_once() -> None:
    """The command stands still at every passage while it is given a second time elsewhere."""
    for number in range(1, _PASSAGES, 3):
        made = Journey("labels")
        second = made.it.world.process("second", made.it.slow.settings)
        made.mover.begin(made.move, number)
        if made.mover.work is None:
            assert number > 20
            return
        assert isinstance(second.run(made.move), Carried)
        made.mover.go_on()
        assert made.switches == 1
        assert not made.lost()


def test_confirmed_and_killed_at_every_passage() -> None:
    """What was left is destroyed only by confirming; the tombstone stays for good."""
    for number in range(1, _PASSAGES, 2):
        made = Journey("numbers")
        key_set = made.it.world.key_set
        assert isinstance(made.mover.run(made.move), Carried)
        early = made.mover.run(made.confirm)
        assert isinstance(early, RotatorError)
        assert early.exit_code == 75
        kept = made.old.remains(key_set)
        assert {kid for _, kid in kept} >= {
            key.kid for key in made.it.world.ring.keys if key.phase not in ENDED
        }
        made.it.world.advance(seconds(130))
        made.tick_new()
        ended = made.mover.run(made.confirm, crash_at=number)
        assert isinstance(made.mover.run(made.confirm), Carried)
        assert not made.old.remains(key_set)
        assert all(isinstance(found, RingMoved) for found in made.tick_old())
        if not isinstance(ended, Crash):
            assert number > 10
            made.go_on()
            return
    raise AssertionError("it never came to its end")


def test_there_and_back_again() -> None:
    """Back only after the first move was confirmed; then the tombstone gives way."""
    made = Journey()
    assert isinstance(made.mover.run(made.move), Carried)
    made.it.world.advance(seconds(130))
    made.tick_new()

    def back(site: Site) -> Carried:
        old, new = made.side(made.old, made.mover), made.side(made.new, made.mover)
        over = replace(site, rings=new.rings, material=new.material, memory=Memory())
        return move(over, new, old)

    refused = made.mover.run(back)
    assert isinstance(refused, UsageError)
    assert "--confirm" in refused.hint
    assert isinstance(made.mover.run(made.confirm), Carried)
    made.old.saved = made.new.saved = lambda _name, _old, _new: None
    assert isinstance(made.mover.run(back), Carried)
    assert isinstance(made._read(made.old), KeyRing)
    assert isinstance(made._read(made.new), Moved)
    assert isinstance(made.it.slow.run(tick), RotatorError | Outcome)


def test_a_ring_that_may_have_been_in_use() -> None:
    """The new store is restored empty at once, and a target is silent: no answer is no proof."""
    made = Journey()
    assert isinstance(made.mover.run(made.move), Carried)
    made.new.put_back(made.it.world.key_set, None)
    made.it.jwks[0].fault = Fault.SILENT
    unknown = made.mover.run(made.move)
    assert isinstance(unknown, TargetFailing)
    made.it.world.heal()
    made.switches = 0
    assert isinstance(made.mover.run(made.move), Carried)
    made.go_on()


def test_a_ring_that_was_in_use_and_is_lost() -> None:
    """The new store is restored empty: the old ring does not come back from its tombstone."""
    made = Journey()
    assert isinstance(made.mover.run(made.move), Carried)
    made.go_on()
    made.new.put_back(made.it.world.key_set, None)
    lost = made.mover.run(made.move)
    assert isinstance(lost, StoreCorrupt)
    assert "recover" in lost.hint
    assert made.it.world.ring.in_phase(Phase.ACTIVE)
