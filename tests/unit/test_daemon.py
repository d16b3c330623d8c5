"""The daemon's loop on a moved clock: nothing here waits for time to pass."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.daemon.lanes import Job, Lanes
from rotator.errors import Conflict, StoreDenied, StoreUnavailable
from rotator.hostclock import HostClock
from rotator.ring import Phase
from rotator.stores import Sight
from rotator_file.store import FileStore
from tests.unit.daemon_world import (
    BOUND,
    HOUR,
    MINUTE,
    SECOND,
    START,
    AtOnce,
    Odd,
    Rings,
    World,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The store's own log is not looked at here, and there is much of it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds on one directory, and closes them."""
    made: list[World] = []

    def make(**more: Any) -> World:
        made.append(World(tmp_path, **more))
        return made[-1]

    yield make
    for world in made:
        world.waker.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


def counted(world: World) -> tuple[Rings, list[str]]:
    """The rings of `web`, and the calls made to them."""
    calls: list[str] = []
    return Rings(FileStore(world.path / "store").rings("web"), calls.append), calls


def test_keys_live_their_lives(world: World) -> None:
    """Created, announced, promoted, superseded, retired, destroyed: each at its time, for a day."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, 24 * HOUR)
    promoted = [fields["revision"] for fields in world.log.named("key.promoted")]
    assert len(promoted) == 12  # every two hours, and the first at once; the thirteenth is due now
    assert len(world.log.named("key.destroyed")) == 11
    assert not world.log.named("key_set.failing")
    assert not [event for event in world.log.events if event[0] in {"warning", "error"}]


def test_a_date_is_kept_to_the_moment(world: World) -> None:
    """A promotion comes at its due date, not at the next resync after it."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, timedelta(0))
    due = START + 2 * HOUR
    world.go_on(daemon, 2 * HOUR - SECOND)
    assert len(world.log.named("key.promoted")) == 1
    world.go_on(daemon, 2 * SECOND)
    assert len(world.log.named("key.promoted")) == 2
    ring = world.ring()
    assert ring.active is not None
    assert ring.active.activated_at is not None
    assert ring.active.activated_at - due < SECOND


def test_between_deadlines_only_a_slow_resync(world: World) -> None:
    """Reading costs money: about one load per resync, jittered downwards, and none in between."""
    rings, calls = counted(world)
    daemon = world.daemon([world.site(rings=rings, rotate_every=100 * HOUR)])
    world.go_on(daemon, HOUR)
    calls.clear()
    ticks = world.go_on(daemon, 10 * HOUR)
    assert 120 <= ticks <= 150  # 120 times five minutes, at most a fifth more often
    assert len(calls) == ticks
    before = len(calls)
    assert daemon.dispatch() == 0
    assert len(calls) == before


def test_what_is_waited_for_is_said_once(world: World) -> None:
    """The log tells the next step and its date, and does not repeat itself at each resync."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, 90 * MINUTE)
    said = world.log.named("step.waiting")
    assert [item["reason"] for item in said] == ["not-due"]
    assert said[0]["next"] == "promote"
    assert said[0]["due_at"].startswith("2030-01-01T02:00:00")


def test_a_leap_forward_is_noticed_and_promotes_nothing(world: World) -> None:
    """Dates come nearer at once; the tick finds the clock suspicious, and waits."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, HOUR)
    world.clock.wall += 365 * 24 * HOUR
    daemon.compare_clocks()
    [jumped] = world.log.named("clock.jumped")
    assert jumped["seconds"] == pytest.approx(365 * 24 * 3600)
    at = daemon.next_at()
    assert at is not None
    assert at <= world.clock.boot
    world.go_on(daemon, 3 * HOUR)
    assert len(world.log.named("key.promoted")) == 1
    assert world.log.named("clock.suspicious")
    world.clock.wall -= 365 * 24 * HOUR
    world.go_on(daemon, 30 * MINUTE)
    assert len(world.log.named("clock.jumped")) == 2
    assert world.log.named("clock.trusted")
    assert len(world.log.named("key.promoted")) == 2


def test_a_leap_back_stops_nothing(world: World) -> None:
    """Turns count in CLOCK_BOOTTIME: a clock set back by ten years delays no resync."""
    rings, calls = counted(world)
    daemon = world.daemon([world.site(rings=rings)])
    world.go_on(daemon, HOUR)
    world.clock.wall -= 3650 * 24 * HOUR
    calls.clear()
    world.go_on(daemon, HOUR)
    assert len(world.log.named("clock.jumped")) == 1
    assert len(calls) >= 12
    assert world.log.named("clock.suspicious")


def test_a_suspend_is_an_absence_and_no_leap(world: World) -> None:
    """Both clocks went on: what became due meanwhile is done at once."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, HOUR)
    world.clock.advance(9 * HOUR)
    world.go_on(daemon, timedelta(0))
    assert not world.log.named("clock.jumped")
    assert not world.log.named("clock.suspicious")
    assert 9 * 3600 <= world.log.named("daemon.resumed")[-1]["seconds"] <= 9 * 3600 + 300
    assert len(world.log.named("key.promoted")) == 2


def test_failures_come_ever_later_but_not_later_than_resync(world: World) -> None:
    """One second, doubled, at most a resync; said once; healed at once when the store is back."""
    down = True

    def act(_: str) -> None:
        if down:
            raise StoreUnavailable("the store does not answer", hint="wait")

    inner = FileStore(world.path / "store").rings("web")
    daemon = world.daemon([world.site(rings=Rings(inner, act))], chance=lambda: 0.0)
    pauses = []
    for _ in range(14):
        daemon.dispatch()
        at = daemon.next_at()
        assert at is not None
        pauses.append((at - world.clock.boot).total_seconds())
        world.clock.advance(at - world.clock.boot)
    assert pauses[:4] == pytest.approx([1, 2, 4, 8], rel=0.21)
    assert max(pauses) <= 300
    assert pauses[-1] == pytest.approx(300, rel=0.21)
    assert [level for level, event, _ in world.log.events if event == "key_set.failing"] == [
        "warning"
    ]
    down = False
    world.go_on(daemon, 5 * MINUTE)
    assert world.log.named("key_set.healed")
    assert world.log.named("key.promoted")


def test_what_does_not_pass_by_itself_is_an_error(world: World) -> None:
    """A refusal, and a fault of ours whose message must not be shown."""

    def denied(_: str) -> None:
        raise StoreDenied("not allowed to read the ring", hint="grant it")

    def fault(_: str) -> None:
        raise KeyError("what a document says")

    store = FileStore(world.path / "store")
    for name, act in (("one", denied), ("two", fault)):
        world.go_on(
            world.daemon([world.site(name, rings=Rings(store.rings(name), act))]), timedelta(0)
        )
    said = [item for item in world.log.events if item[1] == "key_set.failing"]
    assert [level for level, _, _ in said] == ["error", "error"]
    assert said[0][2]["hint"] == "grant it"
    assert said[1][2]["reason"].startswith("unexpected KeyError at ")
    assert "what a document says" not in str(said)
    assert [level for level, name, _ in world.log.events if name == "key_set.traceback"] == [
        "debug"
    ]


def test_conflict_is_tried_again_after_a_short_pause(world: World) -> None:
    """Somebody else was faster, ten times: no failure, and no hot loop either."""
    left = 10

    def act(call: str) -> None:
        nonlocal left
        if call == "save" and left:
            left -= 1
            raise Conflict("somebody else was faster")

    rings = Rings(FileStore(world.path / "store").rings("web"), act)
    daemon = world.daemon([world.site(rings=rings)])
    world.go_on(daemon, 5 * SECOND)
    assert left == 0
    assert not world.log.named("key_set.failing")
    assert world.log.named("key.promoted")


def test_somebody_who_changes_it_back_does_not_make_us_spin(world: World) -> None:
    """A file that is removed as often as it is written is a failing target, tried ever more rarely."""
    published = world.path / "web.json"
    site = world.site("web", Odd(published, lambda: published.unlink(missing_ok=True)))
    # The one that undoes comes first, so that every tick finds the file gone.
    site.targets = (site.targets[2], site.targets[0], site.targets[1])
    ticks = world.go_on(world.daemon([site]), HOUR)
    assert ticks < 200
    assert world.log.named("target.failing")


def test_a_probe_that_flaps_does_not_make_us_spin(world: World) -> None:
    """Two servers behind one address, one of them stale: each look changes the ring."""
    looks = 0

    class Flapping(Odd):
        def look(self) -> Sight:
            nonlocal looks
            looks += 1
            return Sight(None) if looks % 2 else super().look()

    site = world.site("web", Flapping(world.path / "web.json", lambda: None))
    ticks = world.go_on(world.daemon([site]), 2 * HOUR)
    assert ticks < 200
    [restless] = world.log.named("key_set.restless")
    assert restless["ticks"] == 51


def test_a_store_that_hangs_holds_up_nobody_else(make_world: Callable[..., World]) -> None:
    """Forty key sets of a store that does not answer; the one of another store lives on."""
    go_on, inside = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        inside.set()
        assert go_on.wait(BOUND)

    world = make_world(clock=HostClock(), workers=Lanes())
    world.store_of = lambda name: "good" if name == "web" else "hangs"
    store = FileStore(world.path / "store")
    hanging = [world.site(f"h{n}", rings=Rings(store.rings(f"h{n}"), hang)) for n in range(40)]
    daemon = world.daemon([*hanging, world.site()])
    before = set(threading.enumerate())
    running = threading.Thread(target=daemon.run)
    running.start()
    try:
        world.log.wait_for(lambda: bool(world.log.named("step.waiting")))
        assert inside.wait(BOUND)
        assert {item["key_set"] for item in world.log.named("step.waiting")} == {"web"}
        assert len(set(threading.enumerate()) - before) < 25
        world.waker.stop()
        running.join(BOUND)
        assert not daemon.drained(0.0)
        daemon.abandon()
        assert 0 < len(world.log.named("daemon.abandoned")[0]["key_sets"]) <= 8
    finally:
        go_on.set()
        world.waker.stop()
        running.join(BOUND)
    assert daemon.drained(BOUND)


def test_a_key_set_that_failed_takes_no_place_from_those_that_do_well(world: World) -> None:
    """It is ticked in the slow lane of its store from then on, and back in the fast one once healed."""
    lanes: list[tuple[str, bool]] = []
    down = True

    class Noting(AtOnce):
        def submit(self, lane: tuple[str, bool], job: Job) -> None:
            lanes.append(lane)
            job()

    def act(_: str) -> None:
        if down:
            raise StoreUnavailable("down")

    world.workers = Noting()
    rings = Rings(FileStore(world.path / "store").rings("web"), act)
    daemon = world.daemon([world.site(rings=rings)])
    world.go_on(daemon, 3 * SECOND)
    down = False
    world.go_on(daemon, HOUR)
    assert lanes[:2] == [("local", False), ("local", True)]
    assert lanes[-1] == ("local", False)


def test_one_key_set_is_never_ticked_twice_at_once(make_world: Callable[..., World]) -> None:
    """However often the loop dispatches, and however many workers there are."""
    inside, most, ticks = 0, 0, 0
    lock = threading.Lock()

    def act(call: str) -> None:
        nonlocal inside, most, ticks
        if call != "load":
            return
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.001)
        with lock:
            inside -= 1
            ticks += 1

    world = make_world(clock=HostClock(), workers=Lanes())
    rings = Rings(FileStore(world.path / "store").rings("web"), act)
    daemon = world.daemon([world.site(rings=rings)])
    threads = [
        threading.Thread(target=lambda: [daemon.dispatch() for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert daemon.drained(BOUND)
    assert ticks > 0
    assert most == 1


def test_a_worker_that_does_not_come_back_is_told(make_world: Callable[..., World]) -> None:
    """Once, after two minutes; and the rest of the program goes on."""
    go_on, inside = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        inside.set()
        assert go_on.wait(BOUND)

    world = make_world(workers=Lanes())
    rings = Rings(FileStore(world.path / "store").rings("web"), hang)
    daemon = world.daemon([world.site(rings=rings)])
    daemon.compare_clocks()
    daemon.dispatch()
    assert inside.wait(BOUND)
    for _ in range(5):
        world.clock.advance(MINUTE)
        daemon.compare_clocks()
    assert len(world.log.named("key_set.stuck")) == 1
    go_on.set()
    assert daemon.drained(BOUND)


def test_two_daemons_on_one_store_make_one_key_of_each(make_world: Callable[..., World]) -> None:
    """Replicas need no leader: at most one active key, one pending, and nothing fails."""
    worlds = [make_world(workers=AtOnce()) for _ in range(2)]
    worlds[1].clock = worlds[0].clock
    daemons = [world.daemon([world.site()]) for world in worlds]
    for _ in range(400):
        for daemon in daemons:
            daemon.compare_clocks()
            daemon.dispatch()
        worlds[0].clock.advance(MINUTE)
    ring = worlds[0].ring()
    assert [len(ring.in_phase(phase)) for phase in (Phase.ACTIVE, Phase.PENDING)] == [1, 1]
    for world in worlds:
        assert not world.log.named("key_set.failing")
    promoted = sum(len(world.log.named("key.promoted")) for world in worlds)
    assert promoted == 4
