"""Change windows on the command line: what `plan` and `rotate --now` say, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.cli.bench import Bench, Ran
from tests.cli.forge import Forge

# Open at the end of the year only, half of which is to come for whoever asks in June.
JUNE = datetime(2031, 6, 15, 12, tzinfo=UTC).isoformat()
WINDOWS = {"time_zone": "Europe/Berlin", "freezes": [{"first": "01-01", "last": "12-28"}]}
YEARLY = {"token_ttl": "15m", "signer_lag": "5m", "rotate_every": "370d"}


def test_a_life_with_windows(tmp_path: Path, forge: Forge) -> None:
    """The first key waits for none; the next one for the days that are free, an order too unless told otherwise."""
    bench = Bench(tmp_path, policy=YEARLY, key_set={"windows": WINDOWS})

    def good(*words: str) -> Ran:
        ran = forge.run(bench, *words, travel=JUNE)
        assert ran.code == 0, ran
        return ran

    good("rotate")
    (step,) = good("plan", "--json").json["key_sets"][0]["steps"]
    assert (step["reason"], step["overdue"]) == ("not-due", False)
    wall = datetime.fromisoformat(step["due_at"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert (wall.month, wall.day) in {(12, 29), (12, 30), (12, 31)}
    assert "its change window opens later" in step["detail"]
    ordered = good("rotate", "--now")
    assert "in its next change window (`--ignore-windows` waits for none)" in ordered.words
    again = good("rotate", "--now", "--ignore-windows")
    assert "whatever its change windows" in again.words
    order = json.loads(bench.ring.read_text(encoding="utf-8"))["promote"]
    assert order["ignore_windows"] is True
    (step,) = good("plan", "--json").json["key_sets"][0]["steps"]
    assert "change window" not in step["detail"]
    shown = good("status", "--json").json["key_sets"][0]["orders"]["promote"]
    assert shown["ignore_windows"] is True


def test_what_is_refused(tmp_path: Path) -> None:
    """A word at the wrong place is misuse; windows that keep no rotation going are a faulty configuration."""
    bench = Bench(tmp_path, key_set={"windows": WINDOWS})
    ran = bench.run("plan")
    assert ran.code == 78
    assert "key_sets.web.windows: stays closed for 363d" in ran.words
    assert "needs rotate_every 363d1h6m or more" in ran.words
    bench = Bench(tmp_path)
    ran = bench.run("rotate", "--ignore-windows")
    assert ran.code == 2
    assert "--ignore-windows goes with --now" in ran.words
