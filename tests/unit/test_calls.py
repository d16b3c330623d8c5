"""What surrounds every call to a server elsewhere: retries, log lines, and what its clock is worth."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stamina
import structlog
from stamina.instrumentation import get_on_retry_hooks

from rotator import calls
from rotator.calls import Calls, JustWritten, server_time
from rotator.errors import Conflict, StoreDenied, StoreError, StoreUnavailable


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(testing=False):
        yield


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait between two attempts would have been; none is waited for."""
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    return slept


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], str]:
    """Return a step that fails so many times, then succeeds."""
    left = [times]

    def step() -> str:
        if left[0]:
            left[0] -= 1
            raise error()
        return "done"

    return step


def test_what_may_pass_is_tried_again(waits: list[float]) -> None:
    """The waits double and have a jitter; the outcome of each attempt is logged, and no argument."""
    with structlog.testing.capture_logs() as lines:
        said = Calls("vault", "https://vault.example").attempt(
            "ring.load", "web", failing(3, lambda: StoreUnavailable("later"))
        )
    assert said == "done"
    assert [line["outcome"] for line in lines] == [*["StoreUnavailable"] * 3, "ok"]
    assert {(line["op"], line["key_set"], line["store"]) for line in lines} == {
        ("ring.load", "web", "https://vault.example")
    }
    for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True):
        assert least <= wait <= least + 0.1


@pytest.mark.parametrize(
    "error",
    [
        Conflict("somebody was faster"),
        StoreDenied("not you"),
        StoreUnavailable("a certificate", lasting=True),
        StoreUnavailable("far away", retry_after=31.0),
        ValueError("not ours"),
    ],
)
def test_what_stays_is_not(waits: list[float], error: Exception) -> None:
    """What another attempt cannot change ends the step at once."""
    runs: list[int] = []

    def step() -> None:
        runs.append(1)
        raise error

    with pytest.raises(type(error)) as raised:
        Calls("aws", "eu-west-1").attempt("ring.save", "web", step)
    assert raised.value is error
    assert (len(runs), waits) == (1, [])


def test_a_server_says_how_long_to_wait(waits: list[float]) -> None:
    """`Retry-After` is obeyed to the second."""
    step = failing(2, lambda: StoreUnavailable("too many requests", retry_after=7.0))
    assert Calls("aws", "x").attempt("op", None, step) == "done"
    assert waits == [7.0, 7.0]


def test_attempts_are_bounded(waits: list[float]) -> None:
    """The last error is the one that is raised."""
    step = failing(99, lambda: StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable, match="down"):
        Calls("aws", "x", attempts=3).attempt("op", None, step)
    assert len(waits) == 2


def test_patience_is_bounded(waits: list[float]) -> None:
    """No attempt begins after the patience, however many are left."""
    step = failing(99, lambda: StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable, match="down"):
        Calls("aws", "x", attempts=20, patience=1e-9).attempt("op", None, step)
    assert waits == []


@pytest.mark.usefixtures("waits")
def test_stamina_logs_nothing() -> None:
    """Its hooks would log the arguments of what is tried again."""
    step = failing(1, lambda: StoreUnavailable("down"))
    Calls("aws", "x").attempt("op", None, step)
    assert get_on_retry_hooks() == ()


NOW = "Sun, 22 Nov 2026 09:00:00 GMT"


def test_a_server_elsewhere_is_a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `Date`, and how long the answer took."""
    monkeypatch.setattr(calls, "_is_here", lambda *_: False)
    said = server_time("https://vault.example:8200", NOW, time.monotonic() - 2)
    assert said is not None
    assert said.date == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert timedelta(seconds=2) <= said.round_trip < timedelta(seconds=60)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost"])
def test_a_server_here_is_none(url: str) -> None:
    """It has the very clock that is in question."""
    assert server_time(url, NOW, time.monotonic()) is None


def test_this_machine_by_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that connections come from when they go to it is ours, loopback or not."""

    def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (own, 8200))]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = str(probe.getsockname()[0])
    monkeypatch.setattr("rotator.calls.socket.getaddrinfo", resolved)
    calls._is_here.cache_clear()
    assert server_time("http://vault.example:8200", NOW, time.monotonic()) is None
    calls._is_here.cache_clear()


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 09:00:00 GMT"])
def test_no_date_says_nothing(monkeypatch: pytest.MonkeyPatch, date: str | None) -> None:
    """A proxy may leave it out, or write nonsense."""
    monkeypatch.setattr(calls, "_is_here", lambda *_: False)
    assert server_time("https://vault.example", date, time.monotonic()) is None


def test_only_store_errors_carry_an_exit_code() -> None:
    """The new fields change nothing of how an error reads."""
    error: StoreError = StoreUnavailable("down", hint="wait", retry_after=3.0)
    assert (str(error), error.exit_code) == ("down: wait", 69)


def test_what_was_written_a_moment_ago_is_there() -> None:
    """An old answer is not believed for a while; what was removed since, or never written, may be missing."""
    fresh = JustWritten()
    fresh.note("a")
    fresh.note("b")
    fresh.forget("b")
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        fresh.refuse("a", "the store")
    fresh.refuse("b", "the store")
    fresh.refuse("c", "the store")
    past = JustWritten(seconds=0.0)
    past.note("a")
    past.refuse("a", "the store")
