"""A reload that takes its time: the loop goes on meanwhile; and the admin listener, which follows it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.cli.watching import Watched, watched
from rotator.daemon.daemon import HEARTBEAT
from rotator.daemon.reload import in_a_thread
from rotator.metrics import Meter
from rotator.settings import Settings
from tests.campaign.processes import free_port
from tests.unit.daemon_world import BOUND, HOUR
from tests.unit.test_daemon_reload import Running


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    made.settle()
    yield made
    made.close()


class Slow:
    """A configuration that is read when a test lets it be."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.began, self.go = threading.Event(), threading.Event()
        self.reads = 0
        running.reloader._load, running.reloader._aside = self, in_a_thread

    def __call__(self) -> Settings:
        """Read it."""
        self.reads += 1
        self.began.set()
        assert self.go.wait(BOUND)
        return self.running.load()

    def made_ready(self) -> None:
        """Wait until the next look can go over to it."""
        making = self.running.reloader._making
        assert making is None or making.done.wait(BOUND)


def test_the_loop_goes_on_while_a_configuration_is_read(running: Running) -> None:
    """Ticks too; who asks meanwhile is heard after it, and what is new counts from one look on."""
    slow = Slow(running)
    running.document["key_sets"]["new"] = running.key_set("new")
    running.write()
    running.reload()
    assert slow.began.wait(BOUND)
    assert running.reloader.look() == HEARTBEAT
    running.clock.advance(HOUR)
    assert set(running.settle()) == {"web", "api"}
    running.reload()  # asked for again
    assert slow.reads == 1
    assert not running.log.named("config.reloaded")
    slow.go.set()
    slow.made_ready()
    running.reloader.look()
    assert running.log.named("config.reloaded")[0]["added"] == ["new"]
    assert set(running.settle()) == {"new"}
    slow.made_ready()
    running.reloader.look()
    assert (slow.reads, len(running.log.named("config.reloaded"))) == (2, 2)


def test_the_end_waits_for_no_configuration(tmp_path: Path) -> None:
    """What was made ready by then is let go: the address that it took is free."""
    running = Running(tmp_path)
    port = free_port()
    slow = Slow(running)
    running.document["server"] = {"listen": f"127.0.0.1:{port}"}
    running.write()
    running.reload()
    slow.go.set()
    slow.made_ready()
    assert get(port, "/healthz") == 200
    running.close()
    with pytest.raises(urllib.error.URLError):
        get(port, "/healthz")


def test_without_a_thread_it_is_refused_and_tried_again(running: Running) -> None:
    """A process that may have no more threads goes on with what it has."""

    def none(_job: Any) -> None:
        raise RuntimeError("can't start new thread")

    aside, running.reloader._aside = running.reloader._aside, none
    running.reload()
    assert "RuntimeError" in running.last("config.refused")["reason"]
    running.reloader._aside = aside
    running.reload()
    assert running.daemon.state.reload.error == ""


@pytest.fixture
def admin(running: Running) -> Iterator[Watched]:
    """Make a daemon visible as `rotator run` does."""
    reloader = running.reloader
    with ExitStack() as stack:
        seen = stack.enter_context(watched(reloader.assembly, None))
        running.daemon._observer = seen.observer
        reloader._parts = replace(reloader._parts, followers=(seen.admin,))
        yield seen


def test_the_admin_listener_is_led_through_changes(running: Running, admin: Watched) -> None:
    """None, an address, one that is taken, another, and none again; it tells what is in force."""
    first, second = free_port(), free_port()
    change(running, listen=f"127.0.0.1:{first}")
    assert ready(first)["key_sets"] == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running.document["key_sets"]["new"] = running.key_set("new")
        change(running, listen=f"127.0.0.1:{port}")
        refused = running.last("config.refused")
        assert f"the admin listener cannot listen at 127.0.0.1:{port}" in refused["reason"]
        assert ready(first)["key_sets"] == 2  # and not what was refused
    change(running, listen=f"127.0.0.1:{second}", metrics_key_sets=1)
    assert ready(second)["key_sets"] == 3
    running.clock.advance(HOUR)
    running.settle()
    assert b"rotator_key_set_info{" not in metrics(second)  # three are more than one
    with pytest.raises(urllib.error.URLError):
        get(first, "/healthz")
    change(running, listen=f"0.0.0.0:{second}")
    assert "only a restart can change that" in running.last("config.refused")["hint"]
    change(running, listen=f"127.0.0.1:{second}", metrics_key_sets=10)
    assert metrics(second).count(b"rotator_key_set_info{") == 3
    del running.document["admin"]
    running.write()
    running.reload()
    with pytest.raises(urllib.error.URLError):
        get(second, "/healthz")
    addresses = [said["address"] for said in running.log.named("admin.started")]
    assert addresses == [f"http://127.0.0.1:{port}" for port in (first, second)]
    assert isinstance(admin.observer, Meter)


def test_an_address_taken_for_a_configuration_that_is_refused_is_free_again(
    running: Running, admin: Watched
) -> None:
    """The server's was not to be had; then the admin listener does not move either."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running.document["server"] = {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        change(running, listen=f"127.0.0.1:{port}")
    assert "cannot listen at" in running.last("config.refused")["reason"]
    socket.create_server(("127.0.0.1", port)).close()
    admin.admin.prepare(running.load())
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    admin.admin.abort()
    socket.create_server(("127.0.0.1", port)).close()


def change(running: Running, **admin: Any) -> None:
    running.document["admin"] = admin
    running.write()
    running.reload()
    running.settle()


def get(port: int, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return int(answer.status)


def ready(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def metrics(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        body: bytes = answer.read()
        return body
