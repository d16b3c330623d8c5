"""Every byte that comes out of our processes is searched for every private key that was made."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.algorithms import kind_of
from rotator.errors import StoreCorrupt
from rotator.keys import Keys
from rotator_file.store import FileStore
from tests.campaign.needles import PRIVATE, forms_of, needles_of, search
from tests.campaign.processes import (
    BOUND,
    Daemon,
    configure,
    ended,
    free_port,
    key_set,
    ring_of,
    until,
)

ALGORITHMS = {"rs": "RS256", "ps": "PS384", "es": "ES512", "ed": "EdDSA", "hs": "HS256"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What this process reads of the store is not what is searched."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


class Watch:
    """Collects, while the processes run, every key that the store ever held and what /proc says of us."""

    def __init__(self, home: Path, pid: int) -> None:
        self._home, self._pid = home, pid
        self.materials: dict[tuple[str, str], bytes] = {}
        self.places: dict[str, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self.look()

    def stop(self) -> None:
        """Look for the last time."""
        self._stop.set()
        self._thread.join(BOUND)
        self.look()

    def look(self) -> None:
        """Read all material, and command lines and environments of the daemon and its children."""
        store = FileStore(self._home / "store")
        for name in ALGORITHMS:
            try:
                keys = ring_of(self._home, name)["keys"]
            except (FileNotFoundError, ValueError):
                continue
            for key in keys:
                try:
                    found = store.material(name).get(key["locator"], key["kid"])
                except StoreCorrupt:
                    continue  # this test broke it
                if found is not None:
                    self.materials[name, key["kid"]] = found.reveal()
        for pid in (self._pid, *children(self._pid)):
            for what in ("cmdline", "environ"):
                try:
                    self.places[f"/proc/{pid}/{what}"] = Path(f"/proc/{pid}/{what}").read_bytes()
                except OSError:
                    continue


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended
            found += [int(child) for child in tasks.read_text().split()]
    return found


def run(config: Path, *words: str, level: str = "debug") -> dict[str, bytes]:
    """Run one command; what it said on both streams."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "rotator", "--config", str(config)),
            *("--log-level", level, *words),
        ],
        capture_output=True,
        check=False,
        timeout=BOUND,
        stdin=subprocess.DEVNULL,
    )
    name = " ".join(words)
    return {
        f"{name}: stdout": done.stdout,
        f"{name}: stderr": done.stderr,
        f"{name}: exit": str(done.returncode).encode(),
    }


def files(home: Path) -> dict[str, bytes]:
    """Every file that is neither material nor delivered."""
    found = {}
    for path in sorted(home.rglob("*")):
        parts = path.relative_to(home).parts
        if path.is_symlink() or not path.is_file() or parts[0] in {"signing", "verification"}:
            continue
        if "material" not in parts:
            found[str(path)] = path.read_bytes()
    return found


def break_something(home: Path, name: str, daemon: Daemon, watch: Watch) -> None:
    """Put another key's material in place of the active one's, and half a document where signers read."""

    def two_keys() -> bool:
        # Between a promotion and the next creation there is no other key; and none goes while it stands still.
        daemon.stand_still()
        if {"active", "pending"} <= {key["phase"] for key in ring_of(home, name)["keys"]}:
            return True
        daemon.send(signal.SIGCONT)
        return False

    until(two_keys)
    try:
        watch.look()
        break_its_files(home, name)
    finally:
        daemon.send(signal.SIGCONT)
    failing = {"key_set": name}
    while not daemon.err.wait_for(lambda: daemon.count("target.failing", **failing) > 0, 10):
        assert daemon.process.poll() is None, daemon.tail()
        halve(home, name)  # it was about to write the document when it stood still


def break_its_files(home: Path, name: str) -> None:
    """Do it; both keys have their material."""
    keys = {key["phase"]: key for key in ring_of(home, name)["keys"]}
    active, other = keys["active"], keys["pending"]
    folder = home / "store" / name / "material"
    first = next(p for p in folder.iterdir() if active["kid"].encode() in p.read_bytes())
    second = next(p for p in folder.iterdir() if other["kid"].encode() in p.read_bytes())
    first.write_bytes(second.read_bytes())
    second.write_bytes(second.read_bytes()[:100])
    halve(home, name)


def halve(home: Path, name: str) -> None:
    """Leave half of what signers read."""
    document = home / "signing" / name / "signing.json"
    whole = document.read_bytes()
    document.resolve().write_bytes(whole[: len(whole) // 2])


@pytest.mark.slow
def test_no_byte_of_a_private_key_leaves(tmp_path: Path) -> None:
    """stdout, stderr and logs at DEBUG, tracebacks, /proc, and all files; through rotations and faults."""
    sets: dict[str, Any] = {}
    for name, algorithm in ALGORITHMS.items():
        size = 2048 if algorithm[:2] in {"RS", "PS"} else None
        sets[name] = key_set(tmp_path, name, algorithm, size=size)
    config = configure(tmp_path, sets, port=free_port())
    daemon = Daemon(config, level="debug", ROTATOR_PROBE_OF_THE_SEARCH="in the environment")
    watch = Watch(tmp_path, daemon.process.pid)
    places: dict[str, bytes] = {}
    with ended(daemon):
        for name in ALGORITHMS:
            daemon.wait_for("key.promoted", 2, key_set=name)
            daemon.wait_for("key.superseded", 1, key_set=name)
        for name in ALGORITHMS:
            commands = [("status", "--live"), ("history",), ("plan",), ("check",)]
            commands += [("revoke", "no-such-kid", "--reason", "search")]
            for words in commands[:2] if name != "rs" else commands:
                places |= run(config, words[0], name, *words[1:])
        places |= run(config, "status", "--json") | run(config, "jwks", "es", "--json")
        places |= run(config, "rotate", "--json") | run(config, "config", "show")
        for name in ("rs", "ed", "hs"):
            break_something(tmp_path, name, daemon, watch)
        places |= run(config, "rotate") | run(config, "status", "--live")
        places |= run(config, "rotate", "ed", "--emergency", "--yes")
        watch.stop()
        assert daemon.end() == 143
    places |= {"stdout": b"".join(daemon.out.lines), "stderr": b"".join(daemon.err.lines)}
    places |= watch.places | files(tmp_path)
    _looked_everywhere(places, watch)
    needles = needles_of(watch.materials.values())
    assert len(watch.materials) >= 3 * len(ALGORITHMS)
    assert list(search(needles, places)) == []
    sys.stdout.write(
        f"{len(watch.materials)} keys, {len(needles)} forms, {len(places)} places, "
        f"{sum(map(len, places.values()))} bytes: none found\n"
    )
    # The same search finds what was planted, so that its silence says something.
    planted = next(iter(watch.materials.values()))
    (tmp_path / "public" / "planted.txt").write_bytes(b"d=" + _member(planted).hex().encode())
    assert list(search(needles, files(tmp_path)))


def _looked_everywhere(places: dict[str, bytes], watch: Watch) -> None:
    """A search of nothing finds nothing: each kind of place has something in it."""
    assert b'"level": "debug"' in places["stderr"]
    assert any(
        b"in the environment" in content
        for place, content in watch.places.items()
        if place.endswith("environ")
    )
    assert sum(place.endswith("cmdline") for place in watch.places) >= 2  # the server's too
    assert any(place.endswith("ring.json") for place in places)
    assert any(place.endswith("rs.json") for place in places)
    assert any(b"key.revoked" in content for content in places.values())


def _member(material: bytes) -> bytes:
    jwk = json.loads(material)
    value = str(jwk.get("d") or jwk["k"])
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS512"])
def test_search_finds_every_form_of_every_member(algorithm: str) -> None:
    """In the middle of other bytes, as PEM, and in base64 of something longer at each alignment."""
    material = Keys().make(kind_of(algorithm, 2048 if algorithm == "RS256" else None)).material
    jwk = json.loads(material.reveal())
    needles = needles_of([material.reveal()])
    forms = forms_of(jwk)
    members = [name for name in PRIVATE if name in jwk]
    assert {name.split()[0] for name in forms} - {"PEM"} == set(members)
    for name, form in forms.items():
        noise = os.urandom(1000)
        assert list(search(needles, {"place": noise + form + noise})), name
    for member in members:
        raw = base64.urlsafe_b64decode(jwk[member] + "=" * (-len(jwk[member]) % 4))
        for before in range(3):
            longer = base64.b64encode(b"x" * before + raw + b"y" * 40)
            assert list(search(needles, {"place": longer})), (member, before)
    assert not list(search(needles, {"place": os.urandom(100_000)}))
    public = {key: value for key, value in jwk.items() if key not in PRIVATE}
    assert not list(search(needles, {"place": json.dumps(public).encode()}))
