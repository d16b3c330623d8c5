"""What a process knows of who was told what: takes what ticks saw, and has posts send it.

In the thread of a tick nothing is done but to compare. All that is remembered here can be lost: the ledgers
have it, and what they do not have is read off the ring again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import StoreUnavailable
from rotator.notify.case import Due, Page, begin_of, due, past
from rotator.notify.clerk import Case, Clerk, Workers
from rotator.notify.conditions import LASTING, Condition, failure, seen
from rotator.notify.keeper import Keeper
from rotator.notify.ledger import Topic, begin, end, tidy
from rotator.notify.news import BEGUN, ENDED, Event, News, event_id, shorten
from rotator.notify.post import Post, ReceiverFigures, figures_of
from rotator.notify.receivers import sender_of
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit, Outcome, Site
from rotator.ring import KeyRing, numbered
from rotator.settings.result import ReceiverSettings

_ITSELF: Final[Topic] = (Event.FAILED.value, "")  # the key set itself cannot be ticked
_NOTHING: Final = Condition("")


class Desk:
    """Tells receivers what happens; implements `rotator.daemon.state.Observer`.

    Args:
        receivers: who is told, by name.
        keeper: reads and writes ledgers.
        store_of: the name of the store of a key set.
        workers: threads for that, a lane for each store.
        clock: both clocks; in tests a moved one.
        emit: where events go.
        threads: posts send in threads of their own; else only when their `turn` is called.
    """

    def __init__(
        self,
        receivers: Mapping[str, ReceiverSettings],
        keeper: Keeper,
        *,
        store_of: Callable[[str], str],
        workers: Workers,
        clock: Clock,
        emit: Emit,
        threads: bool = True,
    ) -> None:
        self._clerk = Clerk(keeper, store_of, workers, emit, self._after)
        self._lock = self._clerk.lock
        self._clock, self._emit, self._threads = clock, emit, threads
        self._itself = secrets.token_hex(8)  # two replicas that see the same are two witnesses
        self.posts: dict[str, Post] = {}
        self._hire(receivers)

    def use(
        self,
        receivers: Mapping[str, ReceiverSettings],
        keeper: Keeper,
        store_of: Callable[[str], str],
    ) -> None:
        """Go over to another configuration; receivers that are the same in both go on as they were."""
        with self._lock:
            self._clerk.keeper, self._clerk.store_of = keeper, store_of
            before = {name: post.receiver for name, post in self.posts.items()}
            self._hire(receivers)
            if before == dict(receivers):
                return
            for case in self._clerk.cases.values():
                case.newest = ""  # so that the next tick shows what a new receiver is to be told

    def ticked(self, site: Site, outcome: Outcome) -> None:
        """Take what a tick that came to its end did."""
        if not self._listening(site.key_set):
            return
        with self._lock:
            case = self._clerk.case(site.key_set)
            page = self._turn_page(case, outcome)
            conditions = self._compare(case, seen(outcome))
            case.looked = True
            if page or conditions or case.unsaved or not case.synced:
                self._clerk.sync(site.key_set, case)

    def failed(self, site: Site, error: Exception) -> None:
        """Take why a tick could not be made; what was known of its targets stays."""
        self.could_not(site.key_set, error)

    def could_not(self, key_set: str, error: Exception) -> None:
        """Take why a key set could not be ticked."""
        if not self._listening(key_set):
            return
        with self._lock:
            case = self._clerk.case(key_set)
            if self._compare(case, {**case.standing, _ITSELF: failure(error)}):
                # A store that is down would only be waited for once more.
                down = isinstance(error, StoreUnavailable)
                self._clerk.sync(key_set, case, store=not down)

    def dropped(self, key_set: str) -> None:
        """Forget a key set that left the configuration; its ledger stays."""
        with self._lock:
            self._clerk.cases.pop(key_set, None)

    def next_of(self, key_set: str, receiver: ReceiverSettings) -> Due | None:
        """Return the next event of a key set for a receiver; see `rotator.notify.post.Office`."""
        with self._lock:
            case = self._clerk.cases.get(key_set)
            if case is None:
                return None
            return next(due(case.ledger, case.page, receiver, self._clock.now()), None)

    def done(self, key_set: str, due: Due) -> None:
        """Note that an event was taken."""
        with self._lock:
            case = self._clerk.cases.get(key_set)
            if case is not None:
                self._clerk.change(case, due.done)

    def write(self, key_set: str) -> None:
        """Write down what was noted, soon."""
        with self._lock:
            case = self._clerk.cases.get(key_set)
            if case is not None:
                self._clerk.sync(key_set, case)

    def behind(self, key_set: str, receiver: ReceiverSettings) -> None:
        """Note that a receiver did not take an event: where it begins is written down if nothing was yet."""
        with self._lock:
            case = self._clerk.cases.get(key_set)
            if case is None:
                return
            change = begin_of(case.ledger, case.page, receiver, self._clock.now())
            if change is not None:
                self._clerk.change(case, change)
                self._clerk.sync(key_set, case)

    def figures(self) -> tuple[ReceiverFigures, ...]:
        """Return what is known of every receiver."""
        with self._lock:
            return tuple(figures_of(post, self._dates(post)) for post in self.posts.values())

    def close(self, seconds: float) -> None:
        """End within a time: what is under way may finish, and what was confirmed is written down."""
        until = self._clock.elapsed() + timedelta(seconds=seconds)

        def left() -> float:
            return max((until - self._clock.elapsed()).total_seconds(), 0.0)

        for post in self.posts.values():
            post.end()
        for post in self.posts.values():
            post.joined(left())
        saver = threading.Thread(target=self._clerk.save_all, name="notify-save", daemon=True)
        saver.start()
        saver.join(left())

    def _hire(self, receivers: Mapping[str, ReceiverSettings]) -> None:
        for name in list(self.posts):
            if self.posts[name].receiver != receivers.get(name):
                self.posts.pop(name).end()
        for name, receiver in receivers.items():
            if name not in self.posts:
                send = sender_of(receiver)
                self.posts[name] = Post(receiver, send, self, self._clock, self._emit)

    def _listening(self, key_set: str) -> bool:
        return any(post.receiver.listens_to(key_set) for post in self.posts.values())

    def _dates(self, post: Post) -> list[datetime]:
        now, cases = self._clock.now(), self._clerk.cases
        found = [cases[key_set] for key_set in post.ready() if key_set in cases]
        left = (due(case.ledger, case.page, post.receiver, now) for case in found)
        return [item.news.at for items in left for item in items]

    def _turn_page(self, case: Case, outcome: Outcome) -> bool:
        """Take the history if it has a new line; True when it has."""
        ring = outcome.ring
        newest = _newest(ring)
        if newest == case.newest and case.synced:
            return False
        suspicious = bool(outcome.observed.suspicious)
        page = Page.of(ring.key_set, ring.history, self._clock.now(), suspicious=suspicious)
        case.newest, case.page = newest, page
        return True

    def _compare(self, case: Case, found: dict[Topic, Condition]) -> bool:
        """Note which conditions began and which ended; True when any did."""
        before, case.standing = case.standing, found
        begun = [topic for topic in found if topic not in before]
        ended = [topic for topic in before if topic not in found and topic[0] in LASTING]
        for topic in begun:
            self._note(case, topic, found[topic], BEGUN)
        for topic in ended:
            self._note(case, topic, before[topic], ENDED)
        return bool(begun or ended)

    def _note(self, case: Case, topic: Topic, condition: Condition, state: str) -> None:
        event, target = topic
        key_set, now = case.ledger.key_set, self._clock.now()
        wanted = frozenset(n for n, p in self.posts.items() if p.receiver.wants(event, key_set))
        lasting = event in LASTING
        reason = shorten(condition.reason) if state == BEGUN else ""
        news = News(
            event_id(key_set, event, target, now.isoformat(), self._itself),
            event,
            key_set,
            now,
            condition.kid,
            reason,
            state if lasting else "",
            target=target,
        )
        last = case.page.last
        if state == BEGUN and not wanted:
            return
        if state == BEGUN:
            change = begin(news, last, wanted, lasting=lasting)
        else:
            change = end(news, last, wanted)
        self._clerk.change(case, change)

    def _after(self, key_set: str, case: Case) -> None:
        """Go on once a ledger was read, or could not be: what a receiver has not confirmed is offered to it."""
        now = self._clock.now()
        if case.synced and case.looked and not case.compared:
            case.compared = True
            # What began before this process did, and is not so any more, ended while nobody looked.
            for topic in [topic for topic in case.ledger.open if topic not in case.standing]:
                self._note(case, topic, _NOTHING, ENDED)
            clean = tidy(frozenset(self.posts), now)
            if clean(case.ledger) != case.ledger:
                self._clerk.change(case, clean)
        behind = False
        for post in self.posts.values():
            receiver = post.receiver
            if not receiver.listens_to(key_set):
                continue
            if next(due(case.ledger, case.page, receiver, now), None) is not None:
                behind = True
                post.offer(key_set)
                if self._threads:
                    post.start()
            elif (change := past(case.ledger, case.page, receiver, now)) is not None:
                self._clerk.change(case, change)
        if not behind and case.synced:
            case.page = Page(last=case.page.last)  # a fleet's histories need not be kept


def _newest(ring: KeyRing) -> str:
    """Return the id of the last line; the lines of an older version have none of their own yet."""
    if not ring.history:
        return ""
    return ring.history[-1].id or numbered(ring.key_set, ring.history)[-1].id
