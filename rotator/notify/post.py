"""The thread of each receiver: one event at a time, the next one only when this one was taken.

One receiver that is down holds up neither another one nor a tick. It is never given up: what it has not
confirmed stays in the ledger, and each try comes later than the last, up to five minutes.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from rotator.notify.case import Due
from rotator.notify.receivers import Send, Undelivered, where
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit
from rotator.settings.result import ReceiverSettings

_FIRST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(minutes=5)
_GLANCE: Final = 30.0  # seconds; a clock that was set, or a suspend, is noticed after this
_TOGETHER: Final = 10  # events of one key set that are confirmed with one write


class Office(Protocol):
    """What a post asks of the desk: what is due, and what became of it. Called without any lock held."""

    def next_of(self, key_set: str, receiver: ReceiverSettings) -> Due | None:
        """Return the next event of a key set for a receiver, None when it was told everything."""
        ...

    def done(self, key_set: str, due: Due) -> None:
        """Note that an event was taken."""
        ...

    def write(self, key_set: str) -> None:
        """Write down, soon, what was noted."""
        ...

    def behind(self, key_set: str, receiver: ReceiverSettings) -> None:
        """Note that a receiver is behind."""
        ...


@dataclass(slots=True)
class Post:
    """What goes to one receiver.

    Attributes:
        outcomes: how many tries ended how: `sent`, `failed`, `skipped`.
        failing: why the last try failed; empty when it did not.
    """

    receiver: ReceiverSettings
    send: Send
    office: Office
    clock: Clock
    emit: Emit
    chance: Callable[[], float] = random.random
    outcomes: Counter[str] = field(default_factory=Counter)
    failing: str = ""
    _ready: dict[str, None] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _failures: int = 0
    _again_at: timedelta = timedelta(0)
    _taken: int = 0
    _current: str | None = None
    _ended: bool = False

    def offer(self, key_set: str) -> None:
        """Say that there may be something to tell of a key set."""
        with self._changed:
            self._ready.setdefault(key_set)
            self._changed.notify_all()

    def ready(self) -> list[str]:
        """Return the key sets of which there may be something to tell."""
        with self._changed:
            now = () if self._current is None else (self._current,)
            return list(dict.fromkeys((*now, *self._ready)))

    def start(self) -> None:
        """Begin to send, in a thread of its own; harmless when it has begun."""
        with self._changed:
            if self._thread is None and not self._ended:
                name = f"notify-{self.receiver.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Begin nothing any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Look at the clock again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def waits(self) -> bool:
        """True while nothing can be sent: all was taken, or the next try is for later."""
        with self._changed:
            idle = not self._ready or self.clock.elapsed() < self._again_at
            return idle and self._current is None

    def joined(self, seconds: float) -> bool:
        """Wait for the end of what is under way, after `end`; False when it does not come."""
        thread = self._thread
        if thread is None:
            return True
        thread.join(max(seconds, 0.0))
        return not thread.is_alive()

    def turn(self) -> bool:
        """Send the next event, if one is due and its time has come; True when there was one."""
        with self._changed:
            key_set = next(iter(self._ready), None)
            if key_set is None or self.clock.elapsed() < self._again_at or self._ended:
                return False
            # Taken out before it is looked at: an offer that comes meanwhile is not lost.
            self._ready.pop(key_set)
            self._current = key_set
        try:
            self._one(key_set)
        finally:
            with self._changed:
                self._current = None
        return True

    def _one(self, key_set: str) -> None:
        due = self.office.next_of(key_set, self.receiver)
        if due is None:
            return
        try:
            self.send(due.news, self.clock.now(), self._cut_short)
        except Undelivered as error:
            self._failed(key_set, due, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end this receiver's thread
            what = f"unexpected {type(error).__name__}"
            self._failed(key_set, due, Undelivered(what, hint="this is a fault of the program"))
        else:
            self._went_well(key_set, due)

    def _went_well(self, key_set: str, due: Due) -> None:
        self._taken += 1
        name, news = self.receiver.name, due.news
        self.outcomes["sent"] += 1
        if news.event == "skipped":
            self.outcomes["skipped"] += 1
            self.emit(
                "warning",
                "notification.skipped",
                receiver=name,
                key_set=key_set,
                count=news.count if news.count is not None else "unknown",
                reason=news.reason,
            )
        if self.failing:
            self.failing = ""
            self.emit("info", "notification.healed", receiver=name)
        self._failures, self._again_at = 0, timedelta(0)
        self.emit(
            "debug", "notification.sent", receiver=name, key_set=key_set, id=news.id, kid=news.kid
        )
        self.office.done(key_set, due)
        more = self.office.next_of(key_set, self.receiver) is not None
        if more:
            with self._changed:
                self._ready[key_set] = None  # at the end: other key sets have their turn
        if not more or self._taken % _TOGETHER == 0:
            self.office.write(key_set)

    def _failed(self, key_set: str, due: Due, error: Undelivered) -> None:
        self.outcomes["failed"] += 1
        self._failures += 1
        pause = min(_FIRST * 2 ** min(self._failures - 1, 20), _LONGEST)
        if error.retry_after is not None:
            pause = max(pause, timedelta(seconds=error.retry_after))
        with self._changed:
            self._again_at = self.clock.elapsed() + pause * (1 + self.chance() / 10)
            self._ready = {key_set: None, **self._ready}
        self.office.behind(key_set, self.receiver)
        if self._ended or error.message == self.failing:
            return
        self.failing = error.message
        self.emit(
            "warning",
            "notification.failing",
            receiver=self.receiver.name,
            key_set=key_set,
            id=due.news.id,
            reason=error.message,
            hint=error.hint,
        )

    def _cut_short(self) -> bool:
        return self._ended

    def _run(self) -> None:
        while not self._cut_short():
            while self.turn():
                pass
            with self._changed:
                left = (self._again_at - self.clock.elapsed()).total_seconds()
                if not self._ready:
                    self._changed.wait_for(lambda: self._ready or self._ended)
                elif left > 0 and not self._ended:
                    self._changed.wait(min(left, _GLANCE))


@dataclass(frozen=True, slots=True)
class ReceiverFigures:
    """What is told of one receiver in metrics and in `status`.

    Attributes:
        pending: how many events it has not confirmed.
        oldest: the date of the oldest of them, None when there is none.
    """

    name: str
    kind: str
    outcomes: dict[str, int]
    pending: int = 0
    oldest: datetime | None = None


def figures_of(post: Post, dates: list[datetime]) -> ReceiverFigures:
    """Return the figures of a receiver, given the dates of what it has not confirmed."""
    return ReceiverFigures(
        post.receiver.name,
        where(post.receiver),
        {"sent": 0, "failed": 0, "skipped": 0, **post.outcomes},
        len(dates),
        min(dates, default=None),
    )
