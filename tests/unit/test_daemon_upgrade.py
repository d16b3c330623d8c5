"""Two versions of the program on one store: the ring that yesterday's wrote, and one with tomorrow's fields.

`rings/version-1.json` is what a daemon wrote in its first two hours, with keys left out; it is never
regenerated: rings of this form are out there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.algorithms import kind_of
from rotator.keys import Keys
from rotator.ring import Phase
from rotator.ring_document import write_ring
from rotator.ring_reader import read_ring
from rotator.stores import RingStore, Stored, Version
from rotator_file.store import FileStore
from tests.unit.daemon_world import HOUR, MINUTE, MovedClock, World

PINNED = Path(__file__).parent / "rings" / "version-1.json"
LIVED = timedelta(hours=2, minutes=3)  # when the pinned ring was saved, after `START`


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.waker.close()


def yesterday(world: World) -> bytes:
    """Put the pinned ring into the store, with keys and material of its own; return its bytes."""
    text = PINNED.read_text(encoding="utf-8").replace("@home@", str(world.path))
    store, keys = FileStore(world.path / "store"), Keys()
    for name in ("one", "two", "three"):
        new = keys.make(kind_of("EdDSA", None))
        assert new.public is not None
        # One kid in 64 begins with a dash, and is no locator.
        locator = store.material("web").allocate(new.kid, frozenset())
        text = text.replace(f'"locator": "@kid-{name}@"', f'"locator": "{locator}"')
        text = text.replace(f"@kid-{name}@", new.kid).replace(f"@x-{name}@", new.public["x"])
        store.material("web").put(locator, new.kid, new.material)
    document = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()
    store.rings("web").save(document, replacing=None)
    return document


def paths(value: Any, at: str = "") -> set[str]:
    """Where in a document there is something; the kids and targets in it as `*`."""
    if isinstance(value, list):
        return {path for item in value for path in paths(item, f"{at}[]")}
    if not isinstance(value, dict):
        return {at}
    found = set()
    for name, item in value.items():
        found |= paths(item, f"{at}.{'*' if ':' in name else name}")
    return found


def test_yesterdays_ring_is_gone_on_with(world: World) -> None:
    """Its keys live on to their ends, on their dates, and nothing fails."""
    document = yesterday(world)
    kids = [key["kid"] for key in json.loads(document)["keys"]]
    world.clock.advance(LIVED)
    daemon = world.daemon([world.site()])
    world.go_on(daemon, timedelta(0))
    ring = world.ring()
    assert [key.kid for key in ring.keys] == kids
    assert ring.active is not None
    assert ring.active.kid == kids[1]
    world.go_on(daemon, 4 * HOUR)
    assert not [event for event in world.log.events if event[1] == "key_set.failing"]
    assert world.log.named("key.promoted")[0]["kid"] == kids[2]
    assert [item["kid"] for item in world.log.named("key.destroyed")][:2] == kids[:2]


def test_what_is_written_today_has_the_form_of_yesterday(world: World) -> None:
    """A field that is no longer written, or a new one, must be one that yesterday's program can do without."""
    document = yesterday(world)
    assert write_ring(read_ring(document, key_set="web")) == document
    other = World(world.path / "today", clock=MovedClock())
    other.path.mkdir()
    try:
        other.go_on(other.daemon([other.site()]), LIVED)
    finally:
        other.waker.close()
    stored = FileStore(other.path / "store").rings("web").load()
    assert stored is not None
    # Yesterday's program keeps the ids of lines for us, and gives its own lines none.
    since = {".history[].id"}
    assert paths(json.loads(stored.document)) - since == paths(json.loads(document))


class Tomorrow:
    """The rings as a later version keeps them: with a field of its own at every key, and one at the top."""

    def __init__(self, inner: RingStore) -> None:
        self._inner = inner

    def load(self) -> Stored | None:
        return self._inner.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        data = json.loads(document)
        data["tomorrow"] = {"saves": data.get("tomorrow", {}).get("saves", 0) + 1}
        for part in (*data["keys"], *data["history"], *data["protection"].values()):
            part.setdefault("made_tomorrow", data["tomorrow"]["saves"])
        return self._inner.save(json.dumps(data).encode(), replacing=replacing)


class Witnessing:
    """Today's rings; holds every save against what was there before it."""

    def __init__(self, inner: RingStore) -> None:
        self._inner = inner
        self.saves = 0

    def load(self) -> Stored | None:
        return self._inner.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        before = self._inner.load()
        version = self._inner.save(document, replacing=replacing)
        old, new = json.loads(before.document) if before else {}, json.loads(document)
        assert new.get("tomorrow") == old.get("tomorrow")
        kept = {key["kid"]: key.get("made_tomorrow") for key in new["keys"]}
        for key in old.get("keys", ()):
            if key["kid"] in kept:
                assert kept[key["kid"]] == key.get("made_tomorrow")
        self.saves += 1
        return version


def test_a_rolling_upgrade_loses_nothing(world: World) -> None:
    """Today's daemon and tomorrow's take turns at one key set for half a day."""
    later = World(world.path, clock=world.clock)
    rings = FileStore(world.path / "store").rings("web")
    today = Witnessing(rings)
    daemons = [
        world.daemon([world.site(rings=today)]),
        later.daemon([later.site(rings=Tomorrow(rings))]),
    ]
    try:
        for number in range(720):
            for daemon in daemons if number % 20 < 10 else reversed(daemons):
                daemon.compare_clocks()
                daemon.dispatch()
            world.clock.advance(MINUTE)
    finally:
        later.waker.close()
    saves = json.loads(rings.load().document)["tomorrow"]["saves"]  # type: ignore[union-attr]
    assert today.saves > 10
    assert saves > 10
    for one in (world, later):
        assert not one.log.named("key_set.failing")
    promoted = len(world.log.named("key.promoted")) + len(later.log.named("key.promoted"))
    assert promoted == 6
    ring = world.ring()
    assert [len(ring.in_phase(phase)) for phase in (Phase.ACTIVE, Phase.PENDING)] == [1, 1]


def test_a_ring_of_a_format_to_come_is_left_alone(world: World) -> None:
    """A version that may mean anything else stops this program, which touches nothing, until it is back."""
    daemon = world.daemon([world.site()])
    world.go_on(daemon, HOUR)
    rings = FileStore(world.path / "store").rings("web")
    stored = rings.load()
    assert stored is not None
    published = (world.path / "web.json").read_bytes()
    newer = json.dumps(json.loads(stored.document) | {"version": 2}).encode()
    rings.save(newer, replacing=stored.version)
    world.go_on(daemon, 3 * HOUR)
    [failing] = world.log.named("key_set.failing")
    assert "version" in failing["reason"]
    assert (world.path / "web.json").read_bytes() == published
    again = rings.load()
    assert again is not None
    assert again.document == newer
    rings.save(stored.document, replacing=again.version)
    world.go_on(daemon, 10 * MINUTE)
    assert world.log.named("key_set.healed")
    assert len(world.log.named("key.promoted")) == 2
