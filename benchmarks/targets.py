"""One rotation delivering to 20 targets beside one delivering to the slowest of them; a resync of 100 targets at rest.

    python -P -m benchmarks.targets [--rounds N] [--delay MS]

Ring and material lie in files; targets are documents of stores whose every call takes `--delay`, as one over
the network does. Nothing else is made up: the tick, its threads, the documents and their checks are the real ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from rotator.assemble import Assembly
from rotator.daemon import Daemon, Waker
from rotator.delivery.store import StoreDocument
from rotator.logs import configure
from rotator.operations import order_promotion
from rotator.reconcile.settle import settle
from rotator.reconcile.site import Site
from rotator.reconcile.tick import tick
from rotator.reconcile.together import together
from rotator.settings import load_settings
from rotator.stores import (
    Document,
    DocumentKind,
    DocumentStore,
    MaterialStore,
    RingStore,
    VersionToken,
)
from tests.servers.counting import MovedClock
from tests.unit.daemon_world import AtOnce

MANY: Final = 20
AT_REST: Final = 100
MEMORY: Final = Path("/dev/shm")
POLICY: Final = {"token_ttl": "15m", "signer_lag": "5m"}


@dataclass
class Slow:
    """A store of documents, each call to which takes its time and is counted."""

    delay: float
    reads: int = 0
    writes: int = 0
    _kept: dict[str, Document] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, name: str) -> Document | None:
        """Return a document."""
        threading.Event().wait(self.delay)
        with self._lock:
            self.reads += 1
            return self._kept.get(name)

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Keep a document."""
        del replacing
        threading.Event().wait(self.delay)
        with self._lock:
            self.writes += 1
            token = VersionToken(str(self.writes))
            self._kept[name] = replace(document, token=token)

    def delete(self, name: str) -> None:
        """Forget a document."""
        self._kept.pop(name, None)

    def documents(self) -> DocumentStore:
        """Return itself."""
        return self

    def rings(self, key_set: str) -> RingStore:
        """There are none."""
        raise NotImplementedError(key_set)

    def material(self, key_set: str) -> MaterialStore:
        """There is none."""
        raise NotImplementedError(key_set)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Ground:
    """A key set in files with documents in slow stores."""

    site: Site
    clock: MovedClock
    stores: list[Slow]

    def rotate(self) -> tuple[float, int, int]:
        """Let the standby propagate, promote it; return the seconds, reads and writes until all is at rest."""
        self.clock.ahead += timedelta(days=2)
        self.rest()
        order_promotion(self.site, None, "a benchmark")
        self.clock.ahead += timedelta(days=2)
        self.calls()
        began = time.perf_counter()
        self.rest()
        return time.perf_counter() - began, *self.calls()

    def rest(self) -> None:
        """Tick until nothing changes."""
        settle(self.site, self._pause)

    def _pause(self, duration: timedelta) -> None:
        self.clock.ahead += duration

    def calls(self) -> tuple[int, int]:
        """Return how many reads and writes there were since this was last asked."""
        found = sum(store.reads for store in self.stores), sum(s.writes for s in self.stores)
        for store in self.stores:
            store.reads = store.writes = 0
        return found


@contextmanager
def ground(count: int, delay: float) -> Iterator[Ground]:
    """Make a key set with a JWKS file, and signing documents in some stores, and rotate it until it is at rest."""
    # In memory where there is such a place: what a disk takes for the ring is no matter of targets.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        directory = Path(name)
        configuration: dict[str, Any] = {
            "version": 1,
            "stores": {"main": {"backend": "file", "path": "store"}},
            "key_sets": {
                "orders": {
                    "algorithm": "ES256",
                    "policy": POLICY,
                    "deliver": [{"to": "files", "path": "signing"}],
                    "publish": [{"to": "file", "path": "jwks.json"}],
                }
            },
        }
        (directory / "rotator.json").write_text(json.dumps(configuration))
        clock = MovedClock()
        stores = [Slow(delay) for _ in range(count)]
        with Assembly(
            load_settings(directory / "rotator.json", {}), _silent, clock=clock
        ) as assembly:
            site = assembly.site("orders")
            far = tuple(
                StoreDocument(
                    partial(_same, store),
                    f"s{number}",
                    "orders",
                    DocumentKind.SIGNING,
                    independent=True,
                )
                for number, store in enumerate(stores)
            )
            here = Ground(
                replace(site, targets=(*site.targets, *far), spread=together), clock, stores
            )
            here.rest()
            yield here


def _same(store: Slow) -> Slow:
    return store


def _silent(level: str, event: str, **fields: Any) -> None:
    """Take no note of events."""


def rotations(rounds: int, delay: float) -> None:
    """Rotate with one far target and with twenty, in turns, and print the ratio of the medians."""
    with ground(1, delay) as one, ground(MANY, delay) as many:
        pairs = [(one.rotate(), many.rotate()) for _ in range(rounds)]
    slowest = statistics.median(first[0] for first, _ in pairs)
    all_of_them = statistics.median(second[0] for _, second in pairs)
    _, reads, writes = pairs[-1][1]
    print(f"one rotation, every call {delay * 1000:.0f} ms: medians of {rounds} interleaved")
    print(f"  to one target      {slowest * 1000:6.0f} ms")
    print(
        f"  to {MANY} targets      {all_of_them * 1000:6.0f} ms"
        f" ({reads / MANY:.0f} reads and {writes / MANY:.0f} write each)"
    )
    print(f"  {all_of_them / slowest:.2f} x the slowest target alone, wanted at most 1.5")


def resyncs(delay: float) -> None:
    """Resync a hundred targets at rest, and let a day pass in a daemon; print reads and time."""
    with ground(AT_REST, delay) as here:
        here.calls()
        began = time.perf_counter()
        outcome = tick(here.site)
        took = time.perf_counter() - began
        reads, writes = here.calls()
        assert not outcome.changed
        hours, ticks = 6, _idle(here, timedelta(hours=6))
        idle_reads, idle_writes = here.calls()
    print(f"resync of {AT_REST} targets at rest, every call {delay * 1000:.0f} ms")
    print(f"  {reads} reads, {writes} writes, {took * 1000:.0f} ms")
    print(
        f"  a daemon in {hours} h: {ticks} ticks, {idle_reads / ticks / AT_REST:.2f} reads each and target,"
        f" {idle_writes} writes, wanted 1 and 0: nothing between two resyncs"
    )


def _idle(here: Ground, duration: timedelta) -> int:
    """Let a daemon run for a time that the clock is moved by; return how often it ticked."""
    fast = [store.delay for store in here.stores]
    for store in here.stores:
        store.delay = 0.0  # what is counted are calls
    waker, ticks = Waker(), 0
    daemon = Daemon(
        [here.site],
        store_of=lambda _: "main",
        clock=here.clock,
        emit=_silent,
        waker=waker,
        workers=AtOnce(),
        chance=lambda: 0.5,
    )
    end = here.clock.elapsed() + duration
    while (at := daemon.next_at()) is not None and at < end:
        here.clock.ahead += max(at - here.clock.elapsed(), timedelta(0))
        daemon.compare_clocks()
        ticks += daemon.dispatch()
    waker.close()
    for store, delay in zip(here.stores, fast, strict=True):
        store.delay = delay
    return ticks


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay", type=int, default=50, help="milliseconds that each call takes")
    arguments = parser.parse_args()
    configure("warning")
    rotations(arguments.rounds, arguments.delay / 1000)
    resyncs(arguments.delay / 1000)


if __name__ == "__main__":
    main()
