"""What a look teaches: when a term begins, goes on, or starts again (rules 1, 2 and 10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.algorithms import kind_of
from rotator.evidence import absorb, differences, longest, stamp
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.plan import next_deadline
from rotator.policy import ZERO, RotationPolicy
from rotator.ring import Entry, Key, KeyRing, Order, Phase, Protected

NOW = datetime(2030, 6, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EARLIER = NOW - HOUR
KIND = kind_of("RS256", 2048)
POLICY = RotationPolicy(KIND, token_ttl=HOUR, signer_lag=10 * MINUTE)
ONE, TWO, SIGNING = "file:one", "probe:two", "files:signing"


def key(kid: str, phase: Phase, **fields: object) -> Key:
    """Return a key of a phase."""
    made = Key(kid, KIND.algorithm, KIND.size, phase, f"at-{kid}", NOW - DAY)
    return replace(made, **fields)  # type: ignore[arg-type]


def jwks(*kids: str, cache: timedelta | None = None) -> Sighting:
    """Return a look at a JWKS."""
    return Sighting(
        DocumentKind.JWKS, answered=True, filled=True, ours=True, kids=kids, cache=cache
    )


def signing(*kids: str, strangers: tuple[str, ...] = ()) -> Sighting:
    """Return a look at a signing target."""
    return Sighting(
        DocumentKind.SIGNING,
        answered=True,
        filled=True,
        ours=True,
        kids=kids,
        strangers=strangers,
    )


SILENT = Sighting(DocumentKind.JWKS, answered=False)
SILENT_SIGNING = Sighting(DocumentKind.SIGNING, answered=False)


def look(ring: KeyRing, sightings: Mapping[str, Sighting], suspicious: str = "") -> KeyRing:
    """Return the ring with a look absorbed."""
    return absorb(ring, POLICY, NOW, Observed(dict(sightings), suspicious=suspicious))


@dataclass(frozen=True, slots=True)
class Term:
    """A next key's terms before, a look, and the terms and announcement after it."""

    what: str
    before: Mapping[str, datetime]
    sightings: Mapping[str, Sighting]
    after: Mapping[str, datetime]
    event: str = ""


TERMS = (
    Term("seen for the first time", {}, {ONE: jwks("next")}, {ONE: NOW}, "key.announced"),
    Term("seen again", {ONE: EARLIER}, {ONE: jwks("next")}, {ONE: EARLIER}),
    Term("gone", {ONE: EARLIER}, {ONE: jwks("now")}, {}, "key.unannounced"),
    Term("no answer keeps a term", {ONE: EARLIER}, {ONE: SILENT}, {ONE: EARLIER}),
    Term("no answer begins none", {}, {ONE: SILENT}, {}),
    Term("one of two", {}, {ONE: jwks("next"), TWO: jwks("now")}, {ONE: NOW}),
    Term(
        "the second of two",
        {ONE: EARLIER},
        {ONE: jwks("next"), TWO: jwks("next")},
        {ONE: EARLIER, TWO: NOW},
        "key.announced",
    ),
    Term(
        "gone at one of two",
        {ONE: EARLIER, TWO: EARLIER},
        {ONE: jwks("next"), TWO: jwks()},
        {ONE: EARLIER},
        "key.unannounced",
    ),
    Term(
        "a target that this process does not know keeps its term",
        {ONE: EARLIER, TWO: EARLIER},
        {ONE: jwks("next")},
        {ONE: EARLIER, TWO: EARLIER},
    ),
)


@pytest.mark.parametrize("row", TERMS, ids=lambda row: row.what)
def test_terms_of_an_announcement(row: Term) -> None:
    """Announced is a standing condition (rule 1)."""
    before = KeyRing("orders", 3, (key("next", Phase.PENDING, announced=row.before),))
    after = look(before, row.sightings)
    found = after.find("next")
    assert found is not None
    assert dict(found.announced) == dict(row.after)
    events = [entry.event for entry in after.history]
    assert events == ([row.event] if row.event else [])


def test_an_announcement_is_the_latest_of_its_terms() -> None:
    """And none while a target that is looked at has no term."""
    item = key("next", Phase.PENDING, announced={ONE: EARLIER, TWO: NOW})
    assert item.announced_at([ONE]) == NOW
    assert item.announced_at([ONE, TWO]) == NOW
    assert item.announced_at([ONE, "file:three"]) is None
    assert key("next", Phase.PENDING).announced_at([]) is None


def test_a_suspicious_clock_clears_terms_and_dates_nothing() -> None:
    """It clears before it mends."""
    item = key("next", Phase.PENDING, announced={ONE: EARLIER})
    ring = KeyRing("orders", 3, (item, key("old", Phase.RETIRING, superseded_at=EARLIER)))
    sightings = {ONE: jwks(), TWO: jwks("next"), SIGNING: signing("old")}
    after = look(ring, sightings, suspicious="it leapt")
    found, old = after.find("next"), after.find("old")
    assert found is not None
    assert old is not None
    assert dict(found.announced) == {}
    assert old.superseded_at is None
    assert all(entry.at <= NOW for entry in after.history)


@dataclass(frozen=True, slots=True)
class Superseded:
    """A previous key's date before, what is remembered of targets, a look, and the date after it."""

    what: str
    before: datetime | None
    sightings: Mapping[str, Sighting]
    after: datetime | None
    holders: Mapping[str, tuple[str, ...]] = ()  # type: ignore[assignment]


SUPERSEDED = (
    Superseded("every target holds the active key", None, {SIGNING: signing("now")}, NOW),
    Superseded("one still holds it", None, {SIGNING: signing("old")}, None),
    Superseded("one holds an older one", None, {SIGNING: signing("older")}, None),
    Superseded("one is empty", None, {SIGNING: signing()}, None),
    Superseded("one does not answer", None, {SIGNING: SILENT_SIGNING}, None),
    Superseded("no signing target is configured", None, {ONE: jwks("now")}, None),
    Superseded("a later look changes nothing", EARLIER, {SIGNING: signing("now")}, EARLIER),
    Superseded("another key there changes nothing", EARLIER, {SIGNING: signing("x")}, EARLIER),
    Superseded("no answer changes nothing", EARLIER, {SIGNING: SILENT_SIGNING}, EARLIER),
    Superseded("held again", EARLIER, {SIGNING: signing("old")}, None),
    Superseded(
        "held again under a changed public half",
        EARLIER,
        {SIGNING: signing(strangers=("old",))},
        None,
    ),
    Superseded(
        "a target that left may hold it",
        None,
        {SIGNING: signing("now")},
        None,
        {"files:gone": ("old", "now")},
    ),
    Superseded(
        "a target that left holds another",
        None,
        {SIGNING: signing("now")},
        NOW,
        {"files:gone": ("now",)},
    ),
)


@pytest.mark.parametrize("row", SUPERSEDED, ids=lambda row: row.what)
def test_superseded(row: Superseded) -> None:
    """Only when every signing target was read back with the active key (rule 2)."""
    keys = (key("now", Phase.ACTIVE), key("old", Phase.RETIRING, superseded_at=row.before))
    ring = KeyRing("orders", 3, keys, holders=dict(row.holders or {}))
    found = look(ring, row.sightings).find("old")
    assert found is not None
    assert found.superseded_at == row.after


@pytest.mark.parametrize(
    ("before", "sighting", "after"),
    [
        (None, signing("now"), ("now",)),
        (("old",), signing("now"), ("now",)),
        (None, signing("old"), ("now", "old")),
        (None, signing(strangers=("x",)), ("now", "x")),
        (None, signing(), ("now",)),
        (("old",), SILENT_SIGNING, ("old",)),
        (None, SILENT_SIGNING, ("now",)),
    ],
)
def test_what_a_target_may_hold(
    before: tuple[str, ...] | None, sighting: Sighting, after: tuple[str, ...]
) -> None:
    """What it was seen with, and the active key, which any tick may deliver after this look."""
    holders = {} if before is None else {SIGNING: before}
    ring = KeyRing("orders", 3, (key("now", Phase.ACTIVE),), holders=holders)
    assert look(ring, {SIGNING: sighting}).holders[SIGNING] == after


def test_a_done_order_goes() -> None:
    """An order for a kid that is no longer current is done already (rule 7)."""
    keys = (key("now", Phase.ACTIVE),)
    done = KeyRing("orders", 3, keys, promote=Order(EARLIER, replaces="before"))
    assert look(done, {}).promote is None
    open_ = KeyRing("orders", 3, keys, promote=Order(EARLIER, replaces="now"))
    assert look(open_, {}).promote == open_.promote


def protection(
    before: Protected | None, wanted: timedelta, now: datetime, *, suspicious: str = ""
) -> Protected:
    """Return what the ring keeps of `token_ttl` after a look at a time."""
    ring = KeyRing("orders", 3, protection={"token_ttl": before} if before else {})
    policy = replace(POLICY, token_ttl=wanted)
    after = absorb(ring, policy, now, Observed(suspicious=suspicious))
    return after.protection["token_ttl"]


def test_a_duration_is_raised_at_once_and_lowered_late() -> None:
    """By anyone; and once the old value has passed since the lower was recorded (rule 10)."""
    high, low = 2 * HOUR, HOUR
    assert protection(None, low, NOW) == Protected(low)
    assert protection(Protected(low), high, NOW) == Protected(high)
    lowering = protection(Protected(high), low, NOW)
    assert lowering == Protected(high, low, NOW)
    assert protection(lowering, low, NOW + high - MINUTE) == lowering
    assert protection(lowering, low, NOW + high) == Protected(low)
    taken_back = Protected(high, disputed_at=NOW + HOUR)
    assert protection(lowering, high, NOW + HOUR) == taken_back
    assert protection(lowering, 3 * HOUR, NOW + HOUR) == Protected(3 * HOUR)
    assert protection(Protected(low), high, NOW, suspicious="x") == Protected(high)
    assert protection(Protected(high), low, NOW, suspicious="x") == Protected(high)


def test_of_two_rings_the_longest_counts_and_lowering_starts_anew() -> None:
    """A date of the backup says nothing of what was raised again after it."""
    backup = {
        "token_ttl": Protected(2 * HOUR, HOUR, EARLIER),
        "leeway": Protected(MINUTE, disputed_at=EARLIER),
    }
    present = {
        "token_ttl": Protected(HOUR),
        "leeway": Protected(HOUR, MINUTE, EARLIER),
        "observed_cache": Protected(DAY, ZERO, EARLIER),
    }
    expected = {
        "token_ttl": Protected(2 * HOUR),
        "leeway": Protected(HOUR),
        "observed_cache": Protected(DAY),
    }
    assert longest(backup, present) == longest(present, backup) == expected
    assert longest({}, {}) == {}


def test_two_that_differ_do_not_start_each_other_again() -> None:
    """A still lower wish waits its turn."""
    lowering = Protected(3 * HOUR, 2 * HOUR, NOW)
    assert protection(lowering, HOUR, NOW + HOUR) == lowering
    assert protection(lowering, 150 * MINUTE, NOW) == Protected(3 * HOUR, 150 * MINUTE, NOW)
    then = NOW + 3 * HOUR
    assert protection(lowering, HOUR, then) == Protected(2 * HOUR, HOUR, then)


def test_one_that_takes_back_what_the_other_records_does_so_rarely() -> None:
    """Two replicas of different configuration swap the ring every few hours, and not at each of their ticks."""
    item: Protected | None = None
    seen = []
    for tick in range(24 * 12):  # a day of one each five minutes, by turns
        wanted = 2 * HOUR if tick % 2 else HOUR
        after = protection(item, wanted, NOW + tick * 5 * MINUTE)
        if after != item:
            seen.append(after)
        item = after
    assert {change.value for change in seen[1:]} == {2 * HOUR}
    assert 20 < len(seen) < 30
    # Of one mind at last, they lower it: later, but they do.
    end = NOW + 24 * HOUR
    while item != Protected(HOUR):
        end += 5 * MINUTE
        item = protection(item, HOUR, end)
    assert end <= NOW + 29 * HOUR


def test_an_observed_lifetime_stands_in_until_verifiers_are_through_too() -> None:
    """What caches held for that long, verifiers hold after them (rules 1 and 10)."""
    ring, long = KeyRing("orders", 3), 48 * HOUR
    ring = look(ring, {ONE: jwks("now", cache=long)})
    assert ring.protection["observed_cache"] == Protected(long)
    wait = ring.in_force(POLICY).propagation_wait
    assert wait == long + POLICY.verifier_cache + POLICY.clock_skew + POLICY.resync
    ring = look(ring, {ONE: jwks("now", cache=HOUR)})
    assert ring.protection["observed_cache"] == Protected(long, ZERO, NOW)
    sightings = {ONE: jwks("now", cache=HOUR)}
    early = absorb(ring, POLICY, NOW + wait - MINUTE, Observed(sightings))
    assert "observed_cache" in early.protection
    late = absorb(ring, POLICY, NOW + wait, Observed(sightings))
    assert "observed_cache" not in late.protection


def test_an_observed_lifetime_is_not_gone_while_somebody_does_not_answer() -> None:
    """Who does not answer may still send it."""
    ring = KeyRing("orders", 3, protection={"observed_cache": Protected(48 * HOUR)})
    after = look(ring, {ONE: jwks("now"), TWO: SILENT})
    assert after.protection["observed_cache"] == Protected(48 * HOUR)


def test_a_configuration_that_differs_says_so() -> None:
    """What is configured, what is in force, and until when."""
    ring = KeyRing("orders", 3, protection={"token_ttl": Protected(2 * HOUR, HOUR, NOW)})
    (said,) = differences(ring, POLICY).values()
    assert said == "configured 1h, in force 2h until 2030-06-01 02:00:00Z"
    assert differences(KeyRing("orders"), POLICY) == {}


def test_a_duration_of_a_newer_version_is_kept_and_not_compared() -> None:
    """Its program guards it; ours, beside it during an upgrade, has no such word in its configuration."""
    ring = KeyRing("orders", 3, protection={"of_tomorrow": Protected(2 * HOUR, HOUR, NOW)})
    assert differences(ring, POLICY) == {}
    after = look(ring, {ONE: jwks("now")})
    assert after.protection["of_tomorrow"] == ring.protection["of_tomorrow"]
    next_deadline(ring, POLICY)


def test_no_date_is_before_the_latest_in_the_ring() -> None:
    """Another replica's clock may be ahead by what is allowed."""
    ahead = KeyRing("orders", 3, history=(Entry(NOW + MINUTE, "key.created"),))
    assert stamp(ahead, NOW) == NOW + MINUTE
    assert stamp(ahead, NOW + HOUR) == NOW + HOUR
    assert stamp(KeyRing("orders"), NOW) == NOW
