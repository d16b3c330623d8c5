"""What a revocation breaks and who may still trust a key: tables over rings, policies, looks and profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rotator.algorithms import kind_of
from rotator.errors import RotatorError, StoreUnavailable, TargetFailing
from rotator.objects import Purged
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.operations.aftermath import (
    Known,
    Place,
    Revocation,
    broken,
    fresh_key_at,
    revoked_at,
    signers,
)
from rotator.operations.report import in_lines, report_of
from rotator.operations.trust import Trust, trusts
from rotator.policy import RotationPolicy
from rotator.profiles import FOREVER, PROFILES
from rotator.ring import Entry, Key, KeyRing, Order, Phase
from tests.cli.bench import hold_against_schema

NOW: Final = datetime(2030, 5, 1, 12, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
POLICY: Final = RotationPolicy(
    kind_of("ES256"), token_ttl=HOUR, signer_lag=5 * MINUTE, propagation=24 * HOUR
)
HMAC: Final = replace(POLICY, kind=kind_of("HS256"))
JWKS: Final = Place("file:/srv/jwks.json", DocumentKind.JWKS, writable=True)
PROBE: Final = Place("probe:https://id.example/jwks.json", DocumentKind.JWKS, writable=False)
SIGNING: Final = Place("store:eu/web/signing", DocumentKind.SIGNING, writable=True)
VERIFICATION: Final = Place("store:eu/web/verification", DocumentKind.VERIFICATION, writable=True)
CACHED: Final = POLICY.jwks_max_age + POLICY.jwks_stale


def key(kid: str, phase: Phase, **more: Any) -> Key:
    """Return a key of that phase, created a hundred days ago."""
    return Key(kid, "ES256", 256, phase, f"key-{kid}", NOW - timedelta(days=100), **more)


ACTIVE: Final = key("bad", Phase.ACTIVE, activated_at=NOW - timedelta(days=10))
NEXT: Final = key("next", Phase.PENDING, announced={JWKS.name: NOW - timedelta(days=9)})
RING: Final = KeyRing("web", revision=7, keys=(ACTIVE, NEXT))


def about(ring: KeyRing = RING, *kids: str, **more: Any) -> Revocation:
    """Return the revocation of some keys, of the active one if none is named."""
    given = {"policy": POLICY, "places": (JWKS, SIGNING), "verifiers": (), "at": NOW, **more}
    return Revocation(ring, kids or ("bad",), "leaked", **given)


def sight(
    kind: DocumentKind, *kids: str, answered: bool = True, cache: timedelta | None = None
) -> Sighting:
    """Return a look at a target with those kids."""
    return Sighting(kind, answered=answered, filled=bool(kids), ours=True, kids=kids, cache=cache)


def known(
    ring: KeyRing | None = None,
    seen: Mapping[str, Sighting] | None = None,
    failures: Mapping[str, RotatorError] | None = None,
    **more: Any,
) -> Known:
    """Return what is known a minute after the revocation: by default, that all went well."""
    after = ring or KeyRing("web", 9, (replace(NEXT, phase=Phase.ACTIVE, activated_at=NOW),))
    well = {
        JWKS.name: sight(DocumentKind.JWKS, "next"),
        SIGNING.name: sight(DocumentKind.SIGNING, "next"),
    }
    looks = well if seen is None else seen
    return Known(after, Observed(looks), NOW + MINUTE, failures=failures or {}, **more)


RETIRING: Final = key(
    "old", Phase.RETIRING, activated_at=NOW - timedelta(days=90), retiring_at=NOW - HOUR
)


@pytest.mark.parametrize(
    ("of", "signed_from", "signed_to"),
    [
        (ACTIVE, ACTIVE.activated_at, NOW + MINUTE + POLICY.signer_lag),
        (RETIRING, RETIRING.activated_at, NOW + MINUTE + POLICY.signer_lag),
        (
            replace(RETIRING, superseded_at=NOW - 2 * HOUR),
            RETIRING.activated_at,
            NOW - 2 * HOUR + POLICY.signer_lag,
        ),
        (replace(RETIRING, activated_at=None), None, NOW + MINUTE + POLICY.signer_lag),
        (key("new", Phase.PENDING), None, None),
        (key("half", Phase.CREATING), None, None),
    ],
    ids=["active", "not superseded", "superseded", "taken over", "pending", "creating"],
)
def test_which_tokens_stop_working(
    of: Key, signed_from: datetime | None, signed_to: datetime | None
) -> None:
    """From its first activation to when the last signer had another key; the last token lives `token_ttl` more."""
    (item,) = broken(about(KeyRing("web", 7, (of,)), of.kid), known())
    assert (item.signed_from, item.signed_to) == (signed_from, signed_to)
    assert item.latest_exp == (None if signed_to is None else signed_to + POLICY.token_ttl)
    assert item.used == (signed_to is not None)


def test_a_key_that_was_rolled_back_to_signed_in_its_earlier_term_too() -> None:
    """Its date is that of its last activation; the history has the first."""
    first = NOW - timedelta(days=50)
    ring = replace(RING, history=(Entry(first, "key.promoted", "bad"),))
    assert broken(about(ring), known())[0].signed_from == first


@pytest.mark.parametrize(
    ("after", "failures", "suspicious", "because"),
    [
        (None, {}, "", ""),
        (replace(ACTIVE, phase=Phase.REVOKED), {}, "", "the next run"),
        (
            replace(ACTIVE, phase=Phase.REVOKED),
            {"material": StoreUnavailable("the store is sealed")},
            "",
            "the store is sealed",
        ),
        (
            replace(ACTIVE, phase=Phase.REVOKED, destroy_after=NOW + HOUR),
            {},
            "",
            "may still write it",
        ),
        (
            replace(ACTIVE, phase=Phase.REVOKED, destroy_after=NOW + HOUR),
            {},
            "the clock is ahead",
            "the clock is ahead",
        ),
    ],
    ids=["gone", "left", "refused", "creating", "clock"],
)
def test_whether_the_material_is_destroyed_and_why_not(
    after: Key | None, failures: dict[str, RotatorError], suspicious: str, because: str
) -> None:
    """A key leaves the ring when its material is confirmed gone."""
    kept = () if after is None else (after,)
    found = known(KeyRing("web", 9, kept), failures=failures)
    found = replace(found, observed=replace(found.observed, suspicious=suspicious))
    (item,) = broken(about(), found)
    assert item.destroyed == (after is None)
    assert because in item.kept_because
    assert bool(because) == bool(item.kept_because)


def test_a_key_whose_private_half_was_never_here_is_not_called_destroyed() -> None:
    """It was taken over from a target."""
    ring = KeyRing("web", 7, (replace(RETIRING, locator=None),))
    (item,) = broken(about(ring, "old"), known())
    assert not item.destroyed
    assert "only its public half" in item.kept_because


def trust(revocation: Revocation, found: Known, place: str) -> Trust:
    """Return what is said of one place."""
    (item,) = [item for item in trusts(revocation, found) if item.place == place]
    return item


def test_a_publication_without_the_key_is_trusted_for_its_caches_and_its_verifiers() -> None:
    """From the last look on."""
    item = trust(about(), known(), JWKS.name)
    assert item.longest == CACHED + POLICY.verifier_cache
    assert item.until(NOW) == NOW + CACHED + POLICY.verifier_cache
    assert (item.kind, item.carries) == ("publication", ())
    assert "CDN" in item.purge


@pytest.mark.parametrize(
    ("seen", "failure", "note"),
    [
        (sight(DocumentKind.JWKS, "bad", "next"), TargetFailing("disk full"), "disk full"),
        (sight(DocumentKind.JWKS, answered=False), TargetFailing("no answer"), "no answer"),
        (sight(DocumentKind.JWKS, "bad"), None, "as long as it may carry"),
    ],
    ids=["refuses", "silent", "nobody knows why"],
)
def test_no_duration_covers_a_publication_that_may_still_carry_the_key(
    seen: Sighting, failure: RotatorError | None, note: str
) -> None:
    """It is not called safe, and says why."""
    failures = {JWKS.name: failure} if failure is not None else {}
    item = trust(about(), known(seen={JWKS.name: seen}, failures=failures), JWKS.name)
    assert item.longest is None
    assert item.until(NOW) is None
    assert note in item.note


@pytest.mark.parametrize(
    ("told", "sooner"),
    [
        (Purged(True, "CloudFront E1 was told"), "every other CDN"),
        (Purged(False, "CloudFront E1 refused", "allow cloudfront:CreateInvalidation"), "allow"),
        (Purged(False, "CloudFront E1 did not answer"), "every CDN"),
    ],
    ids=["told", "refused", "silent"],
)
def test_what_became_of_telling_caches_is_said_with_their_publication(
    told: Purged, sooner: str
) -> None:
    """The bound stays: there are other caches."""
    item = trust(about(), known(purged={JWKS.name: told}), JWKS.name)
    assert told.text in item.note
    assert sooner in item.purge
    assert item.longest == CACHED + POLICY.verifier_cache


def test_what_was_written_after_the_look_counts() -> None:
    """Unless it failed."""
    seen = {JWKS.name: sight(DocumentKind.JWKS, "bad", "next")}
    written = {JWKS.name: ("next",)}
    assert trust(about(), known(seen=seen, written=written), JWKS.name).carries == ()
    failed = {JWKS.name: TargetFailing("late")}
    found = known(seen=seen, written=written, failures=failed)
    assert trust(about(), found, JWKS.name).carries == ("bad",)


@pytest.mark.parametrize(
    ("cache", "cached"),
    [(None, CACHED), (MINUTE, CACHED), (48 * HOUR, 48 * HOUR)],
    ids=["none seen", "shorter", "longer"],
)
def test_a_longer_cache_seen_at_a_probe_stands_in_for_ours(
    cache: timedelta | None, cached: timedelta
) -> None:
    """A shorter one does not: other ways to the JWKS may have ours."""
    seen = {PROBE.name: sight(DocumentKind.JWKS, "bad", cache=cache)}
    item = trust(about(places=(PROBE,)), known(seen=seen), PROBE.name)
    assert item.longest == cached + POLICY.verifier_cache
    assert item.kind == "probe"
    assert "still serves" in item.note


def test_a_cache_once_seen_and_still_in_force_counts_everywhere() -> None:
    """The ring keeps it like a raised duration (rule 1)."""
    policy = replace(POLICY, observed_cache=24 * HOUR)
    item = trust(about(policy=policy), known(), JWKS.name)
    assert item.longest == 24 * HOUR + policy.verifier_cache


def test_a_silent_probe_is_no_proof() -> None:
    """It says so, and has the bound of its caches all the same."""
    seen = {PROBE.name: sight(DocumentKind.JWKS, answered=False)}
    item = trust(about(places=(PROBE,)), known(seen=seen), PROBE.name)
    assert item.carries is None
    assert "did not answer" in item.note


def test_hmac_verifiers_have_no_cache_on_the_way() -> None:
    """They read their own document."""
    seen = {VERIFICATION.name: sight(DocumentKind.VERIFICATION, "next")}
    item = trust(about(policy=HMAC, places=(VERIFICATION,)), known(seen=seen), VERIFICATION.name)
    assert item.longest == HMAC.verifier_cache
    assert item.kind == "verification"
    assert "CDN" not in item.purge


def test_servers_of_other_processes_follow_within_a_resync() -> None:
    """Nobody but these looks at them; HMAC has none."""
    item = trust(about(), known(), "rotator's own server")
    assert item.longest == POLICY.resync + CACHED + POLICY.verifier_cache
    assert all(item.kind != "server" for item in trusts(about(policy=HMAC), known()))


@pytest.mark.parametrize("name", sorted(PROFILES), ids=str.upper)
def test_every_profile_says_how_long_and_what_to_do(name: str) -> None:
    """Those that forget a key only for an unknown kid have no duration; those that freeze are named."""
    profile = PROFILES[name]
    item = trust(about(verifiers=(name,)), known(), name)
    if profile.keeps == FOREVER:
        assert item.longest is None
        assert "a kid that it does not know" in item.note
    else:
        assert item.longest == CACHED + profile.keeps
    assert ("cannot fetch" in item.note) == profile.frozen
    assert item.purge


def test_signers_that_were_not_given_the_successor_are_named() -> None:
    """With why."""
    places = (SIGNING, replace(SIGNING, name="store:us/web/signing"))
    seen = {
        places[0].name: sight(DocumentKind.SIGNING, "next"),
        places[1].name: sight(DocumentKind.SIGNING, answered=False),
    }
    failures = {places[1].name: TargetFailing("no route to us")}
    given, not_given = signers(about(places=places), known(seen=seen, failures=failures))
    assert (given.given, given.holds, given.why_not) == (True, ("next",), "")
    assert (not_given.given, not_given.holds) == (False, ())
    assert not_given.why_not == "no route to us"


def test_when_a_key_that_no_cache_knows_is_to_sign() -> None:
    """Once announced everywhere its propagation counts from then, before that from now at the earliest."""
    active = replace(NEXT, phase=Phase.ACTIVE, activated_at=NOW)
    ring = KeyRing("web", 9, (active,))
    assert fresh_key_at(about(), known(ring)) is None
    ordered = replace(ring, promote=Order(NOW, replaces="next", urgent=True))
    wait = POLICY.propagation_wait
    assert fresh_key_at(about(), known(ordered)) == NOW + MINUTE + wait
    fresh = key("fresh", Phase.PENDING, announced={JWKS.name: NOW})
    announced = replace(ordered, keys=(active, fresh))
    assert fresh_key_at(about(), known(announced)) == NOW + wait


def test_it_was_revoked_when_the_history_says() -> None:
    """Making a new key may have taken a while; an earlier life of the same words does not count."""
    lines = (Entry(NOW - HOUR, "key.revoked", "bad"), Entry(NOW + MINUTE, "key.revoked", "bad"))
    assert revoked_at(about(), known(KeyRing("web", 9, history=lines))) == NOW + MINUTE
    assert revoked_at(about(), known()) == NOW


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("whole", [True, False], ids=["well", "ill"])
def test_the_report_is_what_its_schema_says_and_can_be_said_in_words(
    *, trusted: bool, whole: bool
) -> None:
    """Nothing in it is left out in words but the counts of seconds."""
    seen = None if whole else {JWKS.name: sight(DocumentKind.JWKS, "bad")}
    revocation = about(verifiers=("istio", "go-oidc"), trusted=trusted)
    report = report_of(revocation, known(seen=seen, failures={"material": TargetFailing("no")}))
    hold_against_schema({"format": "rotator.revocation/1", "key_sets": [report]})
    text = "\n".join(in_lines(report))
    wanted = ["leaked", "bad", "istio", "go-oidc", JWKS.name, SIGNING.name, "stop verifying"]
    assert not [word for word in wanted if word not in text]
    assert ("could not be trusted" in text) != trusted
    assert ("holds it" in text) == whole
    assert ("as long as it may carry" in text) != whole


def test_where_the_ring_was_not_trusted_any_kid_that_it_lacks_counts_as_revoked() -> None:
    """Nobody knows which keys there were."""
    seen = {JWKS.name: sight(DocumentKind.JWKS, "ghost", "next")}
    lost = about(KeyRing("web"), trusted=False)
    assert trust(lost, known(seen=seen), JWKS.name).carries == ("ghost",)
    assert trust(about(), known(seen=seen), JWKS.name).carries == ()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_signer_that_still_signs_with_a_revoked_key_is_named(trusted: bool) -> None:
    """By its check, from a token given since; what one said before, or that says nothing, is no proof."""
    after = known()
    late = replace(sight(DocumentKind.SIGNING), at=NOW + MINUTE)
    looks = {
        "signer:stays": replace(late, strangers=("bad",)),
        "signer:follows": replace(late, kids=("next",)),
        "signer:early": replace(late, strangers=("bad",), at=NOW - MINUTE),
        "signer:silent": replace(late, answered=False),
    }
    ring = RING if trusted else KeyRing("web")
    revocation = about(ring, "bad" if trusted else "unknown", trusted=trusted)
    told = report_of(revocation, replace(after, observed=Observed(watched=looks)))
    hold_against_schema({"format": "rotator.revocation/1", "key_sets": [told]})
    assert [(item["revoked"], bool(item["seen_at"])) for item in told["signer_checks"]] == [
        (["bad"], True),
        ([], True),
        ([], False),
        ([], False),
    ]
    words = "\n".join(in_lines(told))
    assert "signer:stays still signs with bad, seen at 2030-05-01T12:01:00Z" in words
    assert "signer:follows was seen at 2030-05-01T12:01:00Z not to sign with a revoked" in words
    assert words.count("has given no token since") == 2
