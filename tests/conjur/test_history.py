"""The head among void versions, the guard before the last of them, answers that were lost, sixteen forks at once."""

from __future__ import annotations

import json
import os
import random
import select
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rotator.errors import Conflict, StoreCorrupt, StoreUnavailable
from rotator.secret import Secret
from rotator.stores import Version
from rotator_conjur import history as history_module
from rotator_conjur.envelopes import RING as FORMAT
from rotator_conjur.envelopes import Envelope, parse
from rotator_conjur.history import History
from rotator_conjur.rings import ConjurRings
from tests.conjur.places import RING, SLOT, Ground, ground


def ring(expects: int, body: bytes, nonce: str = "n", key_set: str = "orders") -> bytes:
    """One version of a ring."""
    return Envelope(FORMAT, expects, nonce, key_set, body=body).dump()


def test_an_empty_variable_has_no_head(conjur: Ground) -> None:
    """Declared, never set."""
    look = History(conjur.client(), RING, parse).look()
    assert (look.latest, look.head, look.seen, look.void) == (0, None, None, 0)


def test_the_head_is_the_newest_that_counts(conjur: Ground) -> None:
    """Void ones above it, foreign ones too, are passed over."""
    conjur.server.set(RING, ring(1, b"one"))
    conjur.server.set(RING, ring(2, b"two"))
    conjur.server.set(RING, ring(2, b"late", "other"))
    conjur.server.set(RING, b"by hand")
    look = History(conjur.client(), RING, parse).look()
    assert look.head is not None
    assert (look.head.body, look.head_version, look.latest, look.void) == (b"two", 2, 4, 2)
    found = conjur.store().rings("orders").load()
    assert found is not None
    assert found.document == b"two"


def test_a_save_makes_void_versions_history(conjur: Ground) -> None:
    """The new head stands above them."""
    rings = conjur.store().rings("orders")
    first = rings.save(b"one", replacing=None)
    conjur.server.set(RING, ring(1, b"late", "other"))
    rings.save(b"two", replacing=first)
    assert json.loads(conjur.server.versions(RING)[3])["expects"] == 3
    found = rings.load()
    assert found is not None
    assert found.document == b"two"


@pytest.mark.parametrize(
    "value", [b"by hand", b'{"format": "rotator.conjur-ring/1"}', ring(7, b"void")]
)
def test_no_version_that_counts_is_no_empty_store(conjur: Ground, value: bytes) -> None:
    """A variable that holds something is never taken for a first run."""
    conjur.server.set(RING, value)
    rings = conjur.store().rings("orders")
    with pytest.raises(StoreCorrupt, match="none of the versions"):
        rings.load()
    with pytest.raises(StoreCorrupt, match="none of the versions"):
        rings.save(b"one", replacing=None)


def test_the_ring_of_another_key_set_is_refused(conjur: Ground) -> None:
    """Somebody copied a variable."""
    conjur.server.set(RING, ring(1, b"one", key_set="billing"))
    with pytest.raises(StoreCorrupt):
        conjur.store().rings("orders").load()


def fill_with_void(conjur: Ground, count: int) -> Version:
    """Save a ring, and put void versions above it."""
    version = conjur.store().rings("orders").save(b"one", replacing=None)
    for number in range(count):
        conjur.server.set(RING, ring(1, b"void", f"void {number}"))
    return version


def test_a_quiet_variable_is_healed_by_a_save(conjur: Ground) -> None:
    """Many void versions stop nobody when no one else writes: the save becomes the head."""
    version = fill_with_void(conjur, 12)
    rings = conjur.store().rings("orders")
    rings.save(b"two", replacing=version)
    look = History(conjur.client(), RING, parse).look()
    assert (look.latest, look.head_version, look.void) == (14, 14, 0)


def test_nobody_writes_among_many_void_versions_while_others_do(
    conjur: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the twentieth void version would lose the head, writers give up and say why."""
    version = fill_with_void(conjur, 8)
    monkeypatch.setattr(history_module, "_PATIENCE", 0.2)
    written = iter(range(1000))

    class Restless(History[Envelope]):
        """A history that others write whenever it is looked at."""

        def look(self) -> history_module.Look[Envelope]:
            if max(conjur.server.versions(RING)) < 15:
                conjur.server.set(RING, ring(1, b"void", f"more {next(written)}"))
            else:
                conjur.server.versions(RING)
                look = super().look()
                return history_module.Look(
                    look.latest + next(written), look.head, look.head_version, look.seen
                )
            return super().look()

    rings = conjur.store(attempts=1).rings("orders")
    rings._history = Restless(conjur.client(), RING, parse)
    with pytest.raises(StoreUnavailable, match="are void and others go on writing") as caught:
        rings.save(b"two", replacing=version)
    assert "fewer replicas" in caught.value.hint
    found = conjur.store().rings("orders").load()
    assert found is not None
    assert found.document == b"one", "the head is still there"


class Deaf:
    """The calls of a store whose answers to writes are lost, after or before the server has committed."""

    def __init__(self, ground: Ground, *, committed: bool) -> None:
        self._inner = ground.client()
        self._committed = committed
        self.url = self._inner.url
        self.versions = self._inner.versions
        self.value = self._inner.value
        self.losses = 1

    def put(self, variable: str, value: bytes) -> None:
        """Lose the first answer."""
        if self._committed or not self.losses:
            self._inner.put(variable, value)
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("connection reset")


@pytest.mark.parametrize("committed", [True, False])
def test_a_lost_answer_is_found_out(conjur: Ground, committed: bool) -> None:
    """Reading the number back tells whether it was written; a step that was not is done again."""
    rings = conjur.store().rings("orders")
    rings._history = History(Deaf(conjur, committed=committed), RING, parse)  # type: ignore[arg-type]  # lossy
    version = rings.save(b"one", replacing=None)
    found = conjur.store().rings("orders").load()
    assert found is not None
    assert (found.document, found.version) == (b"one", version)
    assert list(conjur.server.versions(RING)) == [1]


def test_a_save_that_was_superseded_before_its_answer_came_is_no_conflict(conjur: Ground) -> None:
    """Neither the write nor the reading back was answered, and meanwhile somebody saved on top."""
    rings = conjur.store().rings("orders")
    deaf = Deaf(conjur, committed=True)
    read = deaf.value

    def busy(variable: str, version: int | None = None) -> bytes | None:
        if deaf.losses or version != 1:
            return read(variable, version)
        deaf.value = read
        other = conjur.store().rings("orders")
        found = other.load()
        assert found is not None
        other.save(b"two", replacing=found.version)
        raise StoreUnavailable("connection reset")

    deaf.value = busy
    rings._history = History(deaf, RING, parse)  # type: ignore[arg-type]  # lossy
    assert rings.save(b"one", replacing=None).startswith("1-")
    found = rings.load()
    assert found is not None
    assert found.document == b"two"


def test_no_save_is_lost_where_answers_are(conjur: Ground) -> None:
    """Six writers, each write sent twice at random, each answer lost at random: every save counts once."""
    chance = random.Random(7)

    class Lossy(Deaf):
        """Writes twice, or does not say that it wrote."""

        def put(self, variable: str, value: bytes) -> None:
            for _ in range(chance.choice((1, 1, 2))):
                self._inner.put(variable, value)
            if chance.random() < 0.3:
                raise StoreUnavailable("connection reset")

    def work(_: int) -> None:
        store = conjur.store(attempts=20, patience="200s")
        store.rings("orders").load()
        rings = store.rings("orders")
        rings._history = History(Lossy(conjur, committed=True), RING, parse)  # type: ignore[arg-type]
        count(rings, 4)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    found = conjur.store().rings("orders").load()
    assert found is not None
    assert int(found.document) == 24


def test_a_write_that_arrives_late_is_void(conjur: Ground) -> None:
    """What was held up on the way lands on another number than it expected, and changes nothing."""
    rings = conjur.store().rings("orders")
    first = rings.save(b"one", replacing=None)
    rings.save(b"two", replacing=first)
    conjur.server.set(RING, ring(2, b"held up", "late"))
    found = rings.load()
    assert found is not None
    assert found.document == b"two"


def test_a_variable_that_was_declared_anew_forgets_old_versions(conjur: Ground) -> None:
    """Numbers begin again; the version of the old ring does not name the new one."""
    rings = conjur.store().rings("orders")
    old = rings.save(b"one", replacing=None)
    policy = "- !delete {record: !variable orders/ring}\n"
    conjur.server.load_policy(policy, branch="rotator")
    conjur.server.load_policy(
        "- !variable orders/ring\n- !permit {role: !host /rotator, privilege: [read, execute, update], "
        "resource: !variable orders/ring}\n",
        branch="rotator",
    )
    new = conjur.store().rings("orders").save(b"new", replacing=None)
    assert new.split("-")[0] == old.split("-")[0] == "1"
    with pytest.raises(Conflict):
        rings.save(b"two", replacing=old)


def test_destroyed_material_is_in_no_version(conjur: Ground) -> None:
    """Twenty tombstones, each another, and not one version with the key."""
    material = conjur.store().material("orders")
    material.put("slot-01", "kid", Secret(b"private"))
    conjur.server.set(SLOT, b"something by hand")
    material.destroy("slot-01", "kid")
    kept = conjur.server.versions(SLOT)
    assert len(kept) == 20
    assert {json.loads(value)["format"] for value in kept.values()} == {"rotator.conjur-gone/1"}


def test_destroying_goes_on_where_it_stopped(conjur: Ground) -> None:
    """A process that died half-way leaves the rest to the next, which does not begin again."""
    material = conjur.store().material("orders")
    material.put("slot-01", "kid", Secret(b"private"))
    for number in range(2, 12):
        tombstone = Envelope("rotator.conjur-gone/1", number, f"n{number}", "orders", "kid")
        conjur.server.set(SLOT, tombstone.dump())
    assert material.get("slot-01", "kid") is None
    material.destroy("slot-01", "kid")
    assert max(conjur.server.versions(SLOT)) == 21
    material.destroy("slot-01", "kid")
    assert max(conjur.server.versions(SLOT)) == 21, "once is enough"


def test_a_server_that_keeps_more_is_written_over_for_longer(tmp_path: Path) -> None:
    """However many versions it keeps, none of them holds the key in the end."""
    with ground(tmp_path, retention=33) as found:
        material = found.store().material("orders")
        material.put("slot-01", "kid", Secret(b"private"))
        material.destroy("slot-01", "kid")
        assert all(b"gone" in value for value in found.server.versions(SLOT).values())
        assert len(found.server.versions(SLOT)) == 33


def test_a_slot_serves_the_next_key(conjur: Ground) -> None:
    """And the old kid has nothing to destroy in it any more."""
    material = conjur.store().material("orders")
    material.put("slot-01", "old", Secret(b"old"))
    material.destroy("slot-01", "old")
    material.put("slot-01", "new", Secret(b"new"))
    material.destroy("slot-01", "old")
    assert material.get("slot-01", "old") is None
    assert material.get("slot-01", "new") == Secret(b"new")


def test_sixteen_forks_of_one_process_race(conjur: Ground) -> None:
    """Each adds one, twice, to a number in the ring; every save that returned is in it."""
    store = conjur.store(attempts=10, patience="200s")
    store.rings("orders").load()  # warm: the SDK is loaded, a connection open, a token there
    begin, go = os.pipe()
    children = []
    for _ in range(16):
        child = os.fork()
        if child == 0:
            try:
                select.select([begin], [], [], 200)
                count(store.rings("orders"), 2)
                os._exit(0)
            except BaseException:  # noqa: BLE001 - whatever it is, the parent hears of it
                os._exit(1)
        children.append(child)
    os.write(go, b"!")
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 16
    os.close(begin)
    os.close(go)
    found = store.rings("orders").load()
    assert found is not None
    assert int(found.document) == 32


def count(rings: ConjurRings, times: int) -> None:
    """Add one to the number in a ring, again after each Conflict."""
    deadline = time.monotonic() + 200
    while times:
        assert time.monotonic() < deadline
        found = rings.load()
        number = 0 if found is None else int(found.document)
        try:
            rings.save(str(number + 1).encode(), replacing=None if found is None else found.version)
        except Conflict:
            continue
        times -= 1
