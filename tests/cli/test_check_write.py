"""`check --write`: the full path of each store on trial, what fails in it, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.cli.exercising import Trial
from rotator.errors import Conflict, StoreDenied, StoreUnavailable
from rotator.inspection import SCRATCH, Finding, Scope
from rotator.secret import Secret
from rotator.stores import (
    Document,
    DocumentStore,
    MaterialStore,
    RingStore,
    Store,
    Stored,
    Version,
    VersionToken,
    find_backend,
)
from tests.cli.bench import Bench
from tests.cli.forge import Forge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = f"{SCRATCH}/signing"
SCOPE = Scope(SCRATCH, documents=(NAME,))
STORES = {
    "local": {"backend": "file", "path": "store"},
    "east": {"backend": "file", "path": "east"},
}
MIRRORED = {
    "store": "local",
    "deliver": [{"to": "store", "store": "east"}],
    "publish": [{"to": "store", "store": "east"}],
}


def file_store(path: Path) -> Any:
    """Return a real store."""
    backend = find_backend("file")
    return backend.open(backend.settings()(path=path))


def tried(store: Store, now: datetime = NOW, scope: Scope = SCOPE) -> list[Finding]:
    """Return what a trial found."""
    return list(Trial(store, scope, now).run())


def test_each_store_is_tried_for_what_it_is_used(tmp_path: Path, forge: Forge) -> None:
    """Ring and material in one, documents in the other; afterwards everything is as it was."""
    bench = Bench(tmp_path, key_set=MIRRORED, more={"stores": STORES})
    assert forge.run(bench, "rotate").code == 0
    files = sorted(path for path in tmp_path.rglob("*"))
    ran = forge.run(bench, "check", "--write")
    assert ran.code == 0, ran
    said = [line for line in ran.out.splitlines() if "on trial" in line]
    assert [line.partition("store ")[2].partition(":")[0] for line in said[:-1]] == [
        "east", "east", "east", "local", "local", "local",
    ]  # fmt: skip
    assert "nothing was changed but on trial" in said[-1]
    assert sorted(path for path in tmp_path.rglob("*")) == files
    assert "on trial" not in forge.run(bench, "check").out


def test_a_second_trial_at_the_same_time(tmp_path: Path, forge: Forge) -> None:
    """It says so and leaves the first alone, which ends well."""
    bench = Bench(tmp_path)
    first = forge.start(bench, "check", "--write", stop_before="material")
    assert forge.stopped(first)
    second = forge.run(bench, "check", "--write")
    assert second.code == 75, second
    assert "another `rotator check --write" in second.out
    os.kill(first, signal.SIGCONT)
    ended = forge.wait(first)
    assert ended.code == 0, ended
    assert not (tmp_path / "store" / SCRATCH).exists()


def test_what_a_killed_trial_left(tmp_path: Path, forge: Forge) -> None:
    """Within ten minutes it may be at work still; afterwards it is taken away, its material too."""
    bench = Bench(tmp_path)
    killed = forge.start(bench, "check", "--write", stop_before="material")
    assert forge.stopped(killed)
    os.kill(killed, signal.SIGKILL)
    assert forge.wait(killed).code == -9
    assert (tmp_path / "store" / SCRATCH).exists()
    soon, later = (datetime.now(UTC) + timedelta(minutes=by) for by in (1, 11))
    ran = forge.run(bench, "check", "--write", travel=soon.isoformat())
    assert ran.code == 75, ran
    ran = forge.run(bench, "check", "--write", travel=later.isoformat())
    assert ran.code == 0, ran
    assert not (tmp_path / "store" / SCRATCH).exists()


def test_what_no_trial_wrote_is_left_alone(tmp_path: Path) -> None:
    """Somebody used the name: that is for a person to look at."""
    store = file_store(tmp_path)
    store.rings(SCRATCH).save(b'{"ring": 1}', replacing=None)
    (finding,) = tried(store)
    assert (finding.level, finding.exit_code) == ("fault", 65)
    assert finding.hint
    assert store.rings(SCRATCH).load() is not None


def test_it_cleans_up_whenever_it_ends(tmp_path: Path) -> None:
    """Also when nobody takes the next finding: Ctrl-C between two of them."""
    store = file_store(tmp_path)
    findings = Trial(store, SCOPE, NOW).run()
    assert isinstance(findings, Generator)
    assert next(findings).level == "ok"
    assert store.rings(SCRATCH).load() is not None
    findings.close()
    assert not (tmp_path / SCRATCH).exists()
    assert [finding.level for finding in tried(store)] == ["ok"] * 4


def test_a_store_without_trials(tmp_path: Path) -> None:
    """It says so, which is no fault."""
    real = file_store(tmp_path)

    class Plain:
        """A store of somebody else's."""

        rings, material, documents, close = real.rings, real.material, real.documents, real.close

    (finding,) = tried(Plain())
    assert (finding.level, finding.exit_code) == ("advice", 0)
    assert not (tmp_path / SCRATCH).exists()


class Broken:
    """A real store with one thing wrong."""

    def __init__(self, path: Path, wrong: str) -> None:
        self._real = file_store(path)
        self._wrong = wrong

    def rings(self, key_set: str) -> RingStore:
        """Return rings that may take every save."""
        return _Rings(self._real.rings(key_set), self._wrong)

    def material(self, key_set: str) -> MaterialStore:
        """Return material that may be denied, or never go away."""
        return _Material(self._real.material(key_set), self._wrong)

    def documents(self) -> DocumentStore:
        """Return documents that may lose their revision, or take every write."""
        return _Documents(self._real.documents(), self._wrong)

    def erase_scratch(self) -> None:
        """Remove it, or fail."""
        if self._wrong == "erase":
            raise StoreUnavailable("no answer", hint="wait")
        self._real.erase_scratch()

    def close(self) -> None:
        """Let go of nothing."""


class _Rings:
    def __init__(self, real: RingStore, wrong: str) -> None:
        self._real, self._wrong = real, wrong

    def load(self) -> Stored | None:
        return self._real.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        if self._wrong == "conflict":
            raise Conflict("somebody else saved", hint="load again")
        if self._wrong == "blind" and replacing is not None:
            there = self._real.load()
            replacing = there.version if there else None
        return self._real.save(document, replacing=replacing)


class _Material:
    def __init__(self, real: MaterialStore, wrong: str) -> None:
        self._real, self._wrong = real, wrong
        self.allocate, self.get = real.allocate, real.get

    def put(self, locator: str, kid: str, material: Secret) -> None:
        if self._wrong == "denied":
            raise StoreDenied("may not create secrets", hint="grant it")
        self._real.put(locator, kid, material)

    def destroy(self, locator: str, kid: str) -> None:
        if self._wrong != "eternal":
            self._real.destroy(locator, kid)


class _Documents:
    def __init__(self, real: DocumentStore, wrong: str) -> None:
        self._real, self._wrong = real, wrong
        self.delete = real.delete

    def read(self, name: str) -> Document | None:
        found = self._real.read(name)
        if self._wrong == "forgetful" and found is not None:
            return Document(found.body, found.key_set, None, found.token)
        return found

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        if self._wrong == "unfenced":
            self._real.delete(name)
            replacing = None
        self._real.write(name, document, replacing=replacing)


@pytest.mark.parametrize(
    ("wrong", "said", "code"),
    [
        ("blind", "it took a stale ring", 65),
        ("conflict", "somebody else saved", 75),
        ("denied", "may not create secrets", 77),
        ("eternal", "still returns material that it was told to destroy", 65),
        ("forgetful", "does not return rotator-check/signing as it took it", 65),
        ("unfenced", "it took a stale document", 65),
        ("erase", "no answer", 69),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, wrong: str, said: str, code: int) -> None:
    """One fault with its exit code and the way out; the other parts are tried all the same."""
    findings = tried(Broken(tmp_path, wrong))
    (fault,) = (finding for finding in findings if finding.level == "fault")
    assert said in fault.text
    assert fault.exit_code == code
    assert fault.hint
    assert len(findings) == 4
    assert (tmp_path / SCRATCH).exists() is (wrong == "erase")


def test_json(tmp_path: Path) -> None:
    """Each part is a finding."""
    findings = Bench(tmp_path).answer("check", "--write")["findings"]
    assert len([item for item in findings if item["text"].startswith("on trial")]) == 3
    assert json.dumps(findings)
