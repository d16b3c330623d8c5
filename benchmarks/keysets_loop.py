"""The loop of a daemon with very many key sets, alone: what passes cost that find nothing due.

Rings, material and documents lie in an SQLite file, so that what the memory of this process shows is the daemon's,
and making ten thousand keys is left to the toy keys of the rehearsal: neither is what is measured.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet import configure
from rotator.daemon import Daemon, Waker
from rotator.hostclock import HostClock
from rotator.observed import Observed
from rotator.plan import next_deadline, next_step
from rotator.reconcile.site import Site
from rotator.rehearsal.toykeys import ToyKeys
from rotator.ring_reader import read_ring
from rotator.settings import Settings, load_settings
from rotator.stores import DocumentKind
from tests.soak.campaign import AtOnce
from tests.soak.shelf import Place, Shelf, Store


def _silent(level: str, event: str, **fields: Any) -> None:
    """Take no note: logging is not what is measured."""


def site_of(shelf: Shelf, settings: Settings, name: str, keys: ToyKeys, clock: HostClock) -> Site:
    """One key set on the shelf."""
    store = Store(shelf, name)
    targets = (
        Place(shelf, f"signing:{name}", DocumentKind.SIGNING),
        Place(shelf, f"jwks:{name}", DocumentKind.JWKS),
    )
    policy = settings.key_sets[name].policy
    return Site(name, policy, store, store, targets, keys, clock, _silent)


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print CPU seconds and the memory afterwards."""
    began = time.process_time()
    yield
    spent = time.process_time() - began
    print(f"  {what:62} {spent:9.4f} s CPU, {memory():5.0f} MiB")


def memory() -> float:
    """Resident memory of this process, in MiB."""
    gc.collect()
    return float(psutil.Process(os.getpid()).memory_info().rss / 2**20)


def loop(count: int) -> None:
    """Bring all key sets to rest, and see what passes cost from then on."""
    print(f"the loop alone ({memory():.0f} MiB before anything)")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with measured("configuration read and checked, a file for each key set"):
            settings = load_settings(configure(directory, count), {})
        shelf, clock, keys, waker = Shelf(directory / "shelf"), HostClock(), ToyKeys(), Waker()
        with measured("key sets and daemon made"):
            sites = [site_of(shelf, settings, item, keys, clock) for item in settings.key_sets]
            daemon = Daemon(
                sites,
                store_of=lambda _: "shelf",
                clock=clock,
                emit=_silent,
                waker=waker,
                workers=AtOnce(),
            )
        ticks = 0
        with measured("first run: every key made, announced, promoted, delivered"):
            daemon.compare_clocks()
            while (done := daemon.dispatch()) > 0:
                ticks += done
        print(f"    ({ticks} ticks, {shelf.calls.total()} calls to the store)")
        shelf.calls.clear()
        with measured("a pass that finds nothing due"):
            daemon.compare_clocks()
            assert daemon.dispatch() == 0
        with measured("the same after a leap of the clock: every date held against it"):
            now, elapsed = clock.now() + timedelta(days=1), clock.elapsed()
            daemon._charges.reconsider(now, elapsed)
            assert daemon.dispatch() == 0
        print(f"    (calls to the store in both: {sum(shelf.calls.values())})")
        with measured("for scale: one resync of all, rings and targets read again"):
            for charge in daemon._charges.take(clock.elapsed() + timedelta(days=1)):
                daemon._turn(charge, charge.ticket)
        decide_all(sites)
        waker.close()
    print("  wanted: nothing due at most 1 s CPU, 150 MiB, no call to the store")


def decide_all(sites: list[Site]) -> None:
    """Decide for each key set from its ring, as a one-shot does after its loads."""
    now = HostClock().now()
    spent = 0.0
    for site in sites:
        stored = site.rings.load()
        assert stored is not None
        ring = read_ring(stored.document, key_set=site.key_set)
        began = time.process_time()
        next_step(ring, site.policy, now, Observed())
        next_deadline(ring, site.policy)
        spent += time.process_time() - began
    print(f"  {'next_step and next_deadline of every ring':62} {spent:9.4f} s CPU")
