"""The file store, killed or refused at every system call: old or new, never mixed, never locked for good.

Run as a script, this file is the campaign: it forks a process for every call of every operation, and looks
at what each leaves from a process that had no part in it. Pytest runs it that way, for it has threads.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import structlog

from rotator.plugin import Document, Secret, Stored, Version
from rotator.testing.faults import DISK_ERRORS, fail_everywhere, kill_everywhere
from rotator_file.store import FileStore

OLD, NEW = b'{"revision": 1}' * 50, b'{"revision": 2}' * 50
KID, MATERIAL = "kid-one", Secret(b"the material of kid one " * 8)
STANDING = "kid-standing"


@dataclass(frozen=True)
class Campaign:
    """One operation on the store at `path`, and what may be left of it."""

    path: Path
    name: str
    first: bool = False

    def store(self) -> FileStore:
        """A handle that has seen nothing yet."""
        return FileStore(self.path, lock_timeout=5)

    def prepare(self) -> None:
        """Put back the store from before: a ring, a standing key, and a key and a document if due."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.first:
            return
        store = self.store()
        store.rings("orders").save(OLD, replacing=None)
        store.material("orders").put(STANDING, STANDING, MATERIAL)
        if self.name == "destroy":
            store.material("orders").put(KID, KID, MATERIAL)
        if self.name in ("write", "delete"):
            store.documents().write("orders/jwks", Document(OLD, "orders", 1), replacing=None)

    def operation(self) -> None:
        """Do it once, as if for the first time: every operation can be repeated after any crash."""
        store = self.store()
        ring, material, documents = (
            store.rings("orders"),
            store.material("orders"),
            store.documents(),
        )
        match self.name:
            case "save":
                found = ring.load()
                if found is None or found.document != NEW:
                    ring.save(NEW, replacing=version_of(found))
            case "put":
                material.put(KID, KID, MATERIAL)
            case "destroy":
                material.destroy(KID, KID)
            case "write":
                present = documents.read("orders/jwks")
                token = None if present is None else present.token
                documents.write("orders/jwks", Document(NEW, "orders", 2), replacing=token)
            case "delete":
                documents.delete("orders/jwks")

    def judge(self) -> str:
        """Return `old` or `new`, by what another process finds; raise if it is anything else."""
        store = self.store()
        ring = store.rings("orders").load()
        kept = store.material("orders").get(KID, KID)
        document = store.documents().read("orders/jwks")
        if self.name != "save":
            assert (None if ring is None else ring.document) == (None if self.first else OLD)
        if not self.first:
            assert store.material("orders").get(STANDING, STANDING) == MATERIAL
        assert kept in (None, MATERIAL)
        match self.name:
            case "save":
                state = {None: "old", OLD: "old", NEW: "new"}[
                    None if ring is None else ring.document
                ]
            case "put":
                state = "old" if kept is None else "new"
            case "destroy":
                state = "new" if kept is None else "old"
            case "write":
                state = {None: "old", OLD: "old", NEW: "new"}[
                    None if document is None else document.body
                ]
            case _:
                state = "new" if document is None else "old"
        return state

    def leftovers(self) -> list[str]:
        """The files that no store is made of."""
        names = {"lock", "ring.json", f"{STANDING}.json", f"{KID}.json", "jwks.json"}
        return sorted({file for _, _, files in os.walk(self.path) for file in files} - names)

    def finish(self) -> None:
        """Do it in this process: nobody holds the lock, it works, and nothing is left lying about."""
        self.operation()
        assert self.judge() == "new"
        assert not self.leftovers()


def version_of(found: Stored | None) -> Version | None:
    """What a save must name to replace what was found."""
    return None if found is None else found.version


def killed(campaign: Campaign) -> Iterator[Verdict]:
    """Kill the operation everywhere; after each, the state is old or new, and the work can be finished."""
    for run in kill_everywhere(campaign.operation, prepare=campaign.prepare):
        state = campaign.judge()
        campaign.finish()
        yield Verdict(run.call, run.outcome, state)


def failed(campaign: Campaign) -> Iterator[Verdict]:
    """Let the disk fail everywhere; after each, nothing is left behind, and the work can be finished."""
    for number in DISK_ERRORS:
        for run in fail_everywhere(campaign.operation, number, prepare=campaign.prepare):
            state = campaign.judge()
            assert not campaign.leftovers(), f"{run} left {campaign.leftovers()}"
            campaign.finish()
            yield Verdict(run.call, run.outcome, state)


@dataclass(frozen=True)
class Verdict:
    """How one run ended, and what it left: the `old` or the `new` state."""

    call: str
    outcome: str
    state: str


CAMPAIGNS = {"killed": killed, "failed": failed}
OPERATIONS = ("save", "put", "destroy", "write", "delete")


def main(kind: str, name: str, first: str, path: str) -> None:
    """Run one campaign and print its verdicts."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    campaign = Campaign(Path(path), name, first=first == "first")
    json.dump([asdict(verdict) for verdict in CAMPAIGNS[kind](campaign)], sys.stdout)


def verdicts(kind: str, name: str, first: str, path: Path) -> list[Verdict]:
    """Run one campaign in a process without threads."""
    run = subprocess.run(
        [sys.executable, "-P", __file__, kind, name, first, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [Verdict(**verdict) for verdict in json.loads(run.stdout)]


@pytest.mark.parametrize("first", ["first", "later"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_every_call(tmp_path: Path, name: str, first: str) -> None:
    """Whatever is killed leaves the old or the new state whole, a free lock, and nothing that stays."""
    found = verdicts("killed", name, first, tmp_path / "keys")
    assert [verdict.outcome for verdict in found[:-1]] == ["killed"] * (len(found) - 1)
    assert (found[-1].outcome, found[-1].state) == ("done", "new")
    states = [verdict.state for verdict in found]
    assert states == sorted(states, reverse=True), "once new, always new"
    if (name, first) not in (("destroy", "first"), ("delete", "first")):  # nothing is there to do
        calls = {verdict.call for verdict in found}
        assert {"fsync", "flock"} < calls
        assert {"rename", "half of write"} < calls or "unlink" in calls
        assert "old" in states


@pytest.mark.parametrize("first", ["first", "later"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_refused_at_every_call(tmp_path: Path, name: str, first: str) -> None:
    """A full, failing or read-only disk is StoreUnavailable, the old state whole, no temporary file left."""
    found = verdicts("failed", name, first, tmp_path / "keys")
    for verdict in found:
        assert verdict.outcome == ("StoreUnavailable" if verdict.call else "done")
        # The one call after the rename is the fsync of its directory: then loading shows the new state.
        if verdict.call not in ("", "fsync"):
            assert verdict.state == ("new" if first == "first" and name in GONE else "old")
    if name not in GONE:
        assert {"open", "write", "fsync", "rename"} <= {verdict.call for verdict in found}


GONE = ("destroy", "delete")

if __name__ == "__main__":
    main(*sys.argv[1:])
