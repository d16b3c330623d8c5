"""Years of very many key sets in one daemon: nothing grows, no rotation is missed, every call is counted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.soak.campaign import DAY, Soak

KEY_SETS = int(os.environ.get("ROTATOR_SOAK_KEY_SETS", "100"))
"""In `make test` what is affordable each time; `make soak` takes 10,000."""
YEARS = int(os.environ.get("ROTATOR_SOAK_YEARS", "10"))


def say(line: str) -> None:
    """Show progress at once, where nothing captures it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    made = Soak(tmp_path, KEY_SETS, every=(365 * DAY, 730 * DAY), resync=90 * DAY, say=say)
    yield made
    made.close()


def test_ten_years_of_a_fleet(soak: Soak) -> None:
    """Driven by the daemon's own loop, alarm and agenda; keys and clock are all that is not real."""
    soak.run(YEARS)
    key_sets = len(soak.rotations)
    say(f"{key_sets:,} key sets, {YEARS} years: {soak.events['key.promoted']:,} rotations")
    findings = soak.findings()
    assert not findings, (len(findings), findings[:5])
    assert soak.events["warning"] == soak.events["error"] == 0, soak.events
    # A key set ticks at each date, and once in a while; whatever it does more often than that is one too many.
    settled = soak.years[2:]
    assert settled
    longest = max(policy.rotate_every for policy in soak.policies)
    period = max(1, longest // (365 * DAY))  # years after which the same things happen again
    for before, after in zip(settled, settled[period:], strict=False):
        assert after.calls.total() <= 1.1 * before.calls.total(), (before, after)
    # No more is kept than a JWKS carries and a ring names, however many keys there were.
    assert all(year.material <= 2 * key_sets for year in settled), [y.material for y in settled]
    first, last = settled[0], settled[-1]
    assert last.objects <= 1.02 * first.objects + 500, (first.objects, last.objects)
    assert last.rss <= 1.05 * first.rss + 5.0, (first.rss, last.rss)
    assert soak.clock.passed >= timedelta(days=365 * YEARS)
