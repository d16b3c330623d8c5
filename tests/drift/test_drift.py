"""What somebody does to a target by hand is found within one resync, told, and mended or refused; held or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator import operations
from rotator.daemon import Daemon
from rotator.daemon.state import Observer
from rotator.metrics.meter import Meter
from rotator.reconcile.look import look_at
from rotator.reconcile.site import Site
from rotator.ring import Phase
from tests.drift.places import KINDS, Place
from tests.unit.daemon_world import HOUR, MINUTE, World

RESYNC = 5 * MINUTE
TICK = timedelta(seconds=1)


@dataclass
class Ground:
    """A daemon over one key set that has the place among its targets, after its first rotation."""

    world: World
    site: Site
    daemon: Daemon
    meter: Meter
    place: Place

    @property
    def name(self) -> str:
        return self.place.target.name

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return what was told of the place under an event's name."""
        return [fields for fields in self.world.log.named(event) if fields["target"] == self.name]

    def in_order(self) -> bool:
        """Tell whether the place holds what it should, and nothing else."""
        ring = self.world.ring()
        seen = look_at(self.place.target, ring, self.site.keys, self.world.clock).sighting
        wanted = [key.kid for key in ring.published]
        if seen.kind.value == "signing":
            wanted = [key.kid for key in ring.in_phase(Phase.ACTIVE)]
        clean = not (seen.strangers or seen.drifted or seen.foreign)
        return clean and sorted(seen.kids) == sorted(wanted)

    def live(self, duration: timedelta) -> None:
        self.world.go_on(self.daemon, duration)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.waker.close()


@pytest.fixture(params=list(KINDS))
def ground(request: pytest.FixtureRequest, world: World) -> Ground:
    """One ground for each kind of place."""
    (world.path / "place").mkdir()
    return ground_of(world, KINDS[request.param](world.path / "place"))


def ground_of(world: World, place: Place) -> Ground:
    """Return a daemon that has the place among its targets, after its first rotation."""
    site = world.site("web", place.target)
    meter = Meter(world.clock.now)
    site.emit = meter.through(world.log.emit)
    observer: Observer = meter
    daemon = world.daemon([site], observer=observer)
    made = Ground(world, site, daemon, meter, place)
    made.live(HOUR)
    assert made.in_order()
    return made


def once_free_once_held(ground: Ground) -> Iterator[int]:
    """Yield twice, the second time under a hold: with how often drift was told before."""
    yield len(ground.told("target.drift"))
    operations.hold(ground.site, "no changes today")
    yield len(ground.told("target.drift"))


@pytest.mark.parametrize("deed", ["change", "empty"])
def test_found_told_and_mended(ground: Ground, deed: str) -> None:
    """Within one resync, a hold or not (rule 7): the event, the count, and what should be there."""
    for told in once_free_once_held(ground):
        getattr(ground.place, deed)()
        assert not ground.in_order()
        ground.live(RESYNC + TICK)
        assert ground.in_order()
        (drift,) = ground.told("target.drift")[told:]
        assert drift["reason"] == "it was emptied" if deed == "empty" else drift["reason"]
        assert ground.meter.read().drift == {ground.name.partition(":")[0]: told + 1}
    ground.live(2 * RESYNC)
    assert len(ground.told("target.drift")) == 2


def test_set_back_to_an_older_revision(ground: Ground) -> None:
    """A restored backup of one place is told, and replaced; a hold or not."""
    before = ground.world.ring()
    saved = ground.place.save()
    ground.live(3 * HOUR)  # the next key signs, the one after it is announced
    assert ground.world.ring().active != before.active
    for told in once_free_once_held(ground):
        ground.place.restore(saved)
        assert not ground.in_order()
        ground.live(RESYNC + TICK)
        assert ground.in_order()
        (drift,) = ground.told("target.drift")[told:]
        assert drift["reason"].startswith("it was set back from revision ")


def test_filled_by_somebody_else(ground: Ground) -> None:
    """Nothing of theirs is overwritten: refused, told once with the way out, taken over on an operator's word."""
    ground.place.fill()
    ground.live(3 * RESYNC)
    (failing,) = ground.told("target.failing")
    assert "filled by something that this key set did not write" in failing["reason"]
    assert not ground.in_order()
    operations.take_over(ground.site, ground.name)
    ground.live(RESYNC + TICK)
    assert ground.in_order()
    assert len(ground.told("target.healed")) == 1


def test_every_kind_has_its_hands(tmp_path: Path) -> None:
    """A kind that is added to the program is added here: the names of all targets begin with a kind of this table."""
    makers: list[Callable[[Path], Place]] = list(KINDS.values())
    names = {make(tmp_path).target.name.partition(":")[0] for make in makers}
    assert names >= {"files", "file", "store"}
