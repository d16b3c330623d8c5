"""When the clock of a host is suspicious (DESIGN §3), and what a process remembers of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from rotator.algorithms import kind_of
from rotator.clock import Witness, judge
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile.site import Memory
from rotator.ring import Entry, KeyRing

NOW = datetime(2030, 6, 1, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
POLICY = RotationPolicy(kind_of("RS256"), token_ttl=MINUTE, signer_lag=MINUTE)
SKEW = POLICY.clock_skew
ABSENCE = 2 * POLICY.rotate_every


def latest(date: datetime | None) -> KeyRing:
    """Return a ring whose latest date this is."""
    history = () if date is None else (Entry(date, "key.created"),)
    return KeyRing("orders", revision=1, history=history)


def witness(apart: timedelta, round_trip: timedelta = ZERO) -> Witness:
    """Return a server whose clock is so far from ours."""
    return Witness("the store", NOW + apart, NOW, round_trip)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known, and whether the clock is suspicious then, and confirmed."""

    what: str
    suspicious: str = ""
    confirmed: bool = False
    ring: datetime | None = NOW
    drift: timedelta = ZERO
    witnesses: tuple[Witness, ...] = ()
    operator: bool = False


ROWS = (
    Row("nothing is wrong"),
    Row("no ring yet", ring=None),
    Row("behind the ring by all that is allowed", ring=NOW + SKEW),
    Row("behind the ring by more", "behind the latest date", ring=NOW + SKEW + SECOND),
    Row(
        "behind the ring, and a server agrees with it",
        "behind the latest date",
        ring=NOW + SKEW + SECOND,
        witnesses=(witness(ZERO),),
    ),
    Row("a server confirms", confirmed=True, witnesses=(witness(ZERO),)),
    Row(
        "a server is as far as a Date of whole seconds can tell",
        confirmed=True,
        witnesses=(witness(SKEW + 4 * SECOND, 3 * SECOND),),
    ),
    Row("one second more", "away from that of", witnesses=(witness(SKEW + 2 * SECOND),)),
    Row("a server is behind", "away from that of", witnesses=(witness(-SKEW - 2 * SECOND),)),
    Row(
        "one of two servers disagrees",
        "away from that of the store",
        witnesses=(witness(ZERO), witness(DAY)),
    ),
    Row("parted from CLOCK_BOOTTIME by all that is allowed", drift=SKEW),
    Row("parted by more", "was moved by", drift=SKEW + SECOND),
    Row("moved back", "was moved by", drift=-SKEW - SECOND),
    Row(
        "moved, and a server says that it was set right",
        confirmed=True,
        drift=DAY,
        witnesses=(witness(ZERO),),
    ),
    Row("moved, and an operator says that it is right", confirmed=True, drift=DAY, operator=True),
    Row("a long absence", ring=NOW - ABSENCE),
    Row("a longer one", "ahead of the latest date", ring=NOW - ABSENCE - SECOND),
    Row(
        "a longer one, confirmed by a server",
        confirmed=True,
        ring=NOW - 2 * ABSENCE,
        witnesses=(witness(ZERO),),
    ),
    Row(
        "a longer one, confirmed by an operator",
        confirmed=True,
        ring=NOW - 2 * ABSENCE,
        operator=True,
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_the_verdict(row: Row) -> None:
    """A clock is suspicious exactly when something known contradicts it."""
    verdict = judge(
        latest(row.ring),
        POLICY,
        NOW,
        drift=row.drift,
        witnesses=row.witnesses,
        operator_confirmed=row.operator,
    )
    assert verdict.confirmed is row.confirmed
    assert bool(verdict.suspicious) is bool(row.suspicious)
    assert row.suspicious in verdict.suspicious


def test_a_short_period_does_not_make_an_absence_of_days_suspicious() -> None:
    """More than twice `rotate_every` and more than 30 days."""
    quick = RotationPolicy(kind_of("RS256"), token_ttl=MINUTE, signer_lag=MINUTE, rotate_every=DAY)
    assert not judge(latest(NOW - 30 * DAY), quick, NOW, drift=ZERO).suspicious
    assert judge(latest(NOW - 31 * DAY), quick, NOW, drift=ZERO).suspicious


def test_a_suspend_is_no_leap() -> None:
    """Both clocks go on through it."""
    memory = Memory()
    assert memory.drift(NOW, 100 * SECOND) == ZERO
    assert memory.drift(NOW + 3 * DAY, 100 * SECOND + 3 * DAY) == ZERO
    assert memory.drift(NOW + 4 * DAY, 100 * SECOND + 3 * DAY) == DAY


def test_an_operators_word_holds_for_clocks_that_fit_it() -> None:
    """Given at one host, it says nothing for another whose clock shows another time."""

    def hears(said: datetime, now: datetime) -> bool:
        memory = Memory()
        quiet = KeyRing("orders", revision=1)
        assert not memory.operator_confirmed(quiet, NOW, ZERO, SKEW)
        spoken = KeyRing("orders", revision=2, clock_confirmed_at=said)
        return memory.operator_confirmed(spoken, now, 10 * MINUTE, SKEW)

    assert hears(NOW + 5 * MINUTE, NOW + 10 * MINUTE)
    assert hears(NOW, NOW - SKEW)
    assert not hears(NOW, NOW - SKEW - SECOND)
    assert not hears(NOW, NOW + 10 * MINUTE + SKEW + SECOND)


def test_an_operators_word_from_before_this_process_is_history() -> None:
    """A process that starts with the word in the ring has not heard it now."""
    memory = Memory()
    spoken = KeyRing("orders", revision=2, clock_confirmed_at=NOW)
    assert not memory.operator_confirmed(spoken, NOW, ZERO, SKEW)
    assert not memory.operator_confirmed(spoken, NOW, SECOND, SKEW)
