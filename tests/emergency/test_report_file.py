"""`--report`: where it goes, what it refuses, and that it never stands in the way of a revocation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.bench import Bench, hold_against_schema
from tests.cli.forge import Forge, ready, shared


@pytest.fixture(scope="module")
def forge() -> Forge:
    """Return what runs commands in forked processes."""
    return shared()


@pytest.fixture
def bench(tmp_path: Path, forge: Forge) -> Bench:
    """Return a key set with a current and a next key."""
    return ready(forge, tmp_path)


def current(bench: Bench) -> str:
    """Return the kid that signs."""
    return str(json.loads(bench.signing.read_bytes())["kid"])


def test_an_emergency_reports_on_every_key(bench: Bench, forge: Forge) -> None:
    """In JSON, whole, for its owner alone, and without any key material."""
    secret = json.loads(bench.signing.read_bytes())["jwk"]["d"]
    bad = current(bench)
    report = bench.path / "report.json"
    report.write_text("what was there before")
    report.chmod(0o644)
    words = ("rotate", "--emergency", "--reason", "the store leaked", "--yes", "--report")
    ran = forge.run(bench, *words, str(report), "--json")
    assert ran.code == 0, ran.err
    hold_against_schema(ran.json)
    written = json.loads(report.read_bytes())
    hold_against_schema(written)
    assert written["key_sets"] == [ran.json["key_sets"][0]["report"]]
    (told,) = written["key_sets"]
    assert {item["was"] for item in told["revoked"]} == {"current", "next"}
    assert bad in {item["kid"] for item in told["revoked"]}
    assert told["signs"] == {"kid": current(bench), "was": "new"}
    assert told["fresh_key_at"]
    assert report.stat().st_mode & 0o777 == 0o600
    assert secret not in report.read_text()
    assert [path.name for path in bench.path.iterdir() if ".tmp" in path.name] == []


def test_a_report_in_words_is_what_was_printed(bench: Bench, forge: Forge) -> None:
    """Whatever the file is called, but for JSON."""
    words = ("revoke", current(bench), "--reason", "a test", "--yes", "--report", "what.txt")
    ran = forge.run(bench, *words)
    assert ran.code == 0, ran.err
    text = (bench.path / "what.txt").read_text()
    assert text.startswith("key set web: revoked at ")
    assert text in ran.out


def test_a_key_that_never_signed_breaks_nothing_and_the_report_says_so(
    bench: Bench, forge: Forge
) -> None:
    """Nobody is asked, and the current key stays."""
    ring = bench.read_ring()
    (coming,) = [key["kid"] for key in ring["keys"] if key["phase"] == "pending"]
    ran = forge.run(bench, "revoke", coming, "--reason", "a test", "--json")
    (told,) = ran.json["key_sets"]
    assert [item["signed"] for item in told["report"]["revoked"]] == [False]
    assert told["report"]["signs"] == {"kid": current(bench), "was": "current"}
    assert told["report"]["fresh_key_at"] is None


def test_a_report_that_cannot_be_written_does_not_stop_the_revocation(
    bench: Bench, forge: Forge
) -> None:
    """It is printed; the exit code says that the file is not there."""
    bad = current(bench)
    words = ("revoke", bad, "--reason", "a test", "--yes", "--report", "nowhere/report.json")
    ran = forge.run(bench, *words)
    assert ran.code == 1
    assert "the report cannot be written" in ran.err
    assert "the keys are revoked" in ran.err
    assert "its tokens stop verifying" in ran.out
    assert current(bench) != bad


@pytest.mark.parametrize(
    "words",
    [
        ("revoke", "KID", "--reason", "a test", "--dry-run", "--report", "r.json"),
        ("rotate", "--report", "r.json"),
        ("rotate", "--now", "--report", "r.json"),
        ("rotate", "--emergency", "--dry-run", "--report", "r.json"),
    ],
    ids=["dry revoke", "rotate", "rotate --now", "dry emergency"],
)
def test_where_nothing_is_revoked_there_is_nothing_to_report(
    bench: Bench, forge: Forge, words: tuple[str, ...]
) -> None:
    """Refused, and nothing is changed."""
    before = bench.tree()
    ran = forge.run(bench, *(current(bench) if word == "KID" else word for word in words))
    assert ran.code == 2
    assert "--report" in ran.err
    assert bench.tree() == before


def test_a_lost_ring_leaves_keys_that_nobody_knows(bench: Bench, forge: Forge) -> None:
    """The report of an emergency over it says so."""
    bench.ring.write_bytes(bench.ring.read_bytes()[:100])
    ran = forge.run(bench, "rotate", "--emergency", "--yes", "--report", "r.json")
    assert ran.code == 0, ran.err
    assert "could not be trusted" in ran.out
    (told,) = json.loads((bench.path / "r.json").read_bytes())["key_sets"]
    assert told["every_key_known"] is False
    assert told["revoked"] == []
    assert told["signs"] == {"kid": current(bench), "was": "new"}
