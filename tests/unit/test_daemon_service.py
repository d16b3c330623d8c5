"""`rotator run` as a service: what systemd hears of it, and SIGHUP, with a real process."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.campaign.processes import BOUND, Daemon, configure, ended, key_set, pause, until

FED = 20.0  # seconds; without a watchdog the loop comes round every thirty


class Manager:
    """What a service manager hears."""

    def __init__(self, heard: socket.socket) -> None:
        self._socket = heard

    def next(self, *, but: str = "WATCHDOG=1") -> dict[str, str]:
        """The next message that is not of one kind."""
        while True:
            message = self._socket.recv(4096).decode()
            if not message.startswith(but):
                return dict(line.split("=", 1) for line in message.split("\n"))

    def silent(self, seconds: float) -> bool:
        """True when nothing comes for a while; what came before is dropped."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                continue
        except BlockingIOError:
            pass
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(BOUND)
        return False


@contextmanager
def managed(**environ: str) -> Iterator[tuple[Manager, dict[str, str]]]:
    """A manager on an abstract socket, and the environment that it gives."""
    name = f"@rotator-service-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.settimeout(BOUND)
        heard.bind("\0" + name[1:])
        yield Manager(heard), {"NOTIFY_SOCKET": name, **environ}


def test_life_as_a_service(tmp_path: Path) -> None:
    """Ready, reloaded, refused, reloaded by a changed file's word alone, and stopped; each said in its time."""
    sets = {"web": key_set(tmp_path, "web", "EdDSA")}
    config = configure(tmp_path, sets)
    with managed() as (manager, environ):
        daemon = Daemon(config, **environ)
        with ended(daemon):
            assert manager.next() == {"READY": "1", "STATUS": "1 key set"}
            daemon.wait_for("key.announced", 2)
            configure(tmp_path, {**sets, "api": key_set(tmp_path, "api", "ES256")})
            daemon.send(signal.SIGHUP)
            first = manager.next()
            assert first["RELOADING"] == "1"
            assert int(first["MONOTONIC_USEC"]) > 0
            assert manager.next() == {"READY": "1", "STATUS": "2 key sets"}
            daemon.wait_for("config.reloaded")
            daemon.wait_for("key.announced", 2, key_set="api")
            good = config.read_bytes()
            config.write_text("{")
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.refused")
            assert manager.next()["RELOADING"] == "1"
            assert "refused" in manager.next()["STATUS"]
            config.write_bytes(good)
            daemon.send(signal.SIGHUP)
            daemon.wait_for("config.reloaded", 2)
            assert manager.next()["RELOADING"] == "1"
            assert manager.next() == {"READY": "1", "STATUS": "2 key sets"}
            assert daemon.process.poll() is None
            daemon.send(signal.SIGTERM)
            assert manager.next()["STOPPING"] == "1"
            assert daemon.end() == 143
    reloaded = [item for item in daemon.err.events() if item["event"] == "config.reloaded"]
    assert reloaded[0]["added"] == ["api"]
    assert "changed" not in reloaded[0]


def test_the_watchdog_is_fed_while_the_loop_lives(tmp_path: Path) -> None:
    """As often as it is asked for and not at each heartbeat; a process that stands still says nothing."""
    config = configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")})
    with managed(WATCHDOG_USEC="2000000") as (manager, environ):
        daemon = Daemon(config, **environ)
        with ended(daemon):
            daemon.wait_for("key.announced", 2)
            assert manager.next()["READY"] == "1"
            for _ in range(3):
                assert not manager.silent(FED)
            daemon.send(signal.SIGSTOP)
            until(lambda: _state(daemon.process.pid) == "T")
            assert manager.silent(2.0)
            daemon.send(signal.SIGCONT)
            assert not manager.silent(FED)
            assert daemon.end() == 143


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_shard_rotates_its_part_only(tmp_path: Path) -> None:
    """Two of them do all of it between them."""
    names = [f"tenant-{number}" for number in range(4)]
    config = configure(tmp_path, {name: key_set(tmp_path, name, "EdDSA") for name in names})
    daemons = [Daemon(config, ROTATOR_SHARD=f"{index}/2") for index in range(2)]
    with ended(*daemons):
        for daemon in daemons:
            daemon.wait_for("daemon.started")
        until(lambda: all((tmp_path / "public" / f"{name}.json").exists() for name in names))
        pause(0.5)
        assert [daemon.end() for daemon in daemons] == [143, 143]
    parts = [
        {item["key_set"] for item in daemon.err.events() if item["event"] == "key.creating"}
        for daemon in daemons
    ]
    assert parts[0] | parts[1] == set(names)
    assert not parts[0] & parts[1]
    assert json.loads(config.read_text())["key_sets"].keys() == set(names)
