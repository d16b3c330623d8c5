"""The promise of DESIGN §3, both halves, over random worlds in which everything happens that may.

`ROTATOR_MODEL_STEPS` says how many moves are played (`make model`: 1,000,000), `ROTATOR_MODEL_SEED` from
which seed on. A failure names its seed and the shortest row of moves that was found; `driver.replay`
repeats it.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.rehearsal.promise import Broken
from tests.model.driver import WEIGHTS, Failure, close, play, play_move
from tests.model.scene import make_scene

STEPS = int(os.environ.get("ROTATOR_MODEL_STEPS") or "20000")
SEED = int(os.environ.get("ROTATOR_MODEL_SEED") or "1")
_SHARDS = 4
_A_PLAY = 500

_moves = st.tuples(st.sampled_from(sorted(WEIGHTS)), st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("shard", range(_SHARDS))
def test_no_play_breaks_the_promise(shard: int) -> None:
    """Long random plays; a failure names the seed, and the shortest row of moves that was found."""
    first = random.Random(f"{SEED}/{shard}").randrange(2**40)
    for number in range(max(STEPS // _SHARDS // _A_PLAY, 1)):
        failure = play(first + number, _A_PLAY)
        if failure is not None:
            pytest.fail(f"ROTATOR_MODEL_SEED={SEED} shard {shard}, {failure}", pytrace=False)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**32 - 1), moves=st.lists(_moves, max_size=120))
def test_no_row_of_moves_breaks_the_promise(seed: int, moves: list[tuple[str, int]]) -> None:
    """Short plays as Hypothesis likes them, which makes them shorter still when one fails."""
    scene = make_scene(seed)
    try:
        for number, move in enumerate(moves):
            try:
                play_move(scene, move)
            except Broken as broken:
                pytest.fail(str(Failure(seed, tuple(moves[: number + 1]), str(broken))))
    finally:
        close(scene)
