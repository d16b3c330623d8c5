"""`rotator rehearse`, as people run it."""

from __future__ import annotations

from tests.cli.bench import Bench
from tests.cli.test_terminal import on_a_terminal

RISKY = {
    "propagation": "2h",
    "rotate_every": "14h",
    "standby": "just-in-time",
}


def test_five_years(bench: Bench) -> None:
    """The configuration of the quick start: 20 rotations, 0 rejected; no store is opened, nothing written."""
    before = bench.tree()
    ran = bench.good("rehearse")
    assert "web: 5y, seed 1, 20 rotations" in ran.out
    assert "rejected 0" in ran.out
    assert "USD a year" in ran.out
    assert ran.err == "", "no progress where there is no terminal"
    assert bench.tree() == before


def test_below_its_floor(bench: Bench) -> None:
    """Refused, but for --unsafe; then it says whose tokens were rejected, and ends with 1."""
    bench.configure(**RISKY)
    refused = bench.run("rehearse", "--for", "5d")
    assert refused.code == 78
    assert "the smallest safe value is 7h15m" in refused.err
    ran = bench.run("rehearse", "--for", "5d", "--unsafe")
    assert ran.code == 1
    assert "rejected by a verifier that caches for 1h: " in ran.out
    told = bench.answer("rehearse", "web", "--for", "5d", "--unsafe", "--seed", "2")
    (found,) = told["key_sets"]
    assert (told["exit_code"], told["unsafe"], told["seed"]) == (1, True, 2)
    assert found["tokens"]["rejected"] > 0
    assert found["verifiers"][0]["first"]["target"].startswith("file:")
    assert bench.run("rotate").code == 78, "only a rehearsal takes it"


def test_sensitivity(bench: Bench) -> None:
    """Every experiment in the JSON document; a calm week says nothing went wrong."""
    told = bench.answer("rehearse", "--for", "7d", "--calm", "--sensitivity", "--replicas", "1")
    (found,) = told["key_sets"]
    tried = {item["duration"]: item for item in found["sensitivity"]}
    assert tried[None]["rejected"] == 0
    assert tried["propagation"]["rejected"] > 0
    assert tried["propagation"]["verifiers"][0]["rejected"] > 0
    assert not any(found["went_wrong"].values())


def test_misuse(bench: Bench) -> None:
    """Words that mean nothing, and times in which too much would happen."""
    for words in (("--for", "soon"), ("--for", "0s"), ("--for", "101y"), ("--replicas", "0")):
        assert bench.run("rehearse", *words).code == 2
    bench.configure(
        rotate_every="1m",
        **dict.fromkeys(("propagation", "token_ttl"), "30s"),
        **dict.fromkeys(("verifier_cache", "leeway", "signer_lag", "jwks_stale"), "1s"),
        **dict.fromkeys(("clock_skew", "jwks_max_age", "resync"), "1s"),
    )
    ran = bench.run("rehearse")
    assert ran.code == 2
    assert "2,628,000 rotations" in ran.err
    assert "--for 3d11h20m" in ran.err


def test_progress_on_a_terminal(bench: Bench) -> None:
    """A line that is written over, and gone at the end."""
    code, shown = on_a_terminal(bench, "rehearse", "--for", "2y")
    assert code == 0
    assert "rehearsing web [" in shown
    assert "%" in shown
    assert "\x1b[K" in shown
    assert shown.rindex("rehearsing web") < shown.index(": 2y, seed 1")
