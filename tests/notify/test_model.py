"""The cursors against a model: crashes between sending and confirming, trimming, moved dates, replicas, backups.

Only the pure part, without threads or servers: what a replica does is what `Desk` does, in steps that may be
cut anywhere. Nothing wanted is lost, nothing comes before what is older, an event has one id for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.notify.case import Page, begin_of, due, past
from rotator.notify.ledger import (
    Change,
    Ledger,
    advance,
    begin,
    end,
    merged,
    read_ledger,
    write_ledger,
)
from rotator.notify.news import BEGUN, ENDED, News, event_id, of_line
from rotator.ring import Entry, KeyRing
from rotator.settings.result import ReceiverSettings
from rotator.transitions import confirm_clock

START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERYTHING = ReceiverSettings("everything")
REVOKED = ReceiverSettings("revoked", events=frozenset({"revoked", "failed"}))
RECEIVERS = (EVERYTHING, REVOKED)
LINES = ("key.announced", "key.promoted", "key.revoked", "order.hold", "key.destroyed")


@dataclass
class Replica:
    """What one process remembers."""

    ledger: Ledger = field(default_factory=lambda: Ledger("web"))
    page: Page = field(default_factory=Page)
    unsaved: list[Change] = field(default_factory=list)
    sent: dict[str, list[str]] = field(default_factory=dict)

    def change(self, change: Change) -> None:
        self.ledger = change(self.ledger)
        self.unsaved.append(change)


@dataclass
class World:
    """A ring, the ledger in its store, two replicas and what receivers were told."""

    now: datetime = START
    ring: KeyRing = field(default_factory=lambda: KeyRing("web", revision=1))
    stored: bytes = field(default_factory=lambda: write_ledger(Ledger("web")))
    replicas: list[Replica] = field(default_factory=lambda: [Replica(), Replica()])
    told: dict[str, list[News]] = field(default_factory=lambda: {r.name: [] for r in RECEIVERS})
    ever: dict[str, Entry] = field(default_factory=dict)
    backup: KeyRing | None = None
    saved_conditions: set[str] = field(default_factory=set)
    conditions: int = 0
    restored: bool = False
    dead: list[Replica] = field(default_factory=list)

    def grow(self, event: str, count: int = 1) -> None:
        for _ in range(count):
            self.now += timedelta(seconds=1)
            self.ring = self.ring.noting(Entry(self.now, event, f"kid-{len(self.ever)}"))
            self.ever[self.ring.history[-1].id] = self.ring.history[-1]

    def tick(self, one: int) -> None:
        self.replicas[one].page = Page.of("web", self.ring.history, self.now, suspicious=False)

    def sync(self, one: int) -> None:
        """Read, apply, write; what is written goes through its bytes."""
        replica = self.replicas[one]
        ledger = read_ledger(self.stored, "web")
        for change in replica.unsaved:
            ledger = change(ledger)
        replica.ledger, replica.unsaved = ledger, []
        for receiver in RECEIVERS:
            moved = past(ledger, replica.page, receiver, self.now)
            if moved is not None:
                ledger = replica.ledger = moved(ledger)
        self.stored = write_ledger(ledger)
        self.saved_conditions |= {item.news.id for item in ledger.noted}

    def send(self, one: int, receiver: ReceiverSettings, how: str) -> bool:
        """Send the next event; `how` says whether it is taken, and whether the replica lives on."""
        replica = self.replicas[one]
        item = next(due(replica.ledger, replica.page, receiver, self.now), None)
        if item is None:
            return False
        if how == "refused":
            change = begin_of(replica.ledger, replica.page, receiver, self.now)
            if change is not None:
                replica.change(change)
            return True
        self.told[receiver.name].append(item.news)
        replica.sent.setdefault(receiver.name, []).append(item.news.id)
        if how == "crash":
            self.dead.append(replica)
            self.replicas[one] = Replica()
        else:
            replica.change(item.done)
        return True

    def condition(self, one: int, state: str) -> None:
        self.conditions += 1
        replica, wanted = self.replicas[one], frozenset(r.name for r in RECEIVERS)
        news = News(event_id(str(self.conditions)), "failed", "web", self.now, state=state)
        if state == BEGUN:
            replica.change(begin(news, replica.page.last, wanted, lasting=True))
        else:
            replica.change(end(news, replica.page.last, wanted))

    def restore(self) -> None:
        """Put back a backup, by hand, an hour or more after anything else."""
        if self.backup is None:
            self.backup = self.ring
            return
        self.now += 2 * HOUR
        gone = {line.id for line in self.ring.history} - {x.id for x in self.backup.history}
        self.ever = {name: line for name, line in self.ever.items() if name not in gone}
        self.ring = replace(self.backup, revision=self.ring.revision + 1)
        self.grow("order.restore")
        self.backup, self.restored = None, True

    def drain(self) -> None:
        """Let everybody catch up."""
        for _ in range(3):
            self.now += 2 * HOUR
            for one in range(2):
                self.sync(one)
                self.tick(one)
                self.sync(one)
                for receiver in RECEIVERS:
                    while self.send(one, receiver, "taken"):
                        pass
                self.sync(one)


steps = st.one_of(
    st.tuples(st.just("grow"), st.sampled_from(LINES)),
    st.tuples(st.just("tick"), st.integers(0, 1)),
    st.tuples(st.just("sync"), st.integers(0, 1)),
    st.tuples(
        st.just("send"),
        st.integers(0, 1),
        st.sampled_from(RECEIVERS),
        st.sampled_from(["taken", "taken", "refused", "crash"]),
    ),
    st.tuples(st.just("condition"), st.integers(0, 1), st.sampled_from([BEGUN, ENDED])),
    st.tuples(st.just("confirm clock")),
)


def play(world: World, script: list[tuple[object, ...]]) -> None:
    """Carry out a script."""
    acts: dict[str, Callable[..., object]] = {
        "grow": world.grow,
        "tick": world.tick,
        "sync": world.sync,
        "send": world.send,
        "condition": world.condition,
        "restore": world.restore,
        "trim": lambda: world.grow("order.hold", 130),
    }
    for name, *words in script:
        if name == "confirm clock":
            moved = confirm_clock(world.ring, world.now - timedelta(minutes=1))
            world.ring = moved
            world.ever[moved.history[-1].id] = moved.history[-1]
        else:
            acts[str(name)](*words)


def still_there(world: World, receiver: ReceiverSettings) -> set[str]:
    """What is wanted of the lines that the history still has; of a ring put back, of those since."""
    history = world.ring.history
    since = [n for n, line in enumerate(history) if line.event == "order.restore"]
    lines = history[since[-1] if since else 0 :]
    found = (of_line("web", line) for line in lines)
    return {news.id for news in found if news is not None and receiver.wants(news.event, "web")}


def check(world: World) -> None:
    """Nothing wanted is missing, and the order is that of the history."""
    numbers = {event_id("web", name): line.number for name, line in world.ever.items()}
    for receiver in RECEIVERS:
        told = [news.id for news in world.told[receiver.name]]
        wanted = [
            news.id
            for line in world.ever.values()
            if (news := of_line("web", line)) and receiver.wants(news.event, "web")
        ]
        missing = [one for one in wanted if one not in told]
        skipped = [n.count for n in world.told[receiver.name] if n.event == "skipped"]
        if None not in skipped:
            assert len(missing) <= sum(count or 0 for count in skipped), receiver.name
        assert world.saved_conditions <= set(told)
        assert still_there(world, receiver) <= set(told)
        for replica in (*world.dead, *world.replicas):
            sent = [numbers[one] for one in replica.sent.get(receiver.name, ()) if one in numbers]
            if not world.restored:
                assert sent == sorted(set(sent)), "twice, or out of order, from one sender"
        if not world.restored and not skipped:
            first = [numbers[one] for one in dict.fromkeys(told) if one in numbers]
            assert first == sorted(first), receiver.name


@settings(max_examples=250, deadline=None)
@given(st.lists(steps, max_size=45))
def test_replicas_and_crashes(script: list[tuple[object, ...]]) -> None:
    """Whatever happens in whichever order."""
    world = World()
    play(world, script)
    world.drain()
    check(world)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(steps, steps, st.just(("trim",))), max_size=30))
def test_a_history_that_is_trimmed(script: list[tuple[object, ...]]) -> None:
    """What left it unread is counted, once a receiver has begun."""
    world = World()
    play(world, [("grow", "key.revoked"), ("tick", 0)])
    play(world, [("send", 0, receiver, "taken") for receiver in RECEIVERS])
    world.sync(0)
    play(world, script)
    world.drain()
    check(world)


few = st.lists(steps, max_size=16)


@settings(max_examples=200, deadline=None)
@given(few, few, few)
def test_a_ring_that_is_put_back(
    before: list[tuple[object, ...]],
    lost: list[tuple[object, ...]],
    after: list[tuple[object, ...]],
) -> None:
    """The lines of a ring that was restored are told as well, though their numbers were used before."""
    world = World()
    play(world, [*before, ("restore",), *lost, ("restore",), *after])
    world.drain()
    check(world)


def test_numbers_that_are_used_again() -> None:
    """What happened after a backup was put back is told, and nothing twice."""
    world = World()
    everybody = [("tick", 0), *[("send", 0, EVERYTHING, "taken")] * 9, ("sync", 0)]
    lines = [("grow", "key.promoted")] * 3
    play(world, [*lines, *everybody, ("restore",), *lines, *everybody, ("restore",), *lines])
    world.drain()
    check(world)
    told = [news for news in world.told["everything"] if news.event == "promoted"]
    assert len(told) == len({news.id for news in told}) == 9
    [skipped] = [news for news in world.told["everything"] if news.event == "skipped"]
    assert skipped.count is None


def test_a_page_that_is_older_than_the_cursor() -> None:
    """A replica that has not looked lately takes another's word for what was told, and says nothing."""
    world = World()
    play(world, [*[("grow", "key.promoted")] * 2, ("tick", 0), ("tick", 1)])
    play(world, [("grow", "key.promoted"), ("tick", 0)])
    play(world, [*[("send", 0, EVERYTHING, "taken")] * 3, ("sync", 0), ("sync", 1)])
    assert not world.send(1, EVERYTHING, "taken")
    line = world.ring.history[0]
    ledger = world.replicas[1].ledger
    assert advance("everything", line.id, world.now)(ledger) == ledger, "a cursor never goes back"


def test_what_a_new_receiver_begins_with() -> None:
    """The last day, nothing older; and from then on it misses nothing, however long it is behind."""
    ring = KeyRing("web")
    for days in range(40):
        ring = ring.noting(Entry(START + timedelta(days=days), "key.promoted", f"kid-{days}"))
    now = START + timedelta(days=39, hours=2)
    page = Page.of("web", ring.history, now, suspicious=False)
    ledger = Ledger("web")
    assert [item.news.kid for item in due(ledger, page, EVERYTHING, now)] == ["kid-39"]
    change = begin_of(ledger, page, EVERYTHING, now)
    assert change is not None
    later = now + timedelta(days=9)
    page = Page.of("web", ring.history, later, suspicious=False)
    assert not list(due(ledger, page, EVERYTHING, later))
    assert [item.news.kid for item in due(change(ledger), page, EVERYTHING, later)] == ["kid-39"]
    suspicious = Page.of("web", ring.history, later, suspicious=True)
    told = [item.news.kid for item in due(ledger, suspicious, EVERYTHING, later)]
    assert told == ["kid-38", "kid-39"]  # for such a clock the ring's last date is the time


def test_more_conditions_than_there_is_room_for() -> None:
    """They become one event with their number: the ledger stays small."""
    ledger = Ledger("web")
    for number in range(500):
        news = News(event_id(str(number)), "drift", "web", START, target=f"file:/{number}" * 9)
        ledger = begin(news, 0, frozenset({"a"}), lasting=False)(ledger)
    told = [item.news for item in ledger.waiting("a")]
    assert len(told) == 50
    assert (told[0].event, told[0].count) == ("skipped", 451)
    assert len(write_ledger(ledger)) < 32 * 1024
    assert read_ledger(write_ledger(ledger), "web") == ledger


def test_a_spare_is_taken_over_once() -> None:
    """What was kept in a file while the store was away comes beside what the store has."""
    news = [News(event_id(str(n)), "drift", "web", START) for n in range(3)]
    one = begin(news[0], 0, frozenset({"a"}), lasting=False)(Ledger("web"))
    other = begin(news[1], 0, frozenset({"a", "b"}), lasting=False)(one)
    both = merged(one, other)
    assert [item.news.id for item in both.noted] == [news[0].id, news[1].id]
    assert merged(both, other) == both


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"{}", b'{"format": "rotator.notify/2"}', b"null", b"[" * 100_000, b"\xff"],
)
def test_damage_is_no_ledger(damage: bytes) -> None:
    """Nothing of it is used, and nothing but ValueError comes of it."""
    with pytest.raises(ValueError, match=r".+"):
        read_ledger(damage, "web")
    with pytest.raises(ValueError, match="another"):
        read_ledger(write_ledger(Ledger("web")), "other")
