"""`rotate --wait` and what else shows on a terminal that it takes long."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.campaign.processes import until
from tests.cli.bench import BOUND, Bench
from tests.cli.test_server_only import behind_a_server
from tests.cli.test_terminal import on_a_terminal

SHORT = dict.fromkeys(
    ("verifier_cache", "leeway", "clock_skew", "signer_lag", "resync"), "200ms"
) | {
    "jwks_max_age": "1s",
    "jwks_stale": "1s",
    "token_ttl": "1s",
    "rotate_every": "1h",
    "propagation": "3s",
}


@pytest.fixture
def short(tmp_path: Path) -> Bench:
    """A key set whose next key has propagated after three seconds."""
    return Bench(tmp_path, policy=SHORT)


def test_waits_until_the_order_is_done(short: Bench) -> None:
    """The order stands when `rotate --now` ends; with --wait the next key signs by then."""
    short.good("rotate", "--wait")
    before = short.state()
    told = short.answer("rotate", "--now", "--wait")["key_sets"][0]
    assert told["current"] == before["next"][0]["kid"]
    assert next(step["do"] for step in told["steps"]) == "promote"
    assert told["changed"]
    assert short.state()["orders"]["promote"] is None


def test_says_on_a_terminal_what_it_waits_for(short: Bench) -> None:
    """One line, written over; none is left, and none without a terminal."""
    short.good("rotate")
    # However long the command takes to start, it has to wait for this one.
    short.good("hold", "--reason", "a test")
    released = threading.Event()

    def release(shown: bytes) -> None:
        if shown.count(b"\x1b[K") >= 2 and not released.is_set():
            released.set()
            short.good("release")

    words = ("rotate", "--now", "--wait", "--log-level", "error")
    code, shown = on_a_terminal(short, *words, watch=release)
    assert code == 0
    assert "\x1b[Kweb: " in shown
    assert shown.count("\x1b[K") >= 2
    quiet = short.good("rotate", "--now", "--wait", "--log-level", "error")
    assert quiet.err == ""


def test_goes_with_no_dry_run(short: Bench) -> None:
    """Nothing would ever be done."""
    ran = short.run("rotate", "--wait", "--dry-run")
    assert ran.code == 2
    assert "--wait does not go with --dry-run" in ran.err


def test_waits_for_whoever_may_tick(short: Bench) -> None:
    """Where only a daemon's server publishes, another process carries out what follows an emergency."""
    written = json.loads(short.config.read_text())
    whole = short.path / "whole.json"
    whole.write_text(json.dumps(written))
    behind_a_server(short)
    with short.start("rotate", "--emergency", "--yes", "--wait") as waits:
        try:
            until(lambda: bool(short.read_ring().get("promote")))
            assert waits.poll() is None
            ran = short.run("-c", str(whole), "rotate", "--wait")
            assert ran.code == 0, ran.err
            out, _ = waits.communicate(timeout=BOUND)
        finally:
            waits.kill()
    assert waits.returncode == 0
    assert "the rest is done by `rotator run`" in out


def test_move_shows_which(short: Bench) -> None:
    """The key set that is moved just now, and how many there are."""
    short.good("rotate")
    document = json.loads(short.config.read_text())
    document["stores"]["other"] = {"backend": "file", "path": "other"}
    document["key_sets"]["web"]["store"] = "local"
    short.config.write_text(json.dumps(document))
    code, shown = on_a_terminal(short, "move", "web", "--from", "local", "--to", "other")
    assert code == 0, shown
    assert "moving web (1 of 1)" in shown
    assert "\x1b[K" in shown
