"""Whoever hears of something in the log finds it in what the daemon keeps for /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotator.errors import StoreUnavailable
from rotator_file.store import FileStore
from tests.unit.daemon_world import MINUTE, Log, Rings, World
from tests.unit.test_daemon_reload import Running


@dataclass
class Listening(Log):
    """Does something at each event, in the moment in which it is logged."""

    act: Callable[[str], None] = lambda _: None

    def emit(self, level: str, event: str, **fields: Any) -> None:
        super().emit(level, event, **fields)
        self.act(event)


def test_a_failing_key_set(tmp_path: Path) -> None:
    """It counts as failing when that is said, and no longer when it is said to be well."""
    down, seen = True, []

    def act(_: str) -> None:
        if down:
            raise StoreUnavailable("the store does not answer", hint="wait")

    log = Listening()
    world = World(tmp_path, log=log)
    inner = FileStore(world.path / "store").rings("web")
    daemon = world.daemon([world.site(rings=Rings(inner, act))])

    def note(event: str) -> None:
        state = daemon.state.find("web")
        if event in ("key_set.failing", "key_set.healed"):
            seen.append((event, state is not None and bool(state.failing)))

    log.act = note
    daemon.dispatch()
    down = False
    world.go_on(daemon, MINUTE)
    world.waker.close()
    assert seen == [("key_set.failing", True), ("key_set.healed", False)]


def test_a_refused_configuration(tmp_path: Path) -> None:
    """It is there, with its reason, when that is said."""
    log, seen = Listening(), []
    running = Running(tmp_path, log=log)
    try:
        log.act = lambda _: seen.append(running.daemon.state.reload.error)
        running.write("{")
        running.reload()
        assert seen
        assert seen[-1] == log.named("config.refused")[0]["reason"]
    finally:
        running.close()
