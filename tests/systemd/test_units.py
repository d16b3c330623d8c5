"""What systemd itself says of the units, and what they must agree with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from rotator.policy import RotationPolicy
from tests.systemd import units

DROP_INS = sorted(file.name for file in (units.UNITS / "drop-ins").iterdir())
EXPOSED_AT_MOST = 2.0


def analyze(*words: str | Path, units_in: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no running systemd; left out, in so many words, where it is not installed."""
    if shutil.which("systemd-analyze") is None:
        text = "systemd-analyze is not installed here: apt-get install systemd"
        if os.environ.get("CI") == "true":
            pytest.fail(f"left out under CI=true: {text}")
        pytest.skip(text)
    environ = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "Europe/Berlin", "SYSTEMD_COLORS": "0"}
    if units_in is not None:
        environ["SYSTEMD_UNIT_PATH"] = f"{units_in}:"
    return subprocess.run(
        ["systemd-analyze", *words], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("drop_ins", [(), DROP_INS], ids=["bare", "with drop-ins"])
def test_units_verify(tmp_path: Path, drop_ins: list[str]) -> None:
    """Any output is a failure: `verify` ends with 0 on lines that it ignores."""
    made = units.copies(tmp_path, drop_ins)
    ran = analyze("verify", "--man=no", *made, units_in=made[0].parent)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    for file in made:
        if file.suffix == ".service":
            ran = analyze("security", "--offline=true", "--no-pager", file, units_in=file.parent)
            found = re.search(rf"exposure level for {file.name}: ([\d.]+)", ran.stdout)
            assert found is not None, ran.stderr
            assert float(found[1]) <= EXPOSED_AT_MOST, ran.stdout


def test_a_misspelt_line_would_be_seen(tmp_path: Path) -> None:
    """In a drop-in too."""
    made = units.copies(tmp_path, DROP_INS)
    drop_in = made[0].parent / "rotator.service.d" / DROP_INS[0]
    drop_in.write_text(drop_in.read_text() + "ProtectSytem=strict\n")
    ran = analyze("verify", "--man=no", *made, units_in=made[0].parent)
    assert "'ProtectSytem'" in ran.stderr


def test_both_services_live_in_the_same_sandbox() -> None:
    """What follows the line about the state directory is the same text in both."""
    texts = [
        (units.UNITS / name).read_text().partition("# /var/lib/rotator, ")[2].partition("\n\n[I")[0]
        for name in ("rotator.service", "rotator-rotate.service")
    ]
    assert texts[0].strip() == texts[1].strip()
    assert "ProtectSystem=strict" in texts[0]


def test_the_timer_keeps_the_interval_that_resync_promises() -> None:
    """Each run exactly `resync` after the one before: the host's delay is fixed, and smaller than the interval."""
    timer = units.read("rotator-rotate.timer")
    resync = RotationPolicy.__dataclass_fields__["resync"].default
    assert isinstance(resync, timedelta)
    calendar = units.one(timer, "Timer", "OnCalendar")
    base = "2026-10-25 00:02:00 UTC"  # the night in which summer time ends
    ran = analyze("calendar", "--iterations=30", f"--base-time={base}", calendar)
    times = [
        datetime.fromisoformat(found)
        for found in re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", ran.stdout)
    ]
    assert len(set(times)) == 30, ran.stdout + ran.stderr
    steps = {later - earlier for earlier, later in pairwise(times)}
    assert steps == {resync}
    assert units.one(timer, "Timer", "FixedRandomDelay") == "yes"
    assert units.one(timer, "Timer", "Persistent") == "yes"
    assert units.one(timer, "Timer", "AccuracySec") == "1s"
    delay = timedelta(seconds=int(units.one(timer, "Timer", "RandomizedDelaySec")))
    limit = int(units.one(units.read("rotator-rotate.service"), "Service", "TimeoutStartSec"))
    assert delay < resync
    assert timedelta(seconds=limit) < resync
