"""Two replicas killed and stopped at random moments while a signer and a stale verifier go on.

Nothing is lost and nothing rejected. The moments follow an event of the replica that is struck, for that
is when something is half done; the seed is printed and `ROTATOR_CAMPAIGN_SEED` repeats it, as far as the
machine allows.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator_file.store import FileStore
from tests.campaign.processes import (
    HTTP_CACHE,
    ROTATE_EVERY,
    Daemon,
    Pair,
    configure,
    ended,
    key_set,
    pause,
    ring_of,
    until,
)

SECONDS = 40.0
RATE = 20.0
LAST_SECONDS = 12.0
# A creation that is killed before its material is written ends in a discard, and the next one then waits a
# minute (DESIGN §3, rule 3): with rotations of seconds nothing would happen any more, so this comes last.
LAST_MOMENTS = ("key.creating",)
MOMENTS = (
    "key.created",
    "key.announced",
    "key.promoted",
    "key.delivered",
    "key.superseded",
    "key.retired",
    "key.destroyed",
    "jwks.published",
    "store.call",
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What this process reads of the store is of no interest."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


class Replicas:
    """Two daemons on one store, and what is done to them."""

    def __init__(self, home: Path, sets: dict[str, Any], dice: random.Random) -> None:
        self._configs = [configure(home, sets, replica=name) for name in ("-a", "-b")]
        self._dice = dice
        self.running = [Daemon(config, level="debug") for config in self._configs]
        self.past: list[Daemon] = []
        self.stopped: dict[int, float] = {}  # when to let a stopped one go on
        self.kills = self.stops = 0

    def strike(self, moments: Sequence[str]) -> None:
        """Kill one replica, or stop one for longer than a rotation, just after it did something."""
        number = self._dice.randrange(2)
        if number in self.stopped:
            return
        daemon = self.running[number]
        moment = self._dice.choice(moments)
        before = daemon.count(moment)
        daemon.err.wait_for(lambda: daemon.count(moment) > before, self._dice.uniform(0.2, 3.0))
        pause(self._dice.choice((0.0, 0.0, 0.002, 0.01, 0.05)))
        if self._dice.random() < 0.7 or self.stopped:
            self._kill(number)
        else:
            self._stop(number)

    def _kill(self, number: int) -> None:
        daemon = self.running[number]
        assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
        self.past.append(daemon)
        self.running[number] = Daemon(self._configs[number], level="debug")
        self.kills += 1

    def _stop(self, number: int) -> None:
        self.running[number].send(signal.SIGSTOP)
        self.stopped[number] = time.monotonic() + ROTATE_EVERY + self._dice.uniform(0.5, 3)
        self.stops += 1

    def release(self, *, everyone: bool = False) -> None:
        """Let those go on that were stopped for long enough."""
        for number, when in list(self.stopped.items()):
            if everyone or time.monotonic() >= when:
                self.running[number].send(signal.SIGCONT)
                del self.stopped[number]

    def keep_logs(self, home: Path) -> None:
        """Write what everybody said beside the store, for whoever looks into a failure."""
        for number, daemon in enumerate((*self.past, *self.running)):
            (home / f"daemon-{number}.log").write_bytes(b"".join(daemon.err.lines))

    def count(self, event: str) -> int:
        """How often an event was logged by anybody who ever ran."""
        return sum(daemon.count(event) for daemon in (*self.past, *self.running))


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_rejected(tmp_path: Path) -> None:
    """Forty seconds of kills and stops; afterwards ring, material and targets fit together."""
    seed = int(os.environ.get("ROTATOR_CAMPAIGN_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"ROTATOR_CAMPAIGN_SEED={seed}\n")
    dice = random.Random(seed)
    sets = {
        "es": key_set(tmp_path, "es", "ES256"),
        "hs": key_set(tmp_path, "hs", "HS256"),
    }
    sources = {
        "es": (str(tmp_path / "public" / "es.json"), HTTP_CACHE),
        "hs": (str(tmp_path / "verification" / "hs" / "verification.json"), 0),
    }
    replicas = Replicas(tmp_path, sets, dice)
    with ended(replicas.running):
        documents = {name: tmp_path / "signing" / name / "signing.json" for name in sets}
        until(lambda: all(document.exists() for document in documents.values()))
        pairs = {
            name: Pair(documents[name], source, http_cache=cache, rate=RATE)
            for name, (source, cache) in sources.items()
        }
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                late = time.monotonic() > end - LAST_SECONDS
                replicas.strike(MOMENTS + LAST_MOMENTS * 4 if late else MOMENTS)
                replicas.release()
            replicas.release(everyone=True)
            for daemon in replicas.running:
                daemon.wait_for("daemon.started")  # before it listens to signals, one would end it
            until(lambda: all(len(pair.kids) >= 2 for pair in pairs.values()))
            until(lambda: sum(len(pair.kids) for pair in pairs.values()) >= 5)
            for name in sets:
                until(partial(settled, tmp_path, name))
            found = {name: pair.finish() for name, pair in pairs.items()}
        finally:
            for pair in pairs.values():
                pair.kill()
            replicas.keep_logs(tmp_path)
        assert [daemon.end() for daemon in replicas.running] == [143, 143]
    told = {name: f"{len(item['kids'])} keys" for name, item in found.items()}
    sys.stdout.write(
        f"{replicas.kills} kills, {replicas.stops} stops, {told}, "
        f"{sum(item['checks'] for item in found.values())} checks\n"
    )
    assert {name: item["rejected"] for name, item in found.items()} == {"es": [], "hs": []}
    assert replicas.kills >= 3
    assert sum(len(item["kids"]) for item in found.values()) >= 5
    for name, item in found.items():
        assert len(item["kids"]) >= 2, name
        whole(tmp_path, name, documents[name])
    assert not replicas.count("key_set.failing")


def settled(home: Path, name: str) -> bool:
    """True when one key signs and nothing is half done."""
    phases = [key["phase"] for key in ring_of(home, name)["keys"]]
    return phases.count("active") == 1 and {"active", "pending", "retiring"} >= set(phases)


def whole(home: Path, name: str, document: Path) -> None:
    """The material is that of the ring's keys, no more and no less, and signers hold the active one."""
    ring = ring_of(home, name)
    material = FileStore(home / "store").material(name)
    for key in ring["keys"]:
        assert material.get(key["locator"], key["kid"]) is not None
    kept = list((home / "store" / name / "material").iterdir())
    assert len(kept) == len(ring["keys"])
    active = [key["kid"] for key in ring["keys"] if key["phase"] == "active"]
    assert f'"kid": "{active[0]}"' in document.read_text().replace('":"', '": "')
