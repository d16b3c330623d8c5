"""Hostile input against the admin listener, in a real daemon that goes on rotating."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.admin.exchange import TOO_LATE, rendered
from rotator.admin.listener import ANSWER_SECONDS, CONNECTIONS
from tests.campaign.processes import Daemon, configure, ended, free_port, key_set
from tests.fuzz.campaign import Bounds, attack
from tests.fuzz.clients import Canary
from tests.fuzz.ground import BOUND, LATE, Held, learned, say, until
from tests.fuzz.shapes import Site

SITE = Site((b"/metrics", b"/healthz", b"/readyz", b"/nothing"), b"/healthz", single=True)
BOUNDS = Bounds(ANSWER_SECONDS, spare=CONNECTIONS, threads=len(SITE.paths), at_once=24)
QUIET = {
    "token_ttl": "15m",
    "signer_lag": "1m",
    "rotate_every": "90d",
    "propagation": "24h",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, int]]:
    """A daemon with an admin listener, after its first run, and the listener's port."""
    home, port = tmp_path_factory.mktemp("admin"), free_port()
    config = configure(home, {"web": key_set(home, "web", "EdDSA") | {"policy": QUIET}})
    _add(config, port)
    daemon = Daemon(config)
    with ended(daemon):
        daemon.wait_for("step.waiting")
        daemon.wait_for("admin.started")
        ask = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert until(lambda: say(("127.0.0.1", port), ask).startswith(b"HTTP/1.1 200"))
        yield daemon, port
        assert daemon.end() == 143
        assert not daemon.count("admin.broken")


def _add(config: Path, port: int) -> None:
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"admin": {"listen": f"127.0.0.1:{port}"}}))


@pytest.mark.slow
def test_an_attack_on_the_admin_listener_harms_nobody(daemon: tuple[Daemon, int]) -> None:
    """As on the edge; each connection gets one answer, whatever is in it."""
    process, port = daemon
    address = ("127.0.0.1", port)
    known = learned(address, (*SITE.paths,), volatile=(b"text/plain",))
    known.learn(rendered(TOO_LATE, head=False))
    tally = attack(
        address,
        process.process.pid,
        known,
        SITE,
        path="/healthz",
        bounds=BOUNDS,
        idlers=1,
    )
    assert set(tally.statuses) >= {200, 400, 404, 405}
    assert not set(tally.statuses) & set(range(500, 600))


def test_a_crowd_does_not_keep_a_health_check_out(daemon: tuple[Daemon, int]) -> None:
    """More silent connections than there is room for: the one that has waited longest makes place."""
    process, port = daemon
    before = Held.by(process.process.pid)
    with contextlib.ExitStack() as crowd:
        for _ in range(300):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=BOUND))
        with Canary(("127.0.0.1", port), "/healthz") as canary:
            assert until(lambda: canary.served > 20)
        assert Held.by(process.process.pid).files < before.files + 100
        assert not canary.faults, canary.faults[:5]
        assert canary.late < LATE
    assert until(lambda: Held.by(process.process.pid).files <= before.files + 2)
