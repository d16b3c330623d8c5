"""The bounded part of `make chaos`: two replicas, a store of each kind, some seconds of weather.

The seed is printed, and `ROTATOR_CAMPAIGN_SEED` repeats it, as far as the machine allows.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest

from tests.chaos.campaign import play

SECONDS = 9.0


@pytest.mark.slow
def test_some_seconds_of_it(tmp_path: Path) -> None:
    """0 tokens rejected, 0 rings lost, 0 orphans, 0 leaks; every key set goes on and comes to rest."""
    seed = int(os.environ.get("ROTATOR_CAMPAIGN_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"ROTATOR_CAMPAIGN_SEED={seed}\n")
    report = play(
        tmp_path / "play",
        SECONDS,
        seed,
        key_sets=("hooks", "payments", "billing"),
        replicas=("a", "b"),
        each=1,
    )
    sys.stdout.write(f"{report}\n")
    assert report.findings == []
    assert sum(report.counts.values()) >= 4
    assert sum(report.rotations.values()) >= 2
    assert report.keys >= 6
    assert all(item["checks"] > 100 for item in report.tokens.values())
    assert json.loads(json.dumps(report.as_json()))["rejected"] == 0
