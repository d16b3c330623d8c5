"""Acting on several things at the same time: order, bounds, failures, and what is made only once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from rotator.errors import StoreUnavailable
from rotator.reconcile.together import AT_A_TIME, Bound, Once, Spread, one_by_one, together
from tests.emergency.ground import BOUND, Hanging, all_ended

AT_ONCE = timedelta(milliseconds=50)


def test_all_act_at_the_same_time_and_results_keep_their_order() -> None:
    """Twenty meet before any goes on."""
    meeting = threading.Barrier(20)

    def act(number: int) -> int:
        meeting.wait(BOUND)
        return number * 2

    assert together(act, range(20)) == [number * 2 for number in range(20)]


def test_the_threads_are_bounded_and_end() -> None:
    """Never more than the bound at a time, and none is left over."""
    lock, now, most = threading.Lock(), 0, 0
    full = threading.Event()

    def act(_number: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now == AT_A_TIME:
                full.set()
        assert full.wait(BOUND)
        with lock:
            now -= 1

    together(act, range(3 * AT_A_TIME))
    assert most == AT_A_TIME
    all_ended()


def test_one_needs_no_thread() -> None:
    """Neither does none."""
    assert together(lambda _: threading.current_thread(), [1]) == [threading.current_thread()]
    assert together(str, []) == []


@pytest.mark.parametrize("spread", [one_by_one, together])
def test_the_first_failure_in_order_is_raised(spread: Spread) -> None:
    """Whichever came first in time."""
    last_failed = threading.Event()

    def act(number: int) -> int:
        if number == 1:
            assert not at_the_same_time or last_failed.wait(BOUND)
            raise KeyError(number)
        if number == 2:
            last_failed.set()
            raise ValueError(number)
        return number

    at_the_same_time = "together" in repr(spread)
    with pytest.raises(KeyError):
        spread(act, range(3))


def test_what_hangs_is_not_waited_for() -> None:
    """With a bound: the others' results are there, and something stands for the one that hangs."""
    hanging = Hanging()

    def act(number: int) -> str:
        if number == 1:
            hanging()
        return f"done {number}"

    for seconds in (1, 20):  # on a machine that stands still for a second, all are late
        bound: Bound[int, str] = Bound(timedelta(seconds=seconds), "late {}".format)
        found = together(act, range(4), bound)
        if found == ["done 0", "late 1", "done 2", "done 3"]:
            break
    hanging.let_go()
    assert found == ["done 0", "late 1", "done 2", "done 3"]


def test_what_has_not_begun_in_time_never_begins() -> None:
    """For it would do so when nobody reckons with it any more."""
    for patience in (AT_ONCE, 200 * AT_ONCE):
        begun = _begun_within(patience)
        # Of those that had a thread, some may not have begun in time either.
        assert set(begun) <= set(range(AT_A_TIME))
        if len(begun) == AT_A_TIME:
            break
    assert sorted(begun) == list(range(AT_A_TIME))


def _begun_within(patience: timedelta) -> list[int]:
    """Act on one more than there are threads, all of which hang; return which were begun, in the end."""
    hanging, begun = Hanging(), []

    def act(number: int) -> int:
        begun.append(number)
        hanging()
        return number

    found = together(act, range(AT_A_TIME + 1), Bound(patience, lambda _: -1))
    assert found == [-1] * (AT_A_TIME + 1)
    hanging.let_go()
    all_ended()
    return begun


def test_it_is_made_once_whoever_asks() -> None:
    """Also when it cannot be made: the others are told the same."""
    once: Once[int] = Once()
    made = []

    def make() -> int:
        made.append(1)
        return 7

    assert together(lambda _: once.get("a", make), range(20)) == [7] * 20
    assert len(made) == 1

    def fail() -> int:
        made.append(2)
        raise StoreUnavailable("down")

    def ask(_number: int) -> str:
        with pytest.raises(StoreUnavailable) as caught:
            once.get("b", fail)
        return caught.value.message

    assert together(ask, range(20)) == ["down"] * 20
    assert made == [1, 2]
