"""The shows of the first issue that are about one-shot commands: races, kills, pauses, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bench import BOUND, BRIEF, ROOT, Bench, hold_against_schema
from tests.cli.forge import Forge

AT_ONCE = 16
ROUNDS = 20


def assert_sound(bench: Bench, *, next_key: bool = True) -> dict[str, Any]:
    """One key signs and one is next; material, JWKS and signing document are the ring's; nothing is left over."""
    ring = bench.read_ring()
    phases = [key["phase"] for key in ring["keys"]]
    assert phases.count("active") == 1
    assert phases.count("pending") == int(next_key)
    assert "creating" not in phases
    # A discarded key stays until its creator, were it only stalled, can write no more (decision 0005).
    kept = [key for key in ring["keys"] if key["phase"] != "discarded"]
    located = {f"{key['locator']}.json" for key in kept if "locator" in key}
    assert {path.name for path in bench.material.iterdir()} == located
    published = {key["kid"] for key in ring["keys"] if key["phase"] in _PUBLISHED}
    assert {key["kid"] for key in json.loads(bench.jwks.read_bytes())["keys"]} == published
    active = next(key["kid"] for key in ring["keys"] if key["phase"] == "active")
    assert json.loads(bench.signing.read_bytes())["kid"] == active
    assert not [path for path in bench.path.rglob("*") if ".tmp" in path.name]
    return ring


_PUBLISHED = {"active", "pending", "retiring"}


def finish(forge: Forge, bench: Bench, killed: int) -> None:
    """Run `rotate` again after a kill: it finishes the work."""
    again = forge.run(bench, "rotate", leap=True)
    assert again.code == 0, f"after change {killed}: {again.out} {again.err}"
    assert_sound(bench)
    later = (datetime.now(UTC) + timedelta(minutes=3)).isoformat()
    assert forge.run(bench, "rotate", travel=later).code == 0
    assert all(key["phase"] in _PUBLISHED for key in assert_sound(bench)["keys"])


def test_show_4_sixteen_at_once(tmp_path: Path, forge: Forge) -> None:
    """Sixteen `rotate` on an empty store, 20 times: one active and one pending key, no orphan material."""
    for number in range(ROUNDS):
        place = tmp_path / str(number)
        place.mkdir()
        bench = Bench(place)
        pids = [forge.start(bench, "rotate") for _ in range(AT_ONCE)]
        ended = [forge.wait(pid) for pid in pids]
        assert [ran.code for ran in ended] == [0] * AT_ONCE, [ran.err for ran in ended]
        assert_sound(bench)


def test_show_4_sixteen_processes(bench: Bench) -> None:
    """The same once with the real command, each started from nothing."""
    processes = [bench.start("rotate") for _ in range(AT_ONCE)]
    errors = [process.communicate(timeout=BOUND)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * AT_ONCE, errors
    assert_sound(bench)


def test_show_5_killed_after_each_write_of_the_first_run(tmp_path: Path, forge: Forge) -> None:
    """`kill -9` after each change that `rotate` makes: the next run finishes the work."""
    killed = 0
    while True:
        killed += 1
        place = tmp_path / str(killed)
        place.mkdir()
        bench = Bench(place, policy=BRIEF)
        ran = forge.run(bench, "rotate", kill_after=killed)
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
        finish(forge, bench, killed)
    assert killed > 20  # ring, material, JWKS, delivery: there were many


def test_show_5_killed_after_each_write_of_a_revocation(tmp_path: Path, forge: Forge) -> None:
    """The same for `revoke` of the current key: promotion, delivery, destruction and a new key in one run."""
    killed = 0
    while True:
        killed += 1
        place = tmp_path / str(killed)
        place.mkdir()
        bench = Bench(place, policy=BRIEF)
        assert forge.run(bench, "rotate").code == 0
        active = next(key for key in bench.read_ring()["keys"] if key["phase"] == "active")
        words = ("revoke", active["kid"], "--reason", "a test", "--yes")
        ran = forge.run(bench, *words, kill_after=killed)
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
        finish(forge, bench, killed)
    assert killed > 10


def test_show_6_a_plan_of_a_year(tmp_path: Path) -> None:
    """`rotator plan --until 1y --json` on the example lists four rotations and changes no file."""
    example = tmp_path / "rotator.yaml"
    example.write_bytes((ROOT / "config" / "rotator.example.yaml").read_bytes())
    bench = Bench(tmp_path)
    before = bench.tree()
    ran = bench.run("plan", "--until", "1y", "--json", "-c", str(example))
    assert ran.code == 0, ran.err
    hold_against_schema(ran.json)
    (shown,) = ran.json["key_sets"]
    assert shown["rotations"] == 4
    due = [s for s in shown["calendar"] if (s["do"], s["reason"]) == ("promote", "rotation-due")]
    assert len(due) == 4
    assert bench.tree() == before


def test_show_7_a_truncated_ring(running: Bench) -> None:
    """Exit 65; the message names the file and `recover`; ring and JWKS stay as they are."""
    whole = running.ring.read_bytes()
    running.ring.write_bytes(whole[: len(whole) // 2])
    before = running.kept()
    ran = running.run("rotate")
    assert ran.code == 65
    assert str(running.ring) in ran.err
    assert "rotator recover web --ring FILE" in ran.err
    assert running.kept() == before


def test_show_8_an_unsafe_propagation(tmp_path: Path) -> None:
    """Exit 78 with the sum, each term, and the smallest safe value, at the right line."""
    text = (ROOT / "config" / "rotator.example.yaml").read_text()
    unsafe = re.sub(r"propagation: 24h", "propagation: 1m", text)
    config = tmp_path / "rotator.yaml"
    config.write_text(unsafe)
    line = 1 + unsafe[: unsafe.index("propagation: 1m")].count("\n")
    ran = Bench(tmp_path).run("rotate", "-c", str(config))
    assert ran.code == 78
    assert f"{config}:{line}:" in ran.err
    terms = ("jwks_max_age 5m", "jwks_stale 6h", "verifier_cache 1h", "clock_skew 5m", "resync 5m")
    for term in (*terms, "= 7h15m", "smallest safe value is 7h15m"):
        assert term in ran.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("stopped_at", ["signing", "jwks"])
def test_show_9_a_stopped_replica(bench: Bench, forge: Forge, stopped_at: str) -> None:
    """Stopped before it writes a target; another promotes and delivers; the first's old document does not land."""
    forge.run(bench, "rotate")
    first = current(bench)
    # It revokes the current key, and stands still before it takes the target's lock.
    words = ("revoke", first, "--reason", "a test", "--yes")
    pid = forge.start(bench, *words, stop_before=str(bench.path / stopped_at))
    assert forge.stopped(pid)
    try:
        second = current(bench)
        assert second != first
        # Meanwhile the other replaces that one too, and delivers its successor everywhere.
        ran = forge.run(bench, "revoke", second, "--reason", "a test", "--yes")
        assert ran.code == 0, ran.err
        third = current(bench)
        assert third not in (first, second)
        assert json.loads(bench.signing.read_bytes())["kid"] == third
        kept = bench.signing.read_bytes(), bench.jwks.read_bytes()
    finally:
        os.kill(pid, signal.SIGCONT)
    late = forge.wait(pid)
    assert late.code == 0, late.err
    assert (bench.signing.read_bytes(), bench.jwks.read_bytes()) == kept
    assert current(bench) == third
    assert_sound(bench)


def current(bench: Bench) -> str:
    """Return the kid that signs, as the ring has it."""
    return str(next(key["kid"] for key in bench.read_ring()["keys"] if key["phase"] == "active"))
