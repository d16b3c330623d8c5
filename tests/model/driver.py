"""Plays the model: a scene and a row of actions, each with a small number that decides its details.

A play is told by its scene's seed and its moves, so that it can be repeated and made shorter.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.model import actions, changes, commands
from tests.model.actions import Action
from tests.model.scene import Scene, make_scene

Move = tuple[str, int]

WEIGHTS: dict[str, float] = {
    "ticks": 20,
    "begins": 6,
    "goes_on": 10,
    "dies": 3,
    "one_shot": 2,
    "time_passes": 5,
    "to_an_edge": 10,
    "to_the_next_date": 14,
    "breaks": 3,
    "heals": 4,
    "a_hand": 2,
    "damages_material": 1,
    "rolls_out": 4,
    "changes_policy": 1,
    "changes_kind": 1,
    "adds_place": 1,
    "removes_place": 1,
    "a_cdn_keeps_longer": 1,
    "a_signer_stays": 2,
    "clocks_are_set": 1,
    "a_quiet_time": 1,
    "holds": 1,
    "releases": 2,
    "pins": 1,
    "unpins": 1,
    "rotates_now": 2,
    "revokes": 1,
    "an_emergency": 0.3,
    "rolls_back": 1,
    "confirms_clocks": 0.5,
    "a_backup_is_taken": 1,
    "a_backup_is_made_the_truth": 0.5,
    "the_ring_is_lost": 1,
}


def action(name: str) -> Action:
    """Return an action by its name."""
    home = next(module for module in (commands, changes, actions) if hasattr(module, name))
    found: Action = getattr(home, name)
    return found


@dataclass(frozen=True, slots=True)
class Failure:
    """A play that broke the promise: how to repeat it, and what was said."""

    seed: int
    moves: tuple[Move, ...]
    what: str

    def __str__(self) -> str:
        moves = "\n".join(f"    {move!r}," for move in self.moves)
        return f"scene {self.seed}: {self.what}\nrepeat with replay({self.seed}, [\n{moves}\n])"


def play_move(scene: Scene, move: Move) -> None:
    """Play one move, and check what must hold after it."""
    name, number = move
    action(name)(scene, random.Random(number))
    scene.steps += 1
    actions.after_each(scene)


def replay(seed: int, moves: Iterable[Move]) -> Scene:
    """Play given moves.

    Raises:
        Broken: the promise was broken.
    """
    scene = make_scene(seed)
    try:
        for move in moves:
            play_move(scene, move)
    finally:
        close(scene)
    return scene


def close(scene: Scene) -> None:
    """Let go of every process that stands still."""
    for process in scene.standing():
        if process.work is not None:
            process.work.kill()


def play(seed: int, steps: int) -> Failure | None:
    """Play a random row of moves; return the shortest that was found to break the promise."""
    rng = random.Random(seed)
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    moves = [(name, rng.getrandbits(32)) for name in rng.choices(names, weights, k=steps)]
    what, count = _try(seed, moves)
    return None if what is None else shorten(seed, moves[:count], what)


def shorten(seed: int, moves: Sequence[Move], what: str) -> Failure:
    """Leave out moves as long as the promise is still broken."""
    left = list(moves)
    size = max(len(left) // 2, 1)
    while True:
        start = 0
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            said, count = _try(seed, fewer)
            if said is not None:
                left, what = fewer[:count], said
            else:
                start += size
        if size == 1:
            return Failure(seed, tuple(left), what)
        size //= 2


def _try(seed: int, moves: Sequence[Move]) -> tuple[str | None, int]:
    scene = make_scene(seed)
    count = 0
    try:
        for move in moves:
            count += 1
            play_move(scene, move)
    except Exception as error:  # noqa: BLE001 - a crash of the program is a failure like any other
        return f"{type(error).__name__}: {error}", count
    finally:
        close(scene)
    return None, count
