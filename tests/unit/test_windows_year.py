"""A year of change windows, both DST days and a freeze in it: the daemon on a moved clock, and `plan` beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from rotator.algorithms import kind_of
from rotator.calendar import forecast
from rotator.daemon import Daemon, Waker
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, broken_clauses
from rotator.rehearsal.clocks import START
from rotator.rehearsal.world import Settings, World
from rotator.ring import KeyRing
from rotator.step import Do, Reason, Step
from rotator.window_contract import unmet
from rotator.windows import Freeze, Opening, Windows
from tests.unit.daemon_world import AtOnce

DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
# On Sundays from an hour that the one DST day leaves out and that comes twice on the other.
SUNDAYS = Windows(
    (Opening((6,), 2 * 60 + 30, 8 * 60 + 30),),
    (Freeze((12, 18), (12, 31), "the end of the year"),),
    "Europe/Berlin",
)
POLICY = RotationPolicy(
    kind_of("ES256"),
    token_ttl=timedelta(hours=1),
    signer_lag=timedelta(minutes=5),
    rotate_every=6 * DAY + timedelta(hours=12),
    propagation=DAY,
    resync=timedelta(hours=4),
    windows=SUNDAYS,
)
SECOND = timedelta(seconds=1)
TARGETS = {"jwks": DocumentKind.JWKS, "signing": DocumentKind.SIGNING}


class Life:
    """A daemon with one key set, over walls in memory that watch the promise."""

    def __init__(self, name: str) -> None:
        world = type("Named", (World,), {"key_set": name})(POLICY)
        assert isinstance(world, World)
        self.world = world
        for target, kind in TARGETS.items():
            world.place(target, kind)
        self.process = world.process("one", Settings(POLICY, tuple(TARGETS)))
        self.waker, self.promoted = Waker(), list[datetime]()
        self.said: list[tuple[str, str, dict[str, Any]]] = []
        self.process.site.emit = self._emit

    def _emit(self, level: str, event: str, **fields: Any) -> None:
        self.said.append((level, event, fields))
        if event == "key.promoted":
            self.promoted.append(self.world.now)

    def daemon(self) -> Daemon:
        """Start a daemon, without a memory of any before."""
        site = self.process.site
        return Daemon(
            [site],
            store_of=lambda _: "memory",
            clock=site.clock,
            emit=self._emit,
            waker=self.waker,
            workers=AtOnce(),
            chance=lambda: 0.5,
        )

    def go_on(self, daemon: Daemon, duration: timedelta) -> int:
        """Let the daemon live for a while, each turn at its time; return how many ticks there were."""
        until, ticks = self.world.now + duration, 0
        while self.world.now < until:
            daemon.compare_clocks()
            ticks += daemon.dispatch()
            at = daemon.next_at()
            assert at is not None
            self.world.advance(min(START + at, until) - self.world.now)
        return ticks


@pytest.fixture
def make_life() -> Iterator[Callable[[str], Life]]:
    """Makes lives, and lets go of their wakers."""
    made: list[Life] = []

    def make(name: str) -> Life:
        made.append(Life(name))
        return made[-1]

    yield make
    for life in made:
        life.waker.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


def _allowed(at: datetime) -> bool:
    """What an operator reads off the clock on the wall and the calendar beside it."""
    wall = at.astimezone(BERLIN)
    frozen = date(wall.year, 12, 18) <= wall.date() <= date(wall.year, 12, 31)
    return wall.weekday() == 6 and time(2, 30) <= wall.time() < time(8, 30) and not frozen


def _planned(name: str, days: int) -> list[Step]:
    """Return the promotions of `rotator plan --until`."""
    steps = forecast(KeyRing(name), POLICY, START, START + days * DAY, TARGETS)
    return [step for step in steps if step.do is Do.PROMOTE]


def test_every_promotion_of_a_year_is_inside_a_window_and_as_planned(
    make_life: Callable[[str], Life],
) -> None:
    """Show 12: to the second, for key sets with moments of their own; no token is rejected."""
    assert (broken_clauses(POLICY), unmet(POLICY)) == ((), ())
    moments = []
    for name, days, sundays in (("web", 365, 49), ("mobile", 100, 13)):
        planned, life = _planned(name, days), make_life(name)
        ticks = life.go_on(life.daemon(), days * DAY)
        assert not [event for level, event, _ in life.said if level in ("warning", "error")]
        first, *later = life.promoted
        assert (first, planned[0].reason) == (START, Reason.FIRST_ANNOUNCED)  # waits for no window
        assert {step.reason for step in planned[1:]} == {Reason.ROTATION_DUE}
        assert len(later) == len(planned) - 1 == sundays  # from the second on, the frozen ones not
        assert all(map(_allowed, later))
        apart = [
            abs(at - (step.due_at or START)) for at, step in zip(later, planned[1:], strict=True)
        ]
        assert max(apart) < SECOND
        # Nothing but the slow resync and the dates themselves asked for a tick.
        assert ticks < days * DAY / (POLICY.resync * 0.8) + (sundays + 2) * 12, ticks
        moments.append([at.replace(microsecond=0) for at in later])
    dates = {at.astimezone(BERLIN).date() for at in moments[0]}
    assert {date(2030, 3, 31), date(2030, 10, 27)} <= dates  # both DST days
    assert not {date(2030, 12, 22), date(2030, 12, 29)} & dates
    assert not set(moments[0]) & set(moments[1])


def test_a_daemon_that_missed_a_window_says_so_and_takes_the_next(
    make_life: Callable[[str], Life],
) -> None:
    """Overdue while it waits, with the window to blame; on time in the window that comes."""
    life = make_life("web")
    life.go_on(life.daemon(), 3 * DAY)
    life.world.advance(11 * DAY)  # the host was off, Sunday 13 January included
    daemon = life.daemon()
    life.go_on(daemon, SECOND)
    found = daemon.state.find("web")
    assert found is not None
    assert (found.overdue, found.reason) == (True, "window-closed")
    assert found.next_due is not None
    assert _allowed(found.next_due)
    assert found.next_due.astimezone(BERLIN).date() == date(2030, 1, 20)
    waits = [fields["detail"] for _, event, fields in life.said if event == "step.waiting"]
    assert "a change window was missed: 2030-01-13T01:" in waits[-1]
    life.go_on(daemon, found.next_due - life.world.now + SECOND)
    assert abs(life.promoted[-1] - found.next_due) < SECOND
