"""A rehearsal: bounded here; its years are lived through in tests/cli and in docs/rehearse.md."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from rotator.algorithms import kind_of
from rotator.observed import DocumentKind
from rotator.policy import ZERO, RotationPolicy, Standby, broken_clauses
from rotator.rehearsal.clocks import START, TrueTime
from rotator.rehearsal.prices import CALLS, aws_year
from rotator.rehearsal.simulate import Rehearsal
from rotator.rehearsal.simulate_cast import ELSEWHERE, Cast, Spot, cast_of, literal
from rotator.rehearsal.simulate_record import Course, Record
from rotator.rehearsal.simulate_report import Experiment, Report, experiments, rehearse, sensitivity
from rotator.rehearsal.simulate_tally import Tally
from rotator.rehearsal.simulate_tokens import Court, Verifier
from rotator.settings import load_settings

ROOT: Final = Path(__file__).parents[2]
YEAR: Final = timedelta(days=365)
HOUR: Final = timedelta(hours=1)
SECOND: Final = timedelta(seconds=1)

QUICK: Final = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(minutes=15), signer_lag=timedelta(minutes=5)
)
"""What `rotator init` writes."""

TIGHT: Final = replace(
    QUICK,
    propagation=QUICK.propagation_floor,
    rotate_every=QUICK.propagation_floor + QUICK.cached,
    standby=Standby.JUST_IN_TIME,
)
"""Everything exactly at its floor."""

FILES: Final = (
    Spot("files:signing", DocumentKind.SIGNING),
    Spot("file:jwks.json", DocumentKind.JWKS),
)


def cast(policy: RotationPolicy = QUICK, **more: object) -> Cast:
    """Return a key set with its documents in files."""
    return replace(Cast("web", policy, FILES), **more)  # type: ignore[arg-type]


@cache
def a_year(seed: int) -> Report:
    """A year of what `rotator init` writes."""
    return rehearse(cast(), ("aspnet", "istio"), seed, YEAR)


def test_a_year_rejects_nothing() -> None:
    """Four rotations in any weather; keys live for two periods and their grace, or a bit more."""
    report = a_year(1)
    assert report.good
    assert report.rotations == 4
    assert report.judged.signed > 15_000
    assert report.judged.verified > 3 * report.judged.signed
    assert report.verifiers[-1] == "a verifier that caches for 1h"
    assert len(report.verifiers) == 3
    assert timedelta(days=180) < report.longest_life < timedelta(days=200)
    assert timedelta(days=90) <= report.longest_signing < timedelta(days=100)
    assert sum(report.weather.values()) >= 4
    assert 200_000 < report.calls_year < 300_000
    assert report.busiest_calls >= 2 * 12


def test_the_seed_decides() -> None:
    """The same seed is the same rehearsal, another is another."""
    again = rehearse(cast(), ("aspnet", "istio"), 1, YEAR)
    assert again == a_year(1)
    assert rehearse(cast(), ("aspnet", "istio"), 2, YEAR) != again


@pytest.mark.parametrize("standby", Standby)
@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("file", {}),
        ("aws", {"servers": True, "probed": (ELSEWHERE,)}),
        ("vault", {"spots": (*FILES, Spot("store:own", DocumentKind.SIGNING, "own"))}),
        ("conjur", {"spots": (*FILES, Spot("store:other", DocumentKind.JWKS, "other"))}),
    ],
)
def test_at_every_floor(backend: str, more: dict[str, object], standby: Standby) -> None:
    """Every duration at its floor, every kind of store, and 0 rejected."""
    policy = replace(TIGHT, standby=standby)
    assert not broken_clauses(policy)
    assert broken_clauses(replace(policy, rotate_every=policy.rotate_every - SECOND))
    report = rehearse(cast(policy, backend=backend, **more), (), 5, 12 * policy.rotate_every)
    assert report.good, report.found
    assert report.rotations >= 6


def test_hmac() -> None:
    """HMAC keys have verification documents, and no caches on the way."""
    policy = replace(TIGHT, kind=kind_of("HS256"))
    spots = (FILES[0], Spot("files:verification", DocumentKind.VERIFICATION))
    report = rehearse(cast(policy, spots=spots), ("aspnet",), 3, 12 * policy.rotate_every)
    assert report.good, report.found
    assert report.verifiers == ("a verifier that caches for 1h",)
    names = [item.duration for item in experiments(policy)]
    assert "verifier_cache" in names
    assert "jwks_stale" not in names


def test_propagation_below_its_floor() -> None:
    """Taken at its word, it breaks those that cache, and only them; in its own words."""
    policy = replace(TIGHT, propagation=timedelta(hours=6, minutes=30))
    assert broken_clauses(policy)
    told = cast(policy, told=literal(policy))
    report = rehearse(told, ("pyjwt", "istio"), 1, 10 * policy.rotate_every)
    assert not report.good
    assert report.judged.rejected > 0
    assert set(report.judged.by) == {"Istio", "a verifier that caches for 1h"}
    first = report.judged.first["Istio"]
    assert first.place == "file:jwks.json"
    assert "7h5m old" in first.why
    assert first.at > START


def test_the_program_itself_resists() -> None:
    """Only a rehearsal takes such a propagation at its word: the program waits for the floor all the same."""
    policy = replace(TIGHT, propagation=HOUR)
    assert rehearse(cast(policy), (), 1, 10 * policy.rotate_every).good


@pytest.fixture(scope="module")
def tried() -> dict[str, tuple[Experiment, Report]]:
    """Every experiment, by its duration."""
    found = sensitivity(cast(replace(QUICK, jwks_max_age=HOUR)), ("pyjwt",), 1)
    return {experiment.duration: (experiment, report) for experiment, report in found}


def test_every_duration_counts(tried: dict[str, tuple[Experiment, Report]]) -> None:
    """With every duration at its floor nobody rejects a token; with any one of them less, somebody does."""
    assert list(tried) == [
        "", "propagation", "grace", "verifier_cache", "signer_lag", "token_ttl", "leeway",
        "jwks_max_age", "jwks_stale",
    ]  # fmt: skip
    assert tried[""][1].good, tried[""][1].found
    quiet = [name for name, (_, report) in tried.items() if not report.judged.rejected]
    assert quiet == [""]


def test_a_profile_is_named(tried: dict[str, tuple[Experiment, Report]]) -> None:
    """PyJWT caches for five minutes: it does not mind that an hour was left out, nor the leeway it has not."""
    worst = "a verifier that caches for 1h"
    assert set(tried["verifier_cache"][1].judged.by) == {worst}
    assert set(tried["leeway"][1].judged.by) == {worst}
    assert worst in tried["jwks_stale"][1].judged.by
    assert "PyJWT PyJWKClient 2" in tried["jwks_stale"][1].judged.by
    gone = tried["grace"][1].judged.first[worst]
    assert gone.why == "the key was gone already, and the token still valid"


def test_documented_prices_and_calls() -> None:
    """docs/cost.md and the table of calls agree, for a key's life without bad weather and its documents in files."""
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert "0.40 USD for each secret and month, 0.05 USD for 10,000 calls" in page
    assert aws_year(3, 0) == pytest.approx(14.40)
    assert aws_year(0, 10_000) == pytest.approx(0.05)
    rows = re.findall(r"^\| `(\w+)` \| \d+ \| \d+ \| (\d+) \|", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(CALLS)
    for backend, most in rows:
        one = cast(backend=backend, replicas=1)
        # Of one life and of two: the second is a life without the first run.
        spans = [Rehearsal(one, 1, calm=True) for _ in range(2)]
        for count, rehearsal in enumerate(spans, start=1):
            rehearsal.run(count * QUICK.rotate_every + timedelta(days=1))
        asked = [{n: c for n, c in r.tally.operations.items() if n != "load"} for r in spans]
        # Loads of looks at rest are no part of a life; each of its ticks has one.
        life = sum(CALLS[backend][n] * (c - asked[0][n]) for n, c in asked[1].items())
        life += CALLS[backend]["load"] * (spans[1].ticks - spans[0].ticks - 16)
        assert int(most) * 0.6 <= life <= int(most), backend


def test_calls_by_the_hour() -> None:
    """Looks at rest are counted in the hours in which they would have been."""
    true = TrueTime()
    tally = Tally(true, "aws")
    for _ in range(3):
        tally.count("save")
    tally.idle(START + HOUR / 2, START + 3 * HOUR, timedelta(minutes=10), Counter(load=2))
    assert [tally.hours[number] for number in range(4)] == [9 + 2 * 3, 12, 12, 0 + 0]
    assert tally.busiest() == (START, 15)
    assert tally.calls("aws") == 9 + 30
    assert tally.calls("vault") == 3 + 30


def test_tokens_by_hand() -> None:
    """A key that is used an hour after it was shown is unknown to whoever caches for longer."""
    true = TrueTime()
    record = Record(true)
    old, new = ("old", "a"), ("new", "b")
    record.signing["s"] = Course([START, START + 5 * HOUR], [old, new])
    record.shown["j"] = Course(
        [START, START + 4 * HOUR, START + 6 * HOUR],
        [frozenset({old}), frozenset({old, new}), frozenset({new})],
    )
    policy = replace(QUICK, jwks_max_age=ZERO, jwks_stale=ZERO, signer_lag=ZERO, clock_skew=ZERO)
    quick, slow = Verifier("quick", HOUR - SECOND, ZERO), Verifier("slow", 2 * HOUR, ZERO)
    court = Court(record, policy, (quick, slow), START + 10 * HOUR, random.Random(1))
    judged = court.sit()
    assert set(judged.by) == {"slow"}
    assert judged.first["slow"].at == START + 5 * HOUR
    assert judged.first["slow"].kid == "new"
    late = replace(policy, token_ttl=2 * HOUR)
    judged = Court(record, late, (quick,), START + 10 * HOUR, random.Random(1)).sit()
    assert "gone already" in judged.first["quick"].why


def test_cast_of_the_example(tmp_path: Path) -> None:
    """Targets, probes and the built-in server of a configuration take part."""
    path = tmp_path / "rotator.yaml"
    example = (ROOT / "config" / "rotator.example.yaml").read_text(encoding="utf-8")
    path.write_text(example, encoding="utf-8")
    settings = load_settings(path, {})
    (name,) = settings.key_sets
    found = cast_of(settings, name, replicas=3)
    assert {spot.kind for spot in found.spots} == {DocumentKind.SIGNING, DocumentKind.JWKS}
    assert found.backend == "file"
    assert found.told is None
    assert found.replicas == 3
    report = rehearse(found, settings.key_sets[name].verifiers, 4, YEAR / 2)
    assert report.good, report.found
    assert report.rotations == 2
    assert type(cast_of(settings, name, replicas=1, unsafe=True).told).__name__ == "Literal"
