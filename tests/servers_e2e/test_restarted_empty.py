"""A server that comes back empty under a running daemon: a ring that vanished is not a first run."""

from __future__ import annotations

import contextlib
import importlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.processes import Daemon, ended, free_port, until
from tests.servers import MODULES, RunningServer
from tests.servers.proxy import Proxy
from tests.servers_e2e.ground import IMPATIENT, REMOTE, SLOW, Ground, is_write
from tests.servers_e2e.leftovers import LOCATORS
from tests.servers_e2e.warm import Warm

POLICY = SLOW | {"resync": "500ms"}


@pytest.fixture(params=REMOTE)
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Return a key set on a server that nobody else uses, with a daemon's server configured."""
    own: RunningServer = importlib.import_module(MODULES[request.param]).start()
    try:
        with Proxy(own.url) as proxy, pytest.MonkeyPatch.context() as patched:
            for name, value in own.environ.items():
                patched.setenv(name, value)
            listen = {"server": {"listen": f"127.0.0.1:{free_port()}"}}
            ground = Ground(request.param, tmp_path, proxy, IMPATIENT, POLICY, more=listen, own=own)
            yield ground
            ground.close()
    finally:
        own.stop()


def jwks(ground: Ground) -> bytes:
    """What the daemon serves to verifiers."""
    url = f"http://{ground.more['server']['listen']}/{ground.name}/jwks.json"
    with urllib.request.urlopen(url, timeout=60) as answer:
        content: bytes = answer.read()
        return content


@contextlib.contextmanager
def log_kept(daemon: Daemon, ground: Ground) -> Iterator[None]:
    """Leave what the daemon said beside its files, for whoever looks into a failure."""
    try:
        yield
    finally:
        (ground.path / "daemon.log").write_bytes(b"".join(daemon.err.lines))


def failures(daemon: Daemon, key_set: str) -> list[dict[str, Any]]:
    """What the daemon said of a failure that names the key set."""
    return [
        event
        for event in daemon.err.events()
        if event["event"] == "key_set.failing" and key_set in event["reason"] + event["hint"]
    ]


@pytest.mark.slow
def test_restarted_empty(ground: Ground, warm: Warm) -> None:
    """Degraded with a clear message; nothing minted; the JWKS still served, by the daemon and after it."""
    daemon = Daemon(ground.config, level="debug")
    with ended(daemon), log_kept(daemon, ground):
        daemon.wait_for("key.delivered")
        until(lambda: len(ground.kids("pending")) == 1)
        daemon.wait_for("key.announced", 2)
        until(lambda: ground.documents()[1] == jwks(ground))
        served, documents, kid = jwks(ground), ground.documents(), ground.signs_and_verifies()
        ground.server.forget_everything()
        seen = len(ground.between.seen)
        # While the server restarts nothing answers, which is another failure and may be said first.
        until(lambda: bool(failures(daemon, ground.name)))
        failing = failures(daemon, ground.name)[0]
        ticks = daemon.count("store.call", op="ring.load")
        daemon.wait_for("store.call", ticks + 3, op="ring.load")
        assert jwks(ground) == served
        assert daemon.end() == 143
    assert failing["hint"]
    assert ground.documents() == documents
    assert ground.signs_and_verifies() == kid
    # A process that never saw the ring does not take it for a first run either.
    ran = warm.run(ground.config, "rotate")
    assert ran.code in {65, 77}, ran.err
    assert ground.documents() == documents
    assert not [item for item in ground.between.seen[seen:] if is_write(item)]
    assert not LOCATORS[ground.backend](ground)
