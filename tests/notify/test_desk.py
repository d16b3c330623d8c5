"""The desk over a real ring, a real store and a daemon with a moved clock: who is told what, and when again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.notify.desk import Desk
from rotator.notify.keeper import Keeper
from rotator.notify.news import News
from rotator.notify.receivers import Stop, Undelivered
from rotator.settings.result import ReceiverSettings
from rotator.stores import Document, DocumentStore, VersionToken
from rotator_file.store import FileStore
from tests.unit.daemon_world import HOUR, MINUTE, AtOnce, World

LIFE = ["announced", "promoted", "announced"]
DAY = timedelta(days=1)


@dataclass
class Ear:
    """A receiver that takes what it is told, as long as it is up."""

    up: bool = True
    heard: list[News] = field(default_factory=list)
    tries: int = 0

    def send(self, news: News, _now: datetime, _stop: Stop) -> None:
        self.tries += 1
        if not self.up:
            raise Undelivered("receiver ops answered 500", hint="it is tried again")
        self.heard.append(news)

    @property
    def events(self) -> list[str]:
        return [f"{news.event} {news.state}".strip() for news in self.heard]


class Documents:
    """A document store that refuses when a test wants it to."""

    def __init__(self, inner: DocumentStore) -> None:
        self._inner, self.failure = inner, None
        self.calls: list[str] = []

    failure: Exception | None

    def read(self, name: str) -> Document | None:
        found: Document | None = self._asked("read", lambda: self._inner.read(name))
        return found

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        self._asked("write", lambda: self._inner.write(name, document, replacing=replacing))

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def _asked(self, what: str, call: Callable[[], Any]) -> Any:
        self.calls.append(what)
        if self.failure is not None:
            raise self.failure
        return call()


@dataclass
class Office:
    """One process: a desk whose posts are turned by the test."""

    world: World
    documents: Documents
    ears: dict[str, Ear]
    desk: Desk

    def work(self) -> None:
        """Let each post send for as long as it can."""
        for post in self.desk.posts.values():
            assert any(not post.turn() for _ in range(1000)), "it never comes to its end"

    def go_on(self, daemon: Any, duration: timedelta, step: timedelta = MINUTE) -> None:
        """Let daemon and posts live for a while."""
        for _ in range(max(1, duration // step)):
            self.world.go_on(daemon, step)
            self.work()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.waker.close()


def office(world: World, *names: str, **settings: Any) -> Office:
    """A process with receivers of these names."""
    inner = FileStore(world.path / "store").documents()
    assert inner is not None
    documents, ears = Documents(inner), {name: Ear() for name in names or ("ops",)}
    keeper = Keeper(lambda _: documents, world.path / "state" / "notify", world.log.emit)
    receivers = {name: ReceiverSettings(name, command=("x",), **settings) for name in ears}
    desk = Desk(
        receivers,
        keeper,
        store_of=world.store_of,
        workers=AtOnce(),
        clock=world.clock,
        emit=world.log.emit,
        threads=False,
    )
    for name, post in desk.posts.items():
        post.send = ears[name].send
    return Office(world, documents, ears, desk)


def ledger(world: World) -> Any:
    """What the store says of the receivers."""
    documents = FileStore(world.path / "store").documents()
    assert documents is not None
    found = documents.read("web/notify")
    assert found is not None
    return json.loads(found.body)


def test_a_first_run_is_told_from_its_beginning(world: World) -> None:
    """In order, once; and nothing again when the process is started anew."""
    one = office(world)
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, MINUTE)
    assert one.ears["ops"].events == LIFE
    again = office(world)
    again.go_on(world.daemon([world.site()], observer=again.desk), MINUTE)
    assert again.ears["ops"].events == []


def test_down_for_a_day(world: World) -> None:
    """It is tried ever less often and never given up; then all comes in order, and another one never waited."""
    one = office(world, "down", "up")
    down, up = one.ears["down"], one.ears["up"]
    down.up = False
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, DAY)
    assert 200 <= down.tries <= 300
    assert len(up.heard) > 30
    assert len(world.log.named("notification.failing")) == 1
    [behind] = [item for item in one.desk.figures() if item.name == "down"]
    assert behind.pending == len(up.heard)
    assert behind.oldest == up.heard[0].at
    down.up = True
    world.clock.advance(10 * MINUTE)
    one.work()
    assert [news.id for news in down.heard] == [news.id for news in up.heard]
    assert [item["receiver"] for item in world.log.named("notification.healed")] == ["down"]


def test_down_across_restarts(world: World) -> None:
    """Whoever was behind is told by the next process what the last one could not."""
    told = []
    for _ in range(3):
        one = office(world)
        one.ears["ops"].up = False
        one.go_on(world.daemon([world.site()], observer=one.desk), 14 * HOUR, HOUR)
        told.append(one.ears["ops"].tries)
    assert all(told)
    last = office(world)
    last.go_on(world.daemon([world.site()], observer=last.desk), MINUTE)
    ids = [news.id for news in last.ears["ops"].heard]
    assert len(ids) == len(set(ids))
    assert last.ears["ops"].events[: len(LIFE) - 1] != []
    counts = [news.count for news in last.ears["ops"].heard if news.event == "skipped"]
    assert counts, "two days of a key that lives for two are more than a history holds"
    kids = {line.kid for line in world.ring().history if line.event == "key.promoted"}
    assert kids <= {news.kid for news in last.ears["ops"].heard if news.event == "promoted"}
    assert world.log.named("notification.skipped")[0]["count"] == counts[0]


def test_only_what_was_asked_for(world: World) -> None:
    """By event and by key set; and a history that goes by unasked for is no loss."""
    one = office(world, events=frozenset({"retired"}), key_sets=frozenset({"web"}))
    sites = [world.site("web"), world.site("other")]
    daemon = world.daemon(sites, observer=one.desk)
    one.go_on(daemon, 16 * HOUR, HOUR)
    heard = one.ears["ops"].heard
    assert {(news.event, news.key_set) for news in heard} == {("retired", "web")}
    assert len(heard) >= 5


def test_a_fault_begins_and_ends(world: World) -> None:
    """A target that fails is told once, and once more when it is healed; a restart in between tells neither again."""
    one = office(world)
    site = world.site()
    one.go_on(world.daemon([site], observer=one.desk), MINUTE)
    published = world.path / "web.json"
    kept = published.read_bytes()
    published.unlink()
    published.mkdir()
    one.go_on(world.daemon([world.site()], observer=one.desk), 10 * MINUTE)
    heard = one.ears["ops"].heard[len(LIFE) :]
    assert [f"{n.event} {n.state}" for n in heard] == ["failed begun"]
    assert heard[0].target.startswith("file:")
    two = office(world)
    two.go_on(world.daemon([world.site()], observer=two.desk), 10 * MINUTE)
    assert two.ears["ops"].events == []
    published.rmdir()
    published.write_bytes(kept)
    three = office(world)
    three.go_on(world.daemon([world.site()], observer=three.desk), 10 * MINUTE)
    assert three.ears["ops"].events == ["failed ended"]
    assert three.ears["ops"].heard[0].about == heard[0].id
    assert ledger(world)["open"] == []


def test_what_healed_meanwhile_is_told_after_a_restart(world: World) -> None:
    """The receiver was down while it began and ended: it is told both, in order."""
    one = office(world)
    one.go_on(world.daemon([world.site()], observer=one.desk), MINUTE)
    one.ears["ops"].up = False
    published = world.path / "web.json"
    kept = published.read_bytes()
    published.unlink()
    published.mkdir()
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, 10 * MINUTE)
    published.rmdir()
    published.write_bytes(kept)
    one.go_on(daemon, 10 * MINUTE)
    two = office(world)
    two.go_on(world.daemon([world.site()], observer=two.desk), MINUTE)
    assert two.ears["ops"].events == ["failed begun", "failed ended"]
    assert ledger(world)["noted"] == []


def test_drift_is_told_each_time(world: World) -> None:
    """Somebody changes a target by hand, twice."""
    one = office(world)
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, MINUTE)
    signing = world.path / "web-signing" / "kid"
    for _ in range(2):
        signing.write_bytes(b"somebody's")
        one.go_on(daemon, 10 * MINUTE)
    assert one.ears["ops"].events[len(LIFE) :] == ["drift", "drift"]
    assert len({news.id for news in one.ears["ops"].heard}) == len(LIFE) + 2


def test_a_store_that_is_down_is_told_at_once(world: World) -> None:
    """Nothing can be written in it: a file of this host keeps what is owed, across a restart."""
    one = office(world)
    site = world.site()
    one.go_on(world.daemon([site], observer=one.desk), MINUTE)
    one.ears["ops"].up = False
    one.documents.failure = StoreUnavailable("no answer")
    one.desk.failed(site, StoreUnavailable("the store does not answer"))
    one.work()
    spare = world.path / "state" / "notify" / "web.json"
    assert json.loads(spare.read_bytes())["noted"][0]["news"]["event"] == "failed"
    two = office(world)
    two.documents.failure = StoreUnavailable("no answer")
    two.desk.failed(site, StoreUnavailable("the store does not answer"))
    two.work()
    assert two.ears["ops"].events == ["failed begun", "failed begun"]  # two witnesses
    two.documents.failure = None
    two.go_on(world.daemon([world.site()], observer=two.desk), 10 * MINUTE)
    assert two.ears["ops"].events[2:] == ["failed ended"]
    assert not spare.exists()


def test_an_identity_that_may_not_write(world: World) -> None:
    """What was confirmed is kept in a file; it is said once, with the way out."""
    one = office(world)
    denied = StoreDenied("may not write web/notify", hint="`rotator policy` prints what is needed")
    one.documents.failure = denied
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, 30 * MINUTE)
    assert one.ears["ops"].events == LIFE
    assert [item["hint"] for item in world.log.named("notification.unsaved")] == [denied.hint]
    two = office(world)
    two.documents.failure = denied
    two.go_on(world.daemon([world.site()], observer=two.desk), MINUTE)
    assert two.ears["ops"].events == []
    two.documents.failure = None
    two.go_on(world.daemon([world.site()], observer=two.desk), 10 * MINUTE)
    assert ledger(world)["receivers"]["ops"]["line"]


def test_two_replicas(world: World) -> None:
    """Whoever comes second sees that it was told; what is told twice has one id."""
    one, two = office(world), office(world)
    daemons = [world.daemon([world.site()], observer=item.desk) for item in (one, two)]
    for _ in range(200):
        for item, daemon in zip((one, two), daemons, strict=True):
            world.go_on(daemon, MINUTE)
            item.work()
    ids = [news.id for item in (one, two) for news in item.ears["ops"].heard]
    assert len(ids) == len(set(ids))
    promoted = {line.kid for line in world.ring().history if line.event == "key.promoted"}
    told = [news for item in (one, two) for news in item.ears["ops"].heard]
    assert promoted == {news.kid for news in told if news.event == "promoted"}


def test_a_quiet_key_set_costs_nothing(world: World) -> None:
    """Between events no call to the store is made for notifications, and no history is kept."""
    one = office(world)
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, MINUTE)
    before = len(one.documents.calls)
    one.go_on(daemon, HOUR)
    calls = one.documents.calls[before:]
    assert len(calls) <= 3, "one event at the most falls into this hour"
    assert one.desk._clerk.cases["web"].page.history == ()


def test_a_reload_brings_a_receiver_and_takes_one(world: World) -> None:
    """The new one begins with the last day; the one that went is told nothing more."""
    one = office(world, "old")
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, MINUTE)
    ear, keeper = Ear(), one.desk._clerk.keeper
    one.desk.use({"new": ReceiverSettings("new", command=("x",))}, keeper, world.store_of)
    one.desk.posts["new"].send = ear.send
    one.go_on(daemon, 10 * MINUTE)
    assert ear.events == LIFE
    assert one.ears["old"].events == LIFE
    one.go_on(daemon, 3 * HOUR)
    assert one.ears["old"].events == LIFE
    assert len(ear.events) > len(LIFE)


def test_a_damaged_ledger_begins_anew(world: World) -> None:
    """It is said, and costs repeats with the same ids."""
    one = office(world)
    one.go_on(world.daemon([world.site()], observer=one.desk), MINUTE)
    documents = FileStore(world.path / "store").documents()
    assert documents is not None
    there = documents.read("web/notify")
    assert there is not None
    damaged = Document(b"not JSON", "web", 9)
    documents.write("web/notify", damaged, replacing=there.token)
    two = office(world)
    two.go_on(world.daemon([world.site()], observer=two.desk), MINUTE)
    assert [n.id for n in two.ears["ops"].heard] == [n.id for n in one.ears["ops"].heard]
    assert world.log.named("notification.unreadable")


def test_a_corrupt_ring_is_told_and_its_end(world: World) -> None:
    """A key set that stops is what people most want to know."""
    one = office(world)
    daemon = world.daemon([world.site()], observer=one.desk)
    one.go_on(daemon, MINUTE)
    one.desk.failed(world.site(), StoreCorrupt("the ring cannot be trusted"))
    one.desk.failed(world.site(), StoreCorrupt("the ring cannot be trusted"))
    one.work()
    one.go_on(daemon, 10 * MINUTE)
    assert one.ears["ops"].events[len(LIFE) :] == ["failed begun", "failed ended"]
    assert one.ears["ops"].heard[len(LIFE)].reason == "the ring cannot be trusted"
