"""The chaos: replicas, signers and verifiers as processes, and weather over them; afterwards all must be well.

The seed is printed; it repeats what is done, as far as the machine allows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.campaign.processes import BOUND, Pair, pause
from tests.chaos.judge import Judge
from tests.chaos.report import Report
from tests.chaos.stage import Stage
from tests.chaos.watch import Watch
from tests.chaos.weather import STEADY, Weather

_SETTLED_WITHIN: Final = 120.0  # seconds
_DEEDS: Final = 4  # however long each takes
_ENOUGH: Final = 60  # tokens of each signer
_RATE: Final = 10.0  # tokens a second, from each signer


class Players:
    """Signers and verifiers, some of each for every key set."""

    def __init__(self, stage: Stage, each: int) -> None:
        self.pairs: dict[str, list[Pair]] = {
            name: [stage.pair(name, _RATE) for _ in range(each)] for name in stage.grounds
        }

    def __iter__(self) -> Any:
        return ((name, pair) for name, pairs in self.pairs.items() for pair in pairs)

    def ended(self) -> list[str]:
        """Say who ended although nobody asked for it."""
        found = []
        for name, pair in self:
            for who, process in (("signer", pair.signer), ("verifier", pair.verifier)):
                if process.poll() is not None:
                    said = process.stderr.read().decode()[-800:] if process.stderr else ""
                    found.append(f"a {who} of {name} ended with {process.returncode}: {said}")
        return found

    def kill(self) -> None:
        """End all of them, whatever they do."""
        for _, pair in self:
            pair.kill()


def play(
    home: Path,
    seconds: float,
    seed: int,
    *,
    key_sets: Sequence[str],
    replicas: Sequence[str],
    each: int,
) -> Report:
    """Let the weather blow for some seconds, then let all settle, and judge.

    Args:
        home: an empty directory; it has everything afterwards.
        seconds: how long the weather lasts; settling comes on top.
        seed: of all chance.
        each: how many signers, each with a verifier, a key set has.
    """
    stage = Stage(home, key_sets, replicas, seed=seed)
    report = Report(seed, home)
    try:
        with (home / "trace.jsonl").open("w") as trace:
            weather = Weather(stage, random.Random(seed), trace)
            _play(stage, weather, seconds, each, report)
    finally:
        stage.close()
    return report


def _play(stage: Stage, weather: Weather, seconds: float, each: int, report: Report) -> None:
    began = time.monotonic()
    for replica in stage.replicas.values():
        replica.start()
    for replica in stage.replicas.values():
        if not replica.wait_for("daemon.started"):
            report.findings.append(f"{replica.name} did not start: {replica.tail()}")
            return
    _until(lambda: all(ground.signing.exists() for ground in stage.grounds.values()), BOUND)
    watch = Watch(stage)
    players = Players(stage, each)
    _watch_memory(stage, watch, players)
    judge = Judge(stage, watch)
    dice = random.Random(report.seed + 1)
    try:
        end = time.monotonic() + seconds
        while (time.monotonic() < end or sum(weather.counts.values()) < _DEEDS) and not (
            report.findings or weather.findings or watch.findings
        ):
            pause(dice.uniform(0.05, 1.0))
            weather.look_after()
            weather.blow()
            report.findings += players.ended()
        weather.tell("calm", "everything is undone")
        weather.clear_up()
        _settle(stage, weather, judge, report)
        # A slow machine takes longer until every key set has gone on.
        if not report.findings:
            _until(lambda: sum(map(watch.rotations, stage.grounds)) >= 2, BOUND)
            _until(lambda: all(pair.tokens >= _ENOUGH for _, pair in players), BOUND)
        watch.watched.clear()  # from here on they end
        for name, pair in players:
            try:
                report.add_pair(name, pair.tokens, pair.finish())
            except (AssertionError, OSError, ValueError) as error:
                report.findings.append(f"a signer or verifier of {name}: {error!r}"[:2000])
    finally:
        players.kill()
        watch.stop()
    for replica in stage.replicas.values():
        replica.wait_for("daemon.started")  # before it listens to signals, one would end it
        replica.end()
    report.findings += [*weather.findings, *watch.findings]
    report.counts = dict(weather.counts)
    report.requests = {
        name: (len(proxy.seen), proxy.treated) for name, proxy in stage.proxies.items()
    }
    report.seconds = time.monotonic() - began
    judge.after(report)


def _settle(stage: Stage, weather: Weather, judge: Judge, report: Report) -> None:
    """Wait until every key set is in order; what is not by then is a finding."""
    end = time.monotonic() + _SETTLED_WITHIN
    flaws = ["not looked at"]
    while flaws and time.monotonic() < end:
        weather.look_after()
        pause(0.25)
        flaws = [f"{name}: {flaw}" for name in stage.grounds for flaw in judge.flaws(name)]
    report.findings += flaws


def _watch_memory(stage: Stage, watch: Watch, players: Players) -> None:
    steady = stage.replicas[STEADY]
    watch.watched["daemon"] = lambda: steady.process.pid if steady.process else None
    watch.watched["server of the daemon"] = steady.edge
    watch.watched["nginx"] = lambda: stage.cache.worker
    name = next(iter(stage.grounds))
    [pair, *_] = players.pairs[name]
    watch.watched["signer"] = lambda: pair.signer.pid
    watch.watched["verifier"] = lambda: pair.verifier.pid


def _until(true: Any, bound: float) -> None:
    end = time.monotonic() + bound
    while not true() and time.monotonic() < end:
        pause(0.05)
