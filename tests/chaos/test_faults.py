"""Single faults under a real daemon, signers and verifiers beside it: the old key stays, everything says why, it heals.

No descriptors and a full disk: `tests/fuzz/test_daemon_faults.py`; stopped for longer than a rotation:
`tests/campaign/test_stopped.py`.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.processes import BOUND, ended, until
from tests.chaos.judge import Judge
from tests.chaos.replica import Replica
from tests.chaos.stage import Stage
from tests.chaos.watch import Watch


@contextlib.contextmanager
def staged(home: Path, name: str, *replicas: str, keep: str | None = None) -> Iterator[Stage]:
    """One key set, its replicas not yet running."""
    stage = Stage(home, (name,), replicas, keep=keep)
    try:
        yield stage
    finally:
        stage.close()


def get(port: int, path: str) -> tuple[int, str]:
    """Ask a server of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(stage: Stage, name: str, key_set: str) -> float:
    """A metric of a key set as the first replica tells it."""
    _, text = get(next(iter(stage.admin.values())), "/metrics")
    found = re.search(rf'^{name}{{[^}}]*key_set="{key_set}"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def command(replica: Replica, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one command with a replica's configuration."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "rotator", "--config", str(replica.config), *words],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=BOUND,
    )


def active(stage: Stage, name: str) -> str:
    """The kid that signs."""
    [kid] = stage.grounds[name].kids("active")
    return kid


class Reader:
    """Reads the JWKS and `/readyz` all the time, and keeps what it did not get."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._ports = (stage.cache.port, next(iter(stage.admin.values())))
        self._paths = (f"/{name}/jwks.json", "/readyz")
        self.faults: list[str] = []
        self.reads = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for port, path in zip(self._ports, self._paths, strict=True):
                try:
                    status, text = get(port, path)
                except OSError as error:
                    status, text = 0, str(error)
                self.reads += 1
                if status != 200:
                    self.faults.append(f"{path}: {status} {text}")

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join(30)


@pytest.mark.slow
def test_a_store_that_is_down_for_a_day(tmp_path: Path) -> None:
    """Accelerated: it misses a rotation, and the daemon starts anew while it is down."""
    name = "payments"
    with staged(tmp_path, name, "a") as stage:
        replica, proxy = stage.replicas["a"], stage.proxies[name]
        replica.start()
        assert replica.wait_for("key.announced", 2), replica.tail()
        assert replica.wait_for("admin.started"), replica.tail()
        pair = stage.pair(name, rate=10.0)
        with ended([pair]):
            reader = Reader(stage, name)
            with proxy.refusing():
                assert replica.wait_for("key_set.failing"), replica.tail()
                old = active(stage, name)
                until(lambda: old in pair.kids)
                until(lambda: metric(stage, "rotator_overdue_seconds", name) > 1)
                until(lambda: metric(stage, "rotator_key_set_failing", name) == 1)
                until(lambda: reader.reads > 20)
                reader.stop()
                assert reader.faults == []
                ready = json.loads(get(stage.admin["a"], "/readyz")[1])
                assert (ready["ready"], ready["failing"], ready["overdue"]) == (True, 1, 1)
                starts_again_without_its_store(stage, name)
                assert active(stage, name) == old
            assert replica.wait_for("key_set.healed"), replica.tail()
            assert replica.wait_for("key.promoted"), replica.tail()
            until(lambda: metric(stage, "rotator_key_set_failing", name) == 0)
            until(lambda: metric(stage, "rotator_overdue_seconds", name) == 0)
            # The signer keeps the old key for as long as it may.
            until(lambda: active(stage, name) in pair.kids)
            found = pair.finish()
        assert active(stage, name) != old
        # The next rotation may be due just now, and this machine too slow for it.
        until(lambda: command(replica, "status", name).returncode == 0)
        replica.end()
        assert set(replica.codes) == {143}
    assert found["rejected"] == []
    assert old in found["kids"][:-1]


def starts_again_without_its_store(stage: Stage, name: str) -> None:
    """The daemon does not wait for its store; it serves what was published before, and says what is wrong."""
    replica = stage.replicas["a"]
    assert replica.roll(), replica.tail()
    assert replica.wait_for("key_set.failing"), replica.tail()
    assert {key["kid"] for key in stage.published(name)} >= {active(stage, name)}
    # Nobody hands that address over: the new process tries it again until the old one has ended.
    assert replica.wait_for("admin.started"), replica.tail()
    until(lambda: json.loads(get(stage.admin["a"], "/readyz")[1])["failing"] == 1)
    assert get(stage.admin["a"], "/readyz")[0] == 200
    shown = command(replica, "status", name)
    assert shown.returncode == 69
    [why] = [line for line in shown.stderr.splitlines() if line.startswith("rotator: error:")]
    assert stage.proxies[name].url in why


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The daemon says who has to go, and ends with a code that a service manager tries again after."""
    with staged(tmp_path, "web", "a") as stage:
        replica = stage.replicas["a"]
        with socket.create_server(("127.0.0.1", stage.ports["a"])):
            replica.start()
            assert replica.process is not None
            assert replica.process.wait(BOUND) == 75
        said = replica.tail()
        assert f"cannot listen at 127.0.0.1:{stage.ports['a']}: another program does" in said
        assert "server.listen" in said
        assert not (stage.grounds["web"].path / "store").exists()


@pytest.mark.slow
def test_a_cache_that_keeps_the_jwks_for_ten_minutes(tmp_path: Path) -> None:
    """Accelerated to five seconds, whatever the headers say: announced is what was seen through it, not what was served."""
    name = "web"
    with staged(tmp_path, name, "a", keep="5s") as stage:
        replica = stage.replicas["a"]
        replica.start()
        assert replica.wait_for("key.announced"), replica.tail()
        until(stage.grounds[name].signing.exists)
        pair = stage.pair(name, rate=10.0)
        with ended([pair]):
            # Of each key in turn, until the cache kept one back: it may lose what it has just when one is served.
            until(lambda: unseen(replica, stage, name) is not None)
            waited = unseen(replica, stage, name)
            assert waited is not None
            kid = waited["kid"]
            until(lambda: kid in pair.kids)
            found = pair.finish()
        replica.end()
    assert found["rejected"] == []
    assert kid in found["kids"]
    created = first(replica, "key.created", kid)
    served = first(replica, "jwks.published", kid)
    announced = first(replica, "key.announced", kid)
    assert when(created) < when(served) < when(waited) < when(announced)
    # It is served a moment before that is logged, so the cache may ask again in between.
    refreshed = [at for at in refreshes(stage, name) if when(created) < at < when(announced)]
    assert refreshed, "the cache never asked again"


def unseen(replica: Replica, stage: Stage, name: str) -> dict[str, Any] | None:
    """The first event of a key that waits for the cache alone."""
    said = {"reason": "not-announced", "detail": f"not seen at probe:{stage.cache.url(name)}"}
    events = replica.log.named("step.waiting")
    return next((event for event in events if said.items() <= event.items()), None)


def first(replica: Replica, name: str, kid: str) -> dict[str, Any]:
    """The first event of a name that is about a key."""
    return next(event for event in replica.log.named(name) if kid in event.get("kid", ""))


def when(event: dict[str, Any]) -> float:
    """When it was logged, in seconds since 1970."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def refreshes(stage: Stage, name: str) -> list[float]:
    """When nginx asked the server and kept its answer."""
    lines = (stage.cache.folder / "access.log").read_text().splitlines()
    asked = (line.split() for line in lines if f"/{name}/" in line)
    return [float(at) for at, _, status, cached, *_ in asked if status == "200" and cached != "HIT"]


def algorithms(stage: Stage) -> set[str]:
    """Of which keys were made, whoever made them."""
    made = (event for r in stage.replicas.values() for event in r.log.named("key.created"))
    return {event["reason"] for event in made}


@pytest.mark.slow
def test_two_daemons_of_different_configuration(tmp_path: Path) -> None:
    """Other durations, another curve: both say so, they take turns at their own pace, and nobody rejects a token."""
    name = "web"
    with staged(tmp_path, name, "a", "b") as stage:
        other = stage.document("b", token_ttl="2s", rotate_every="9s", leeway="1500ms")
        other["key_sets"][name]["algorithm"] = "ES384"
        stage.configure("b", other)
        for replica in stage.replicas.values():
            replica.start()
        until(stage.grounds[name].signing.exists)
        watch, pair = Watch(stage), stage.pair(name, rate=10.0)
        with ended([pair]):
            for replica in stage.replicas.values():
                assert replica.wait_for("config.differs"), replica.tail()
            until(lambda: watch.rotations(name) >= 2)
            until(lambda: algorithms(stage) == {"ES256", "ES384"})
            until(lambda: len(pair.kids) >= 3)
            # Of one mind again, they come to rest.
            stage.configure("b")
            stage.replicas["b"].send(signal.SIGHUP)
            assert stage.replicas["b"].wait_for("config.reloaded")
            until(lambda: not Judge(stage, watch).flaws(name))
            found = pair.finish()
        watch.stop()
        for replica in stage.replicas.values():
            replica.end()
            assert replica.codes == [143]
            # A warning passes by itself: this machine may have been too slow for a write window of seconds.
            failing = replica.log.named("key_set.failing")
            assert not [event for event in failing if event["level"] == "error"], failing
            assert not replica.count("key_set.restless")
    assert watch.findings == []
    assert found["rejected"] == []
    assert len(found["kids"]) >= 3
