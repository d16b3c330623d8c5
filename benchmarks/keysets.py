"""Ten thousand key sets in one daemon: what it costs to know that nothing is due.

    python -P -m benchmarks.keysets [--count N]

The configuration is read from a real `key_sets_dir`. Rings, material and documents lie in an SQLite file,
so that what the memory of this process shows is the daemon's, and making ten thousand keys is left to the
toy keys of the rehearsal: neither is what is measured. Calls to the store are counted.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from rotator.daemon import Daemon, Waker
from rotator.daemon.lanes import Job
from rotator.hostclock import HostClock
from rotator.observed import Observed
from rotator.plan import next_deadline, next_step
from rotator.reconcile.site import Site
from rotator.rehearsal.toykeys import ToyKeys
from rotator.ring_reader import read_ring
from rotator.secret import Secret
from rotator.settings import Settings, load_settings
from rotator.stores import Document, DocumentKind, Sight, Stored, Version, VersionToken


class Shelf:
    """One table of values by name, in a file; counts what is asked of it."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.execute("PRAGMA synchronous=OFF")
        self._base.execute("PRAGMA journal_mode=MEMORY")
        self._base.execute("CREATE TABLE shelf (name TEXT PRIMARY KEY, value BLOB, more TEXT)")
        self.calls: Counter[str] = Counter()

    def get(self, name: str) -> tuple[bytes, Any] | None:
        """Return what was put there."""
        self.calls["read"] += 1
        row = self._base.execute("SELECT value, more FROM shelf WHERE name = ?", (name,)).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def put(self, name: str, value: bytes, more: Any = None) -> None:
        """Put something there."""
        self.calls["write"] += 1
        row = (name, value, json.dumps(more))
        self._base.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?, ?)", row)

    def delete(self, name: str) -> None:
        """Remove what is there."""
        self.calls["write"] += 1
        self._base.execute("DELETE FROM shelf WHERE name = ?", (name,))


class Store:
    """Ring and material of one key set on the shelf; nobody else writes there."""

    def __init__(self, shelf: Shelf, key_set: str) -> None:
        self._shelf, self._key_set = shelf, key_set

    def load(self) -> Stored | None:
        found = self._shelf.get(f"ring:{self._key_set}")
        return None if found is None else Stored(found[0], _version(found[0]))

    def save(self, document: bytes, *, replacing: Version | None) -> Version:  # noqa: ARG002
        self._shelf.put(f"ring:{self._key_set}", document)
        return _version(document)

    def allocate(self, kid: str, taken: frozenset[str]) -> str:  # noqa: ARG002
        return f"{self._key_set}/{kid}"

    def put(self, locator: str, kid: str, material: Secret) -> None:  # noqa: ARG002
        self._shelf.put(locator, material.reveal())

    def get(self, locator: str, kid: str) -> Secret | None:  # noqa: ARG002
        found = self._shelf.get(locator)
        return None if found is None else Secret(found[0])

    def destroy(self, locator: str, kid: str) -> None:  # noqa: ARG002
        self._shelf.delete(locator)


class Place:
    """A target on the shelf."""

    writable = independent = True

    def __init__(self, shelf: Shelf, name: str, kind: DocumentKind) -> None:
        self._shelf, self.name, self.kind = shelf, name, kind

    def look(self) -> Sight:
        found = self._shelf.get(self.name)
        if found is None:
            return Sight(None)
        key_set, revision, max_age, stale = found[1]
        token = VersionToken(_version(found[0]))
        return Sight(Document(found[0], key_set, revision, token, max_age, stale))

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:  # noqa: ARG002
        more = (document.key_set, document.revision, document.max_age, document.stale)
        self._shelf.put(self.name, document.body, more)


class AtOnce:
    """Workers that tick at once, one key set after the other: CPU is counted, not waiting."""

    def submit(self, lane: tuple[str, bool], job: Job) -> None:  # noqa: ARG002
        job()

    def close(self) -> None:
        return

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002
        return True


def _version(document: bytes) -> Version:
    return Version(hashlib.sha256(document).hexdigest()[:32])


def settings_of(directory: Path, count: int) -> Settings:
    """Write a fleet's configuration, a file for each key set, and read it."""
    fleet = directory / "fleet"
    fleet.mkdir()
    for number in range(count):
        name = f"tenant-{number:05}"
        deliver = [{"to": "files", "path": str(directory / "signing" / name)}]
        publish = [{"to": "file", "path": str(directory / "public" / f"{name}.json")}]
        (fleet / f"{name}.yaml").write_text(json.dumps({"deliver": deliver, "publish": publish}))
    main = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": str(directory / "store")}},
        "defaults": {"algorithm": "ES256", "policy": {"token_ttl": "15m", "signer_lag": "5m"}},
        "key_sets_dir": str(fleet),
    }
    path = directory / "rotator.json"
    path.write_text(json.dumps(main))
    return load_settings(path, {})


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


def run(count: int) -> None:
    """Bring all key sets to rest, and see what passes cost from then on."""
    print(f"{count} key sets in one process ({memory():.0f} MiB before anything)")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with measured("configuration read and checked, a file for each key set"):
            settings = settings_of(directory, count)
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
        print(f"    ({ticks} ticks, {shelf.calls['read']} reads, {shelf.calls['write']} writes)")
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


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    run(parser.parse_args().count)


if __name__ == "__main__":
    main()
