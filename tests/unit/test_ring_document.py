"""How a ring is written down: nothing is lost, nothing is guessed, and no damage goes by unseen or unnamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.algorithms import ALGORITHMS, PUBLIC_MEMBERS, kind_of
from rotator.errors import StoreCorrupt
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.plan import next_step
from rotator.policy import PROTECTIVE, RotationPolicy
from rotator.ring import HISTORY_LIMIT, Entry, Key, KeyRing, Order, Phase, Protected, line_id
from rotator.ring_document import MAX_BYTES, format_date, read_ring, write_ring
from rotator.transitions import confirm_clock

NOW = datetime(2030, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
DAY = timedelta(days=1)

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
dates = st.integers(0, 6 * 10**15).map(
    lambda micro: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)
)
durations = st.integers(0, 10**10).map(lambda micro: timedelta(microseconds=micro * 1000))
orders = st.builds(
    Order, at=dates, reason=st.text(max_size=9), replaces=st.none() | names, urgent=st.booleans()
)
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
unknown = st.dictionaries(
    names.map(lambda name: f"x-{name}"), st.lists(plain, max_size=2), max_size=2
)


@st.composite
def some_keys(draw: st.DrawFn) -> Key:
    """A key of any phase with the fields that it needs."""
    algorithm = draw(st.sampled_from(sorted(ALGORITHMS)))
    kty, phase = ALGORITHMS[algorithm].kty, draw(st.sampled_from(Phase))
    public = {"kty": kty, **dict.fromkeys(PUBLIC_MEMBERS[kty], "x")} if kty != "oct" else None
    return Key(
        kid=draw(names),
        algorithm=algorithm,
        size=ALGORITHMS[algorithm].sizes[0],
        phase=phase,
        locator=draw(names),
        created_at=draw(dates),
        public=public,
        check="check" if kty == "oct" else None,
        pending_at=draw(dates),
        activated_at=draw(dates),
        retiring_at=draw(dates),
        superseded_at=draw(st.none() | dates),
        ended_at=draw(dates),
        destroy_after=draw(st.none() | dates),
        announced=draw(st.dictionaries(names, dates, max_size=3)),
        reason=draw(st.text(max_size=9)),
        extra=draw(unknown),
    )


@st.composite
def rings(draw: st.DrawFn) -> KeyRing:
    """Any ring that may be written."""
    keys = draw(
        st.lists(some_keys(), max_size=4, unique_by=(lambda key: key.kid, lambda key: key.locator))
    )
    actives = [key for key in keys if key.phase is Phase.ACTIVE]
    keys = [key for key in keys if key not in actives[1:]]
    protected = st.builds(Protected, durations) | st.builds(Protected, durations, durations, dates)
    return KeyRing(
        key_set="orders",
        revision=draw(st.integers(1, 10**9)),
        keys=tuple(keys),
        holders=draw(st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=2)),
        protection=draw(st.dictionaries(st.sampled_from(PROTECTIVE), protected, max_size=3)),
        hold=draw(st.none() | orders),
        promote=draw(st.none() | orders),
        pins=draw(st.dictionaries(names, orders, max_size=2)),
        first_activated_at=draw(st.none() | dates),
        kind_changed_at=draw(st.none() | dates),
        discards=draw(st.integers(0, 9)),
        discarded_at=draw(st.none() | dates),
        clock_confirmed_at=draw(st.none() | dates),
        history=tuple(draw(st.lists(st.builds(Entry, dates, names, names, names), max_size=3))),
        extra=draw(unknown),
    )


@settings(max_examples=150, deadline=None)
@given(ring=rings())
def test_what_is_written_is_read_back(ring: KeyRing) -> None:
    """Every field, to the microsecond; and the same ring gives the same bytes."""
    document = write_ring(ring)
    assert read_ring(document, key_set="orders") == ring
    assert write_ring(read_ring(document, key_set="orders")) == document


def sample() -> KeyRing:
    """A ring with something in every field."""
    ec = {"kty": "EC", "crv": "P-256", "x": "xx", "y": "yy"}

    def key(kid: str, phase: Phase, **fields: Any) -> Key:
        made = Key(kid, "ES256", 256, phase, f"at/{kid}", NOW, public={**ec, "x": kid})
        return replace(made, **fields)

    return KeyRing(
        "orders",
        revision=42,
        keys=(
            key("active", Phase.ACTIVE, activated_at=NOW),
            key("pending", Phase.PENDING, pending_at=NOW, announced={"file:jwks": NOW}),
            key("retiring", Phase.RETIRING, retiring_at=NOW, superseded_at=NOW),
            key("ended", Phase.DISCARDED, ended_at=NOW, destroy_after=NOW, reason="bad"),
        ),
        holders={"files:signing": ("active",)},
        protection={
            "token_ttl": Protected(DAY, DAY / 2, NOW),
            "leeway": Protected(DAY, disputed_at=NOW),
        },
        hold=Order(NOW, "audit"),
        promote=Order(NOW, "now", replaces="active", urgent=True),
        pins={"retiring": Order(NOW, "kept")},
        first_activated_at=NOW,
        history=(Entry(NOW, "key.created", "active", "first"),),
    )


def test_unknown_optional_fields_survive_wherever_they_are() -> None:
    """So that two versions of the program can share a ring during an upgrade."""
    data = json.loads(write_ring(sample()))
    places: list[dict[str, Any]] = [
        data,
        data["keys"][0],
        data["hold"],
        data["promote"],
        data["pins"]["retiring"],
        data["protection"]["token_ttl"],
        data["history"][0],
    ]
    for number, place in enumerate(places):
        place["from-the-future"] = {"number": number}
    document = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    assert write_ring(read_ring(document, key_set="orders")) == document


def test_a_ring_that_stops_anywhere_is_refused() -> None:
    """Truncated at every byte."""
    document = write_ring(sample())
    for length in range(len(document)):
        with pytest.raises(StoreCorrupt) as caught:
            read_ring(document[:length], key_set="orders", place="/srv/ring.json")
        assert "/srv/ring.json" in caught.value.message
        assert "recover" in caught.value.hint


def test_a_ring_with_a_flipped_bit_is_refused_or_still_a_ring() -> None:
    """Each bit in turn: never another exception, never a second active key, never a step that fails.

    What is still a ring can differ only in the value of one field; decisions can be taken on it.
    """
    whole = sample()
    document, policy = write_ring(whole), RotationPolicy(kind_of("ES256"), DAY, DAY)
    seen = {
        "file:jwks": Sighting(DocumentKind.JWKS, answered=True, filled=True, ours=True),
        "files:signing": Sighting(DocumentKind.SIGNING, answered=True, filled=True, ours=True),
    }
    refused = 0
    for index in range(len(document)):
        for bit in range(8):
            flipped = bytearray(document)
            flipped[index] ^= 1 << bit
            try:
                ring = read_ring(bytes(flipped), key_set="orders")
            except StoreCorrupt:
                refused += 1
                continue
            assert [key.phase for key in ring.keys] == [key.phase for key in whole.keys]
            assert len({key.kid for key in ring.keys}) == len(whole.keys)
            next_step(ring, policy, NOW, Observed(seen))
    assert refused > 4 * len(document)


Damage = Callable[[dict[str, Any]], object]

CORRUPTIONS: tuple[tuple[str, Damage, str], ...] = (
    ("another format", lambda d: d.update(format="other"), "format"),
    ("a newer version", lambda d: d.update(version=2), "version"),
    ("no version", lambda d: d.pop("version"), "version"),
    ("another key set", lambda d: d.update(key_set="payments"), "key_set"),
    ("no revision", lambda d: d.pop("revision"), "revision"),
    ("revision 0", lambda d: d.update(revision=0), "revision"),
    ("revision true", lambda d: d.update(revision=True), "revision"),
    ("a revision in words", lambda d: d.update(revision="42"), "revision"),
    ("no keys", lambda d: d.pop("keys"), "keys"),
    ("keys are no list", lambda d: d.update(keys={}), "keys"),
    ("a key is no object", lambda d: d["keys"].append("active"), "keys[4]"),
    ("no pins", lambda d: d.pop("pins"), "pins"),
    ("no holders", lambda d: d.pop("holders"), "holders"),
    ("a holder is no list", lambda d: d["holders"].update(x="active"), "holders.x"),
    ("no protection", lambda d: d.pop("protection"), "protection"),
    ("no history", lambda d: d.pop("history"), "history"),
    ("a kid twice", lambda d: d["keys"].append(d["keys"][2]), "keys[4].kid"),
    (
        "two active keys",
        lambda d: d["keys"][2].update(phase="active", activated_at="2030-01-01T00:00:00Z"),
        "keys",
    ),
    ("one locator for two", lambda d: d["keys"][1].update(locator="at/active"), "keys"),
    ("an unknown phase", lambda d: d["keys"][0].update(phase="sleeping"), "keys[0].phase"),
    ("an unknown algorithm", lambda d: d["keys"][0].update(algorithm="none"), "keys[0].algorithm"),
    ("no kid", lambda d: d["keys"][0].pop("kid"), "keys[0].kid"),
    ("an empty kid", lambda d: d["keys"][0].update(kid=""), "keys[0].kid"),
    (
        "an active key without its date",
        lambda d: d["keys"][0].pop("activated_at"),
        "keys[0].activated_at",
    ),
    (
        "a pending key without its date",
        lambda d: d["keys"][1].pop("pending_at"),
        "keys[1].pending_at",
    ),
    ("an ended key without its date", lambda d: d["keys"][3].pop("ended_at"), "keys[3].ended_at"),
    ("an active key without locator", lambda d: d["keys"][0].pop("locator"), "keys[0].locator"),
    ("no public half", lambda d: d["keys"][0].pop("public"), "keys[0].public"),
    ("half a public half", lambda d: d["keys"][0]["public"].pop("y"), "keys[0].public"),
    (
        "a public half of another type",
        lambda d: d["keys"][0]["public"].update(kty="OKP"),
        "keys[0].public",
    ),
    ("a number in a public half", lambda d: d["keys"][0]["public"].update(x=1), "keys[0].public"),
    ("a private member", lambda d: d["keys"][0]["public"].update(d="secret"), "keys[0].public.d"),
    (
        "a private member where nobody looks",
        lambda d: d.update(later=[{"kty": "oct", "k": "secret"}]),
        "later[0].k",
    ),
    (
        "a date that is none",
        lambda d: d["keys"][0].update(created_at="yesterday"),
        "keys[0].created_at",
    ),
    ("a date without a zone", lambda d: d["hold"].update(at="2030-01-01T00:00:00"), "hold.at"),
    ("an order that is no object", lambda d: d.update(promote=True), "promote"),
    ("a pin without a date", lambda d: d["pins"]["retiring"].pop("at"), "pins.retiring.at"),
    (
        "a negative duration",
        lambda d: d["protection"]["token_ttl"].update(value=-1),
        "protection.token_ttl.value",
    ),
    (
        "an endless duration",
        lambda d: d["protection"]["token_ttl"].update(value=1e300),
        "protection.token_ttl.value",
    ),
    (
        "a duration in words",
        lambda d: d["protection"]["token_ttl"].update(value="1d"),
        "protection.token_ttl.value",
    ),
    (
        "lower without since",
        lambda d: d["protection"]["token_ttl"].pop("since"),
        "protection.token_ttl",
    ),
    ("a history line without event", lambda d: d["history"][0].pop("event"), "history[0].event"),
)


@pytest.mark.parametrize(
    ("damage", "place"), [c[1:] for c in CORRUPTIONS], ids=[c[0] for c in CORRUPTIONS]
)
def test_the_place_of_a_fault_is_named(damage: Damage, place: str) -> None:
    """In the message, with the way out in the hint; and no private member is ever quoted."""
    data = json.loads(write_ring(sample()))
    damage(data)
    with pytest.raises(StoreCorrupt) as caught:
        read_ring(json.dumps(data).encode(), key_set="orders")
    assert f": {place}: " in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b"{" * 100_000,
        b'{"format":"rotator.ring","version":NaN}',
        b" " * (5 * MAX_BYTES),
        b'{"format":"rotator.ring","version":1,"key_set":"orders","revision":' + b"9" * 6000 + b"}",
    ],
    ids=["empty", "null", "list", "binary", "deep", "NaN", "long", "huge number"],
)
def test_what_is_no_ring_at_all(document: bytes) -> None:
    """Refused like any other damage."""
    with pytest.raises(StoreCorrupt):
        read_ring(document, key_set="orders")


def test_the_largest_ring_fits_every_secrets_manager() -> None:
    """`max_keys` RSA-4096 keys and a full history take less than 48 KiB."""
    keys = tuple(
        Key(
            f"{number:043d}",
            "RS256",
            4096,
            Phase.RETIRING if number else Phase.ACTIVE,
            f"orders/{number:043d}",
            NOW,
            public={"kty": "RSA", "n": "n" * 683, "e": "AQAB"},
            pending_at=NOW,
            activated_at=NOW,
            retiring_at=NOW,
            superseded_at=NOW,
            announced={"https://issuer.example.com/orders/jwks.json": NOW},
        )
        for number in range(10)
    )
    ring = KeyRing("orders", 10**6, keys, history=())
    reason = "seen everywhere; replaces 0000000000000000000000000000000000000000000"
    for _ in range(2 * HISTORY_LIMIT):
        ring = ring.noting(Entry(NOW, "key.unannounced", "0" * 43, reason))
    ring = replace(ring, protection={name: Protected(DAY, DAY, NOW) for name in PROTECTIVE})
    assert len(ring.history) == HISTORY_LIMIT
    assert len(write_ring(ring)) < MAX_BYTES


def test_dates_are_utc_with_microseconds() -> None:
    """Rounding would move a date before its evidence."""
    assert format_date(NOW) == "2030-06-01T12:30:15.123456Z"
    assert format_date(NOW.replace(microsecond=0)) == "2030-06-01T12:30:15.000000Z"


def test_a_line_keeps_its_id_whatever_becomes_of_its_date_and_of_earlier_lines() -> None:
    """Whoever was told of a line finds it again: after a confirmed clock, a trimmed history, an older version."""
    ring = KeyRing("web")
    for number in range(HISTORY_LIMIT + 5):
        ring = ring.noting(Entry(NOW + timedelta(minutes=number), "key.announced", "kid"))
    ids = [entry.id for entry in ring.history]
    assert [entry.number for entry in ring.history] == list(range(6, HISTORY_LIMIT + 6))
    assert len(set(ids)) == HISTORY_LIMIT
    moved = confirm_clock(ring, NOW)
    assert [entry.id for entry in moved.history[:-1]] == ids[1:]
    again = read_ring(write_ring(replace(ring, revision=1)), key_set="web")
    assert [entry.id for entry in again.history] == ids
    older = replace(ring, history=(*ring.history[3:], Entry(NOW, "order.hold"), Entry(NOW, "x.y")))
    after = older.noting(Entry(NOW, "order.release")).history
    assert [entry.id for entry in after[:-3]] == ids[3:]
    assert [entry.number for entry in after[-3:]] == [106, 107, 108]


def test_a_ring_put_back_gives_its_lines_other_ids() -> None:
    """Lines that never came to be in the other ring are not taken for known ones."""
    ring = KeyRing("web").noting(Entry(NOW, "order.hold"))
    one, other = (ring.noting(Entry(NOW, "order.release", "", why)) for why in ("", "b"))
    assert one.history[0].id == other.history[0].id
    assert one.history[1].id != other.history[1].id
    assert one.history == ring.noting(Entry(NOW, "order.release")).history
    assert line_id("07.0") == line_id(7) == line_id(None) == ""


def test_a_ring_of_a_newer_program_sends_nobody_to_an_emergency() -> None:
    """What lies there may be well; the way out that comes first destroys nothing."""
    document = json.dumps(json.loads(write_ring(sample())) | {"version": 2}).encode()
    with pytest.raises(StoreCorrupt) as caught:
        read_ring(document, key_set="orders")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("nothing was changed; if a newer rotator wrote it, start")
