"""Faults of the daemon's process: no file descriptors, a full disk. The old key stays, and it heals.

Stopped and killed processes are those of tests/campaign.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.campaign.processes import (
    HTTP_CACHE,
    Daemon,
    Pair,
    configure,
    ended,
    free_port,
    key_set,
    pause,
    ring_of,
    until,
)
from tests.fuzz.clients import Canary
from tests.fuzz.ground import LATE

pytestmark = pytest.mark.skipif(
    not hasattr(psutil.Process, "rlimit"), reason="sets limits of another process"
)


@contextlib.contextmanager
def limited(daemon: Daemon, what: int, value: int) -> Iterator[None]:
    """Take something away from a running daemon, not from its server, and give it back."""
    process = psutil.Process(daemon.process.pid)
    limits = process.rlimit(what)
    process.rlimit(what, (value, limits[1]))
    try:
        yield
    finally:
        process.rlimit(what, limits)


def active(home: Path) -> str:
    """The kid that signs."""
    [kid] = [key["kid"] for key in ring_of(home, "web")["keys"] if key["phase"] == "active"]
    return str(kid)


def suffer_and_heal(home: Path, daemon: Daemon, what: int, value: int) -> None:
    """A fault lasts until it is noticed and a rotation is due; the active key stays; then it is made up for."""
    failing = daemon.count("key_set.failing") + daemon.count("target.failing")
    healed = daemon.count("key_set.healed") + daemon.count("target.healed")
    with limited(daemon, what, value):
        until(lambda: daemon.count("key_set.failing") + daemon.count("target.failing") > failing)
        before = active(home)
        pause(1.0)
        assert active(home) == before
        assert daemon.process.poll() is None
    promoted = daemon.count("key.promoted")
    daemon.wait_for("key.promoted", promoted + 1)
    # Said at the end of a tick, after the promotion that may be in it.
    until(lambda: daemon.count("key_set.healed") + daemon.count("target.healed") > healed)


@pytest.mark.slow
def test_neither_files_nor_disk_cost_a_token(tmp_path: Path) -> None:
    """One fault after the other under a signer and a verifier that reads from the built-in server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/web/jwks.json"
    daemon = Daemon(configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")}, port=port))
    with ended(daemon):
        daemon.wait_for("key.promoted", 2)  # by then it has loaded all that it needs
        pair = Pair(tmp_path / "signing/web/signing.json", url, http_cache=HTTP_CACHE, rate=10.0)
        with ended([pair]), Canary(("127.0.0.1", port), "/readyz") as canary:
            suffer_and_heal(tmp_path, daemon, psutil.RLIMIT_NOFILE, 3)
            suffer_and_heal(tmp_path, daemon, psutil.RLIMIT_FSIZE, 0)
            until(lambda: len(pair.kids) >= 2)
            found = pair.finish()
        assert daemon.end() == 143
    sys.stdout.write(f"{found['checks']} checks, {len(found['kids'])} keys; {canary.report()}\n")
    assert found["rejected"] == []
    assert len(found["kids"]) >= 2
    assert not canary.faults, canary.faults[:5]
    assert canary.late < LATE


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of its own with very little room."""
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a small file system needs root")
    options = ["-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)]
    if subprocess.run([mount, *options], check=False, capture_output=True).returncode != 0:
        pytest.skip("this container may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def rotate(config: Path) -> subprocess.CompletedProcess[bytes]:
    """One tick of every key set, until nothing more is to be done."""
    command = [sys.executable, "-P", "-m", "rotator", "--config", str(config), "rotate"]
    return subprocess.run(command, check=False, capture_output=True, timeout=120)


def test_a_full_disk_changes_nothing_and_says_so(tmp_path: Path) -> None:
    """A store on a disk without a free byte: exit code 69, the ring as it was, and all is well afterwards."""
    with small_disk(tmp_path / "disk", "256k") as disk:
        config = configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")})
        settings: dict[str, Any] = json.loads(config.read_text())
        settings["stores"]["local"]["path"] = str(disk / "store")
        config.write_text(json.dumps(settings))
        assert rotate(config).returncode == 0
        ring = disk / "store/web/ring.json"
        before = ring.read_bytes()
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        order = [sys.executable, "-P", "-m", "rotator", "--config", str(config), "rotate", "--now"]
        full = subprocess.run(order, check=False, capture_output=True, timeout=120)
        assert full.returncode == 69, full.stderr
        assert b"no space left on device" in full.stderr
        assert ring.read_bytes() == before
        filler.unlink()
        assert rotate(config).returncode == 0
        assert not [path.name for path in (disk / "store/web").rglob("*.tmp*")]


def test_ready_while_the_disk_is_full(tmp_path: Path) -> None:
    """A daemon that starts on what was published before, and cannot write a byte, still serves it."""
    port = free_port()
    config = configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")}, port=port)
    first = Daemon(config)
    with ended(first):
        first.wait_for("key.announced", 2)
        assert first.end() == 143
    second = Daemon(config)
    with ended(second):
        second.wait_for("server.started")
        with limited(second, psutil.RLIMIT_FSIZE, 0):
            address = f"http://127.0.0.1:{port}"
            for path in ("/web/jwks.json", "/readyz"):
                with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
                    assert answer.status == 200
        assert second.end() == 143
