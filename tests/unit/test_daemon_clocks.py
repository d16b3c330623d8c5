"""Clocks that leap, hosts that sleep, stores that come back: what the daemon does, on a moved clock.

The truth is CLOCK_BOOTTIME; the wall clock is what the host believes.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.errors import StoreUnavailable
from rotator.stores import Document, DocumentKind, Sight, Stored, VersionToken
from tests.unit.daemon_world import HOUR, MINUTE, SECOND, START, MovedClock, Odd, World, policy

DAY = timedelta(days=1)
EVERY = 2 * HOUR  # `rotate_every` of these worlds
LATE = policy().resync + MINUTE


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes a world whose log notes CLOCK_BOOTTIME beside each event."""
    made: list[World] = []

    def make(start: datetime = START) -> World:
        world = World(tmp_path, clock=MovedClock(wall=start))
        emit = world.log.emit

        def dated(level: str, event: str, **fields: Any) -> None:
            emit(level, event, **fields, boot=world.clock.boot)

        world.log.emit = dated  # type: ignore[method-assign]
        made.append(world)
        return world

    yield make
    for world in made:
        world.waker.close()


def boots(world: World, event: str) -> list[timedelta]:
    return [fields["boot"] for fields in world.log.named(event)]


def held(world: World, *, apart: timedelta = EVERY) -> None:
    """Nothing was promoted or retired before its time, and no key was promoted or retired twice."""
    promoted = boots(world, "key.promoted")
    assert all(later - earlier >= apart for earlier, later in pairwise(promoted))
    superseded = {item["kid"]: item["boot"] for item in world.log.named("key.superseded")}
    for item in world.log.named("key.retired"):
        assert item["boot"] - superseded[item["kid"]] >= policy().grace_wait - SECOND
    for event in ("key.promoted", "key.retired"):
        kids = Counter(item["kid"] for item in world.log.named(event))
        assert set(kids.values()) <= {1}


LEAPS = {"+2h": 2 * HOUR, "-1h": -HOUR, "+10y": 3650 * DAY, "-10y": -3650 * DAY}


@pytest.mark.parametrize("leap", LEAPS.values(), ids=LEAPS)
def test_a_leap_that_is_taken_back(make_world: Callable[..., World], leap: timedelta) -> None:
    """For two hours and a half the clock is wrong: nothing is promoted or retired; then each rotation once, on time."""
    world = make_world()
    daemon = world.daemon([world.site()])
    world.go_on(daemon, 3 * HOUR)
    before = len(boots(world, "key.promoted")), len(boots(world, "key.retired"))
    world.clock.wall += leap
    wrong = world.clock.boot
    world.go_on(daemon, 2.5 * HOUR)
    assert (len(boots(world, "key.promoted")), len(boots(world, "key.retired"))) == before
    assert world.log.named("clock.suspicious")
    world.clock.wall -= leap
    right = world.clock.boot
    world.go_on(daemon, 3 * HOUR)
    assert len(world.log.named("clock.jumped")) == 2
    assert world.log.named("clock.trusted")
    promoted = boots(world, "key.promoted")
    assert [at for at in promoted if wrong < at < right] == []
    assert promoted[before[0]] - right <= LATE  # overdue since before: as soon as it may
    assert len(promoted) == before[0] + 2
    held(world)


@pytest.mark.parametrize("leap", [2 * HOUR, -HOUR], ids=["+2h", "-1h"])
def test_a_witness_says_when_the_clock_is_right_again(
    make_world: Callable[..., World], leap: timedelta
) -> None:
    """A server elsewhere: against it the clock is suspicious, and with it trusted, without an operator."""
    world = make_world()
    error = [timedelta(0)]
    probe = Odd(world.path / "web.json", time=lambda: world.clock.wall - error[0])
    daemon = world.daemon([world.site("web", probe)])
    world.go_on(daemon, 3 * HOUR)
    world.clock.wall += leap
    error[0] = leap  # the witness does not leap with us: we are wrong
    world.go_on(daemon, HOUR)
    assert world.log.named("clock.suspicious")
    assert not world.log.named("clock.trusted")
    world.clock.wall -= leap
    error[0] = timedelta(0)
    world.go_on(daemon, HOUR)
    assert world.log.named("clock.trusted")
    held(world)


def test_the_true_leap_needs_no_operator(make_world: Callable[..., World]) -> None:
    """NTP corrects a host that was an hour slow: with a witness it is trusted at the next look."""
    world = make_world()
    behind = [HOUR]
    probe = Odd(world.path / "web.json", time=lambda: world.clock.wall + behind[0])
    daemon = world.daemon([world.site("web", probe)])
    world.go_on(daemon, HOUR)
    assert not world.log.named("key.promoted")
    world.clock.wall += HOUR
    behind[0] = timedelta(0)
    world.go_on(daemon, 30 * MINUTE)
    assert len(world.log.named("key.promoted")) == 1


@pytest.mark.parametrize("step", [4 * SECOND, -4 * SECOND], ids=["forward", "back"])
def test_a_small_step_of_ntp_changes_nothing(
    make_world: Callable[..., World], step: timedelta
) -> None:
    """Within `clock_skew` it is said and otherwise ignored."""
    world = make_world()
    daemon = world.daemon([world.site()])
    world.go_on(daemon, 3 * HOUR)
    world.clock.wall += step
    world.go_on(daemon, 2.5 * HOUR)
    assert len(world.log.named("clock.jumped")) == 1
    assert not world.log.named("clock.suspicious")
    assert len(boots(world, "key.promoted")) == 3
    held(world, apart=EVERY - abs(step))


@pytest.mark.parametrize("nap", [HOUR, 5 * HOUR, 20 * DAY], ids=["1h", "5h", "20d"])
def test_a_suspend_makes_one_rotation_and_not_many(
    make_world: Callable[..., World], nap: timedelta
) -> None:
    """What became due meanwhile is done once, in the safe order, and its successor waits its time."""
    world = make_world()
    daemon = world.daemon([world.site()])
    world.go_on(daemon, 3 * HOUR)
    before = len(boots(world, "key.promoted"))
    world.clock.advance(nap)
    awake = world.clock.boot
    world.go_on(daemon, 90 * MINUTE)
    assert not world.log.named("clock.jumped")
    assert not world.log.named("clock.suspicious")
    promoted = boots(world, "key.promoted")
    assert len(promoted) == before + 1
    assert promoted[-1] - awake <= max(LATE, EVERY - nap)
    order = [name for _, name, fields in world.log.events if fields["boot"] >= awake]
    assert order.index("key.promoted") < order.index("key.delivered")
    assert order.index("key.delivered") < order.index("key.superseded")
    held(world)


@pytest.mark.parametrize(
    "night",
    [datetime(2026, 3, 8, 4, 30, tzinfo=UTC), datetime(2026, 11, 1, 4, 30, tzinfo=UTC)],
    ids=["mar", "nov"],
)
def test_no_hour_of_a_dst_day_comes_twice_or_never(
    make_world: Callable[..., World], night: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every two hours over the nights on which New York sets its clocks."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        world = make_world(night)
        daemon = world.daemon([world.site()])
        world.go_on(daemon, 5 * HOUR)
        first, *others = boots(world, "key.promoted")
        assert [round((at - first) / SECOND) for at in others] == [2 * 3600, 4 * 3600]
        assert not world.log.named("clock.jumped")
        held(world)
    finally:
        monkeypatch.undo()
        time.tzset()


# --- one line an hour -------------------------------------------------------------------------------


def test_one_status_line_an_hour(make_world: Callable[..., World]) -> None:
    """How many, how they are, and when the last one was ticked; a warning while something is amiss."""
    world = make_world()
    down = True

    class Down:
        def load(self) -> Stored | None:
            if down:
                raise StoreUnavailable("the store does not answer")
            return rings.load()

        def save(self, document: bytes, *, replacing: Any) -> Any:
            return rings.save(document, replacing=replacing)

    good, bad = world.site("web"), world.site("api")
    rings = bad.rings
    bad.rings = Down()
    daemon = world.daemon([good, bad])
    world.go_on(daemon, 3 * HOUR + 10 * MINUTE)
    said = [item for item in world.log.events if item[1] == "daemon.status"]
    assert [level for level, _, _ in said] == ["warning"] * 3
    assert said[-1][2]["key_sets"] == 2
    assert said[-1][2]["failing"] == 1
    assert said[-1][2]["last_success"].startswith("2030-01-01T0")
    state = daemon.state.key_sets()
    assert state["api"].failing == "the store does not answer"
    assert state["api"].failures > 3
    assert state["api"].last_success is None
    assert state["web"].last_success is not None
    assert state["web"].next_due is not None
    assert not state["web"].is_overdue(world.clock.wall)
    down = False
    world.go_on(daemon, 2 * HOUR)
    assert [level for level, name, _ in world.log.events if name == "daemon.status"][-1] == "info"
    assert daemon.state.key_sets()["api"].failing == ""


def test_a_store_that_is_down_past_a_deadline_shows_as_overdue(
    make_world: Callable[..., World],
) -> None:
    """By then nobody can tick it: what was due when it was last seen tells."""
    world = make_world()
    down = False

    class Shaky:
        def load(self) -> Stored | None:
            if down:
                raise StoreUnavailable("the store does not answer")
            return rings.load()

        def save(self, document: bytes, *, replacing: Any) -> Any:
            return rings.save(document, replacing=replacing)

    site = world.site()
    rings = site.rings
    site.rings = Shaky()
    daemon = world.daemon([site])
    world.go_on(daemon, HOUR)
    down = True
    world.go_on(daemon, 30 * MINUTE)
    assert not daemon.state.key_sets()["web"].is_overdue(world.clock.wall)
    world.go_on(daemon, HOUR)
    assert daemon.state.key_sets()["web"].is_overdue(world.clock.wall)
    assert world.log.named("daemon.status")[-1]["overdue"] == 1 or world.clock.boot < 3 * HOUR
    down = False
    world.go_on(daemon, 10 * MINUTE)
    assert not daemon.state.key_sets()["web"].is_overdue(world.clock.wall)
    held(world)


# --- a thousand at once -----------------------------------------------------------------------------


class Shelf:
    """A store of a thousand rings in memory that can be down; it notes when it was asked."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock, self.down = clock, False
        self.asked: list[timedelta] = []

    def rings(self, stored: Stored) -> Any:
        shelf = self

        class Rings:
            def load(self) -> Stored:
                shelf.asked.append(shelf.clock.boot)
                if shelf.down:
                    raise StoreUnavailable("the store does not answer")
                return stored

            def save(self, _document: bytes, **_: Any) -> Any:
                raise AssertionError("nothing is due")

        return Rings()

    def busiest(self, since: timedelta, window: timedelta) -> int:
        """The most calls in any second of a window."""
        seconds = Counter(
            int(at.total_seconds()) for at in self.asked if since <= at < since + window
        )
        return max(seconds.values(), default=0)


class Still:
    """A target that holds what it holds."""

    writable = True
    independent = True

    def __init__(self, name: str, kind: DocumentKind, document: Document) -> None:
        self.name, self.kind, self._document = name, kind, document

    def look(self) -> Sight:
        return Sight(self._document)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:  # noqa: ARG002
        raise AssertionError("nothing is amiss")


def test_a_thousand_key_sets_do_not_stampede_when_their_store_recovers(
    make_world: Callable[..., World],
) -> None:
    """They come back within a resync, spread over it; and while it is down, ever more rarely."""
    world = make_world()
    model = world.site(rotate_every=100 * HOUR)
    world.go_on(world.daemon([model]), MINUTE)
    stored = model.rings.load()
    assert stored is not None
    shelf, sites = Shelf(world.clock), []
    looks = [(target, target.look().document) for target in model.targets]
    for number in range(1000):
        name = f"tenant-{number}"
        ring = replace(stored, document=stored.document.replace(b'"web"', f'"{name}"'.encode()))
        targets = tuple(
            Still(target.name, target.kind, replace(document, key_set=name))
            for target, document in looks
            if document is not None
        )
        site = world.site(name, rotate_every=100 * HOUR)
        site.rings, site.targets, site.emit = shelf.rings(ring), targets, world.log.emit
        sites.append(site)
    dice = iter(range(10**9))
    daemon = world.daemon(sites, chance=lambda: (next(dice) * 0.6180339887) % 1)
    shelf.down = True  # from the start: all of them begin at the same moment
    world.go_on(daemon, 15 * MINUTE)
    assert len(world.log.named("key_set.failing")) == 1000
    calm = world.clock.boot - 5 * MINUTE
    assert shelf.busiest(calm, 5 * MINUTE) <= 40  # of a thousand
    shelf.down = False
    back = world.clock.boot
    world.go_on(daemon, 5 * MINUTE)
    assert len(world.log.named("key_set.healed")) == 1000
    assert shelf.busiest(back, 5 * MINUTE) <= 40
