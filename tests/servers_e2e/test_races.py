"""Sixteen processes at once on an empty store: one key signs, one is next, nothing is left over.

The file store's twin is `tests/cli/test_shows.py`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.servers_e2e.ground import REMOTE, Ground
from tests.servers_e2e.warm import Warm

AT_ONCE = 16
ROUNDS = 20


@pytest.mark.slow
@pytest.mark.parametrize("backend", REMOTE)
def test_sixteen_at_once(backend: str, tmp_path: Path, warm: Warm) -> None:
    """Forks of one warmed process, let go at one moment, twenty times."""
    began = time.monotonic()
    for number in range(ROUNDS):
        ground = Ground(backend, tmp_path / str(number))
        pids = [warm.start(ground.config, "rotate", gate="race") for _ in range(AT_ONCE)]
        warm.open("race")
        ended = [warm.wait(pid) for pid in pids]
        assert [ran.code for ran in ended] == [0] * AT_ONCE, [r.err for r in ended if r.code]
        ring = ground.assert_sound()
        ground.close()
        assert not any(ran.refusals for ran in ended)
        assert len(ring["keys"]) + len(ring.get("history", ())) >= 2
    sys.stdout.write(f"{backend}: {ROUNDS} rounds, {time.monotonic() - began:.1f} s\n")
