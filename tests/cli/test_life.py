"""A whole life of a key set by one-shots, as cron would run them: time is moved, nothing is waited for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bench import Bench
from tests.cli.forge import Forge

DAY = timedelta(days=1)
MOMENT = timedelta(minutes=1)
"""Longer than a command takes: what it did is dated so much after its beginning."""


class Life:
    """One key set, and a clock that the test moves."""

    def __init__(self, bench: Bench, forge: Forge) -> None:
        self.bench = bench
        self._forge = forge
        self.now = datetime.now(UTC)

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command at this time; return what it printed."""
        ran = self._forge.run(self.bench, *words, travel=self.now.isoformat())
        assert ran.code == code, (words, ran.code, ran.out, ran.err)
        return ran.out

    def status(self) -> Any:
        """Return the key set's status."""
        return json.loads(self.run("status", "--json"))["key_sets"][0]

    def kids_previous(self) -> list[str]:
        """Return the previous kids, whatever `status` ends with."""
        ring = self.bench.read_ring()
        return [key["kid"] for key in ring["keys"] if key["phase"] == "retiring"]

    def kids(self) -> tuple[str, list[str], list[str]]:
        """Return current, next and previous."""
        shown = self.status()
        coming, leaving = ([key["kid"] for key in shown[name]] for name in ("next", "previous"))
        return shown["current"]["kid"], coming, leaving


@pytest.fixture
def life(tmp_path: Path, forge: Forge) -> Life:
    """Return a key set after its first run."""
    life = Life(Bench(tmp_path), forge)
    life.run("rotate")
    return life


def published(bench: Bench) -> set[str]:
    """Return the kids of the JWKS."""
    return {key["kid"] for key in json.loads(bench.jwks.read_bytes())["keys"]}


def test_a_rotation(life: Life) -> None:
    """Next becomes current when it is due, the old one retires after its grace and is destroyed."""
    first, (second,), _ = life.kids()
    life.now += 89 * DAY
    life.run("due", code=1)
    life.run("rotate")
    assert life.kids()[0] == first
    life.now += DAY + MOMENT
    life.run("due")
    life.run("rotate")
    current, (third,), previous = life.kids()
    assert (current, previous) == (second, [first])
    assert published(life.bench) == {first, second, third}
    assert json.loads(life.bench.signing.read_bytes())["kid"] == second
    life.now += timedelta(minutes=36)  # grace: 15m + 5m + 5m + 2 × 5m
    life.run("rotate")
    assert life.kids() == (second, [third], [])
    assert published(life.bench) == {second, third}
    assert len(list(life.bench.material.iterdir())) == 2
    events = json.loads(life.run("history", "--kid", first, "--json"))["key_sets"][0]["entries"]
    assert [entry["event"] for entry in events] == [
        "key.creating",
        "key.created",
        "key.announced",
        "key.promoted",
        "key.superseded",
        "key.retired",
        "key.destroyed",
    ]


def test_the_calendar_comes_true(life: Life) -> None:
    """What `plan --until` foretells is what one-shots at those times do."""
    end = life.now + 200 * DAY
    told = json.loads(life.run("plan", "--until", end.isoformat(), "--json"))["key_sets"][0]
    assert told["rotations"] == 2
    for number, step in enumerate(told["calendar"], 1):
        # Each run comes a little later than foretold, and so does all that follows from it.
        life.now = datetime.fromisoformat(step["due_at"]) + number * MOMENT
        life.run("rotate")
    done = json.loads(life.run("history", "--json"))["key_sets"][0]["entries"]
    names = {"create": "key.creating", "promote": "key.promoted", "retire": "key.retired"}
    names["destroy"] = "key.destroyed"
    happened = [entry["event"] for entry in done if entry["event"] in names.values()]
    foretold = [names[step["do"]] for step in told["calendar"]]
    assert happened[-len(foretold) :] == foretold


def test_a_hold_and_a_pin(life: Life) -> None:
    """Held: nothing rotates. Pinned: nothing retires."""
    first, (second,), _ = life.kids()
    life.run("hold", "--reason", "a release")
    life.run("pin", first, "--reason", "an offline verifier")
    life.now += 91 * DAY
    life.run("rotate")
    shown = life.status()
    assert shown["current"]["kid"] == first
    assert "held" in {step["reason"] for step in shown["waits_for"]}
    assert shown["orders"]["hold"]["reason"] == "a release"
    life.run("release")
    assert life.kids()[0] == second
    life.now += DAY
    life.run("rotate")
    assert life.kids()[2] == [first]
    life.run("unpin", first)
    life.run("rotate")
    assert life.kids()[2] == []


def test_a_rollback(life: Life) -> None:
    """The previous key signs again, the key set is held, and the other retires after `release`."""
    first, (second,), _ = life.kids()
    life.now += 90 * DAY + MOMENT
    life.run("rotate")
    life.run("rollback", "--reason", "signers choke on it")
    assert life.kids()[0] == first
    assert json.loads(life.bench.signing.read_bytes())["kid"] == first
    assert life.status()["orders"]["hold"]["reason"] == "rollback: signers choke on it"
    life.now += DAY
    life.run("rotate")
    assert second in life.kids()[2]
    life.run("release")
    assert second not in published(life.bench)


def test_a_target_that_left_for_good(tmp_path: Path, forge: Forge) -> None:
    """It counts as holding what it was last seen with until `recover --forget`."""
    gone = tmp_path / "gone"
    two = [{"to": "files", "path": "signing/web"}, {"to": "files", "path": str(gone)}]
    life = Life(Bench(tmp_path, key_set={"deliver": two}), forge)
    life.run("rotate")
    first = life.kids()[0]
    life.bench = Bench(tmp_path)
    life.now += 90 * DAY + MOMENT
    life.run("rotate")
    life.now += DAY
    assert "overdue" in life.run("rotate", code=75)
    assert life.kids_previous() == [first]
    target = f"files:{gone}"
    life.run("recover", "--forget", target, code=2)  # nobody is there to be asked
    life.run("recover", "--forget", target, "--yes")
    life.now += timedelta(hours=1)
    life.run("rotate")
    assert life.kids_previous() == []


def test_overdue_is_said_by_the_exit_code(life: Life) -> None:
    """A next key that is not seen where it must be, past the due date: 75, and status says where."""
    life.now += 90 * DAY + MOMENT
    life.bench.jwks.parent.rename(life.bench.jwks.parent.parent.with_name("away"))
    life.bench.jwks.parent.parent.rmdir()
    assert "overdue" in life.run("rotate", code=75)
    assert "overdue" in life.run("status", "--live", code=75)


def test_symmetric_keys(tmp_path: Path, forge: Forge) -> None:
    """HMAC: no JWKS anywhere, the verification document has the overlap."""
    life = Life(Bench(tmp_path, algorithm="HS256"), forge)
    life.run("rotate")
    first, (second,), _ = life.kids()
    document = json.loads((tmp_path / "signing" / "web-v" / "verification.json").read_bytes())
    assert {key["kid"] for key in document["keys"]} == {first, second}
    life.run("jwks", code=2)
    life.run("check")
    life.run("rotate", "--dry-run")
    secrets = [key["k"] for key in document["keys"]]
    for words in (("status", "--live"), ("history",), ("plan", "--until", "1y"), ("check",)):
        shown = life.run(*words, "--json")
        assert not any(secret in shown for secret in secrets)


def test_a_change_of_algorithm_is_announced(life: Life) -> None:
    """Another kind of key waits for its propagation; another key type needs a word."""
    first = life.kids()[0]
    other = Bench(life.bench.path, algorithm="EdDSA")
    life.bench = other
    life.run("rotate", code=78)
    life.bench = Bench(other.path, algorithm="EdDSA", key_set={"allow_mixed_kty": True})
    life.run("rotate")
    assert life.kids()[0] == first
    life.now += DAY + timedelta(minutes=1)
    life.run("rotate")
    assert life.status()["current"]["algorithm"] == "EdDSA"
