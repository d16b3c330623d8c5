"""The parts of the daemon alone: agenda, pace, alarm, lanes, waker."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.algorithms import kind_of
from rotator.daemon.agenda import Agenda, Turn
from rotator.daemon.alarm import SchedulerAlarm
from rotator.daemon.lanes import Lanes
from rotator.daemon.pace import RESTLESS, after_outcome, backoff, share_of, shorter
from rotator.daemon.waker import Waker
from rotator.observed import Observed
from rotator.policy import RotationPolicy
from rotator.reconcile.site import Outcome
from rotator.ring import Key, KeyRing, Phase
from rotator.step import Do, Reason, Step

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
BOUND = 60.0  # seconds; only a test that fails waits so long


# --- the agenda -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 50)),
            st.tuples(st.just("take"), st.integers(0, 50), st.just(0)),
        ),
        max_size=120,
    )
)
def test_agenda_is_a_plain_table(actions: list[tuple[str, int, int]]) -> None:
    """Held against a dictionary that is searched whole each time."""
    agenda, table = Agenda(), dict[str, timedelta]()
    for act, first, second in actions:
        if act == "put":
            agenda.put(str(first), Turn(second * SECOND))
            table[str(first)] = second * SECOND
        else:
            due = {name for name, at in table.items() if at <= first * SECOND}
            assert set(agenda.take(first * SECOND)) == due
            table = {name: at for name, at in table.items() if name not in due}
        assert agenda.next_at() == min(table.values(), default=None)
        assert len(agenda) == len(table)


def test_agenda_forgets_what_was_replaced() -> None:
    """A key set that is put off again and again takes no more room."""
    agenda = Agenda()
    for count in range(10_000):
        agenda.put("web", Turn(count * SECOND))
    assert len(agenda._heap) <= 100
    assert agenda.take(DAY) == ["web"]
    assert agenda.take(DAY) == []


def test_leap_forward_brings_dates_nearer_and_nothing_else() -> None:
    """A turn without a date stays; one whose date is past comes at once; none is put off."""
    agenda = Agenda()
    agenda.put("resync", Turn(5 * MINUTE))
    agenda.put("soon", Turn(HOUR, NOW + HOUR))
    agenda.put("later", Turn(3 * HOUR, NOW + 3 * HOUR))
    agenda.reconsider(NOW + 2 * HOUR, SECOND)
    assert agenda.take(SECOND) == ["soon"]
    assert agenda.take(5 * MINUTE) == ["resync"]
    assert agenda.next_at() == HOUR + SECOND
    agenda.reconsider(NOW - DAY, SECOND)
    assert agenda.next_at() == HOUR + SECOND


# --- the pace ---------------------------------------------------------------------------------------


def policy() -> RotationPolicy:
    """A policy with a resync of five minutes."""
    return RotationPolicy(kind_of("ES256", None), HOUR, MINUTE)


def outcome(**more: Any) -> Outcome:
    """A tick that found nothing to do."""
    active = Key("a", "ES256", 256, Phase.ACTIVE, "a", NOW - DAY, activated_at=NOW - DAY)
    fields: dict[str, Any] = {
        "ring": KeyRing("web", 1, (active,)),
        "step": Step(Do.WAIT, Reason.NOT_DUE, "b", NOW + 89 * DAY),
        "changed": False,
        "written": (),
        "failures": {},
        "retry_at": None,
        "observed": Observed(),
        "now": NOW,
    }
    return Outcome(**(fields | more))


def turn(tick: Outcome, *, in_a_row: int = 0, share: float = 0.0) -> timedelta:
    """How long after a tick the next one comes."""
    made = after_outcome(tick, policy(), elapsed=HOUR, now=NOW, share=share, in_a_row=in_a_row)
    return made.at - HOUR


@pytest.mark.parametrize(
    ("tick", "pause"),
    [
        (outcome(), 5 * MINUTE),
        (outcome(changed=True), timedelta(0)),
        (outcome(retry_at=HOUR + 2 * SECOND), 2 * SECOND),
        (outcome(retry_at=timedelta(0)), timedelta(0)),
        (outcome(retry_at=9 * HOUR), 5 * MINUTE),
        (outcome(step=Step(Do.WAIT, Reason.IN_GRACE, "b", NOW + MINUTE)), MINUTE),
        (
            outcome(step=Step(Do.WAIT, Reason.NO_ANSWER, "b", NOW - MINUTE, blocked=True)),
            5 * MINUTE,
        ),
        (outcome(step=Step(Do.WAIT, Reason.PINNED, "b")), 5 * MINUTE),
    ],
    ids=["resync", "changed", "retry", "retry-past", "retry-far", "date", "overdue", "no-date"],
)
def test_next_turn(tick: Outcome, pause: timedelta) -> None:
    """The earliest of resync, a retry, and a date yet to come; at once after a change."""
    assert pause <= turn(tick) <= pause + 10 * timedelta(milliseconds=1)


def test_a_deadline_of_the_ring_counts_too() -> None:
    """What the plan waits for most may not be what comes first."""
    previous = Key("p", "ES256", 256, Phase.RETIRING, "p", NOW - DAY, superseded_at=NOW - HOUR)
    ring = KeyRing("web", 1, (previous,))
    grace = policy().grace_wait
    assert turn(outcome(ring=ring)) <= 5 * MINUTE
    made = after_outcome(outcome(ring=ring), policy(), elapsed=HOUR, now=NOW, share=0.0, in_a_row=0)
    assert made.date == NOW - HOUR + grace


def test_restlessness_is_slowed_down() -> None:
    """At once fifty times; then ever later, at most a resync."""
    assert turn(outcome(changed=True), in_a_row=RESTLESS) == timedelta(0)
    assert turn(outcome(changed=True), in_a_row=RESTLESS + 3) == 4 * SECOND
    assert turn(outcome(changed=True), in_a_row=RESTLESS + 99) == 5 * MINUTE


def test_jitter_goes_downwards_only_and_keeps_key_sets_apart() -> None:
    """A resync never comes later than configured; ten thousand key sets do not come together."""
    assert shorter(MINUTE, 0.0) == MINUTE
    assert shorter(MINUTE, 1.0) == 0.8 * MINUTE
    assert shorter(MINUTE, 9.0) == 0.8 * MINUTE
    shares = sorted(share_of(f"tenant-{n}", 0.5) for n in range(1000))
    assert shares[-1] - shares[0] > 0.4
    assert share_of("web", 0.1) != share_of("web", 0.9)
    assert backoff(1, HOUR) == SECOND
    assert backoff(10_000, HOUR) == HOUR


# --- the alarm: the traps of the scheduler, measured ------------------------------------------------


class Bell:
    """Counts rings, and lets a test wait for one."""

    def __init__(self) -> None:
        self.count = 0
        self._new = threading.Condition()

    def ring(self) -> None:
        with self._new:
            self.count += 1
            self._new.notify_all()

    def wait_for(self, count: int, bound: float = BOUND) -> bool:
        with self._new:
            return self._new.wait_for(lambda: self.count >= count, bound)


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def alarm(bell: Bell) -> Iterator[SchedulerAlarm]:
    made = SchedulerAlarm(bell.ring)
    yield made
    made.close()


def test_alarm_rings_once(bell: Bell, alarm: SchedulerAlarm) -> None:
    """The last word counts."""
    alarm.set(HOUR)
    alarm.set(timedelta(0))
    assert bell.wait_for(1)
    assert not bell.wait_for(2, 0.2)


def test_alarm_is_set_without_a_descriptor(bell: Bell, alarm: SchedulerAlarm) -> None:
    """With every file open that there may be, the first alarm looks nothing up in the installed packages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        alarm.set(timedelta(0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert bell.wait_for(1)


def test_alarm_that_is_late_still_rings(bell: Bell, alarm: SchedulerAlarm) -> None:
    """The scheduler's own default drops a run that is a second late."""
    with time_machine.travel(NOW, tick=True) as moved:
        alarm.set(HOUR)
        moved.shift(2 * HOUR)
        alarm._scheduler.wakeup()
        assert bell.wait_for(1)


def test_clock_ten_years_ahead_rings_once(bell: Bell, alarm: SchedulerAlarm) -> None:
    """An interval of a second would work out three hundred million missed runs first."""
    with time_machine.travel(NOW, tick=True) as moved:
        alarm.set(MINUTE)
        moved.shift(3650 * DAY)
        alarm._scheduler.wakeup()
        assert bell.wait_for(1)
        assert not bell.wait_for(2, 0.2)


def test_clock_set_back_puts_nothing_off_for_longer_than_a_heartbeat(
    bell: Bell, alarm: SchedulerAlarm
) -> None:
    """The scheduler waits for the wall clock; set anew from CLOCK_BOOTTIME, it rings in time."""
    # The time stands still: it must not ring before the clock is set back.
    with time_machine.travel(NOW, tick=False) as moved:
        alarm.set(0.2 * SECOND)
        moved.shift(-HOUR)
        moved.shift(0.5 * SECOND)
        alarm._scheduler.wakeup()
        assert not bell.wait_for(1, 0.5)  # an hour too late by now, if nobody did anything
        alarm.set(timedelta(0))
        assert bell.wait_for(1)


def test_no_hour_comes_twice(alarm: SchedulerAlarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the zone of the host: 1:30 on the night that New York sets its clocks back is one date."""
    monkeypatch.setenv("TZ", "America/New_York")
    with time_machine.travel(datetime(2026, 11, 1, 5, 0, tzinfo=UTC), tick=False):
        alarm.set(30 * MINUTE)
        [job] = alarm._scheduler.get_jobs()
        assert job.next_run_time == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
        assert job.next_run_time.utcoffset() == timedelta(0)
        assert job.misfire_grace_time is None
        assert job.coalesce


def test_alarms_in_quick_succession_all_ring(bell: Bell, alarm: SchedulerAlarm) -> None:
    """The scheduler skips a run while it still counts the one before, and forgets a job with one date."""
    for count in range(1, 300):
        alarm.set(timedelta(0))
        assert bell.wait_for(count), count


# --- the lanes --------------------------------------------------------------------------------------


def test_lanes_finish_what_runs_and_drop_what_waits() -> None:
    """Closing waits for the jobs under way only."""
    lanes = Lanes(fast=1)
    go_on, inside, done = threading.Event(), threading.Event(), list[int]()

    def first() -> None:
        inside.set()
        assert go_on.wait(BOUND)
        done.append(1)

    lanes.submit(("a", False), first)
    assert inside.wait(BOUND)
    lanes.submit(("a", False), lambda: done.append(2))
    lanes.close()
    assert not lanes.wait_idle(0.0)
    go_on.set()
    assert lanes.wait_idle(BOUND)
    lanes.submit(("a", False), lambda: done.append(3))
    assert done == [1]


def test_lanes_take_no_more_threads_than_they_may() -> None:
    """A thousand jobs of two stores: four threads each, made when needed."""
    before, most, lock = set(threading.enumerate()), 0, threading.Lock()
    lanes, left = Lanes(fast=4), threading.Semaphore(0)

    def job() -> None:
        nonlocal most
        with lock:
            made = set(threading.enumerate()) - before
            most = max(most, sum(thread.name in {"s0", "s1"} for thread in made))
        left.release()

    for count in range(1000):
        lanes.submit((f"s{count % 2}", False), job)
    for _ in range(1000):
        assert left.acquire(timeout=BOUND)
    lanes.close()
    assert lanes.wait_idle(BOUND)
    assert 0 < most <= 8


# --- the waker --------------------------------------------------------------------------------------


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


def in_time(act: Callable[[], None]) -> bool:
    """True when something returns within the bound."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(BOUND)
    return not thread.is_alive()


def test_waker_remembers_a_wake_before_the_wait(waker: Waker) -> None:
    """And takes many for one; afterwards it waits again."""
    for _ in range(100_000):  # more than the pipe holds
        waker.wake()
    assert in_time(lambda: waker.wait(600))
    assert in_time(lambda: waker.wait(0.01))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_wait(waker: Waker, number: signal.Signals) -> None:
    """Whether it comes before the wait or in it; a second one makes impatient; handlers come back."""
    before = signal.getsignal(number)
    with waker.on_signals():
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        while not waker.stopping:
            waker.wait(BOUND)
        assert (waker.signal, waker.impatient) == (number, False)
        os.kill(os.getpid(), number)
        waker.wait(BOUND)
        assert waker.impatient
    assert signal.getsignal(number) is before


def test_waker_in_another_thread_leaves_signals_alone(waker: Waker) -> None:
    """Only the main thread may ask for them."""

    def elsewhere() -> None:
        with waker.on_signals():
            waker.stop()

    assert in_time(elsewhere)
    assert (waker.stopping, waker.signal) == (True, None)


def test_waker_that_is_closed_is_harmless(tmp_path: Path) -> None:
    """A worker that comes back late must not write into a file that got the number since."""
    waker = Waker()
    waker.close()
    with (tmp_path / "file").open("wb") as file:
        waker.wake()
        file.flush()
    assert (tmp_path / "file").read_bytes() == b""
