"""Going over to a changed configuration in mid-run, on a moved clock: real files, real stores, no waiting."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.assemble import Assembly
from rotator.daemon import Daemon, Waker
from rotator.daemon.daemon import HEARTBEAT
from rotator.daemon.edge import Edge
from rotator.daemon.lanes import Lanes
from rotator.daemon.reload import Parts, Reloader
from rotator.daemon.watch import Change, Watch
from rotator.service_manager import Notifier
from rotator.settings import Settings, load_settings
from tests.campaign.processes import free_port, until
from tests.unit.daemon_world import BOUND, HOUR, MINUTE, SECOND, AtOnce, Log, MovedClock

SLOW = {"token_ttl": "15m", "signer_lag": "5m"}


def key_set(home: Path, name: str, store: str = "local") -> dict[str, Any]:
    """A key set in a file store, delivered and published as files."""
    for folder in ("public", "signing"):
        (home / folder).mkdir(exist_ok=True)
    return {
        "algorithm": "EdDSA",
        "store": store,
        "policy": dict(SLOW),
        "deliver": [{"to": "files", "path": f"signing/{name}"}],
        "publish": [{"to": "file", "path": f"public/{name}.json"}],
    }


@dataclass
class Running:
    """A daemon over a configuration that the test changes."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    workers: Any = field(default_factory=AtOnce)
    clock: MovedClock = field(default_factory=MovedClock)
    log: Log = field(default_factory=Log)
    waker: Waker = field(default_factory=Waker)
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = self.document or {
            "version": 1,
            "stores": {"local": self.store("local")},
            "key_sets": {name: self.key_set(name) for name in ("web", "api")},
        }
        self.write()
        assembly = Assembly(self.load(), self.log.emit, clock=self.clock)
        self.edge = Edge(assembly.settings, self.waker, self.log.emit)
        self.edge.start()
        self.daemon = Daemon(
            list(assembly.sites(self.edge.url)),
            store_of=lambda name: assembly.settings.key_sets[name].store,
            clock=self.clock,
            emit=self.log.emit,
            waker=self.waker,
            workers=self.workers,
            chance=lambda: 0.5,
        )
        self.lanes = self.workers if isinstance(self.workers, Lanes) else Lanes()
        parts = Parts(self.daemon, self.edge, self.lanes, self.waker, Notifier({}), self.log.emit)
        watch = Watch(assembly.settings, self.environ)
        self.reloader = Reloader(assembly, self.load, watch, parts)

    def store(self, name: str) -> dict[str, Any]:
        return {"backend": "file", "path": f"store-{name}"}

    def key_set(self, name: str, store: str = "local") -> dict[str, Any]:
        return key_set(self.home, name, store)

    def write(self, text: str | None = None) -> None:
        """Write the configuration, or something else in its place."""
        path = self.home / "rotator.json"
        path.write_text(json.dumps(self.document) if text is None else text)

    def load(self) -> Settings:
        return load_settings(self.home / "rotator.json", self.environ)

    def reload(self) -> None:
        """What SIGHUP does."""
        self.waker.reload()
        self.reloader.look()

    def settle(self) -> list[str]:
        """Tick until nothing is due; return which key sets were."""
        ticked = []
        while due := self.daemon._charges.take(self.clock.elapsed()):
            for charge in due:
                ticked.append(charge.site.key_set)
                self.daemon._turn(charge, charge.ticket)
        return ticked

    def last(self, event: str) -> dict[str, Any]:
        return self.log.named(event)[-1]

    def close(self) -> None:
        self.reloader.close()
        self.edge.stop(0.0)
        self.waker.close()


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


def test_nothing_changed_disturbs_nobody(running: Running) -> None:
    """SIGHUP for nothing: no tick, no store opened anew, and it is said all the same."""
    before = running.reloader.assembly.opened
    running.reload()
    assert running.settle() == []
    assert running.last("config.reloaded") == {"key_sets": 2}
    assert before
    assert running.reloader.assembly.opened == before
    assert running.daemon.state.reload.reloads == 1


def test_key_sets_come_go_and_change(running: Running) -> None:
    """Only those that it makes a difference to are ticked; what was written for one that went stays."""
    running.document["key_sets"]["new"] = running.key_set("new")
    running.document["key_sets"]["web"]["policy"]["rotate_every"] = "30d"
    del running.document["key_sets"]["api"]
    running.write()
    jwks = (running.home / "public" / "api.json").read_bytes()
    running.reload()
    said = running.last("config.reloaded")
    assert said == {"key_sets": 2, "added": ["new"], "removed": ["api"], "changed": ["web"]}
    dropped = running.last("key_set.dropped")
    assert dropped["key_set"] == "api"
    assert f"file:{running.home}/public/api.json" in dropped["targets"]
    assert set(running.settle()) == {"new", "web"}
    assert (running.home / "public" / "api.json").read_bytes() == jwks
    assert (running.home / "public" / "new.json").exists()
    assert set(running.daemon.state.key_sets()) == {"new", "web"}
    running.clock.advance(HOUR)
    assert "api" not in running.settle()


def test_defaults_change_every_key_set_that_takes_them(running: Running) -> None:
    """And none that says otherwise."""
    running.document["defaults"] = {"policy": {"resync": "1m"}}
    running.document["key_sets"]["api"]["policy"]["resync"] = "5m"
    running.write()
    running.reload()
    assert running.last("config.reloaded")["changed"] == ["web"]
    running.settle()
    running.clock.advance(MINUTE)
    assert running.settle() == ["web"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "rotator.json"),
        ('{"version": 1}', "stores"),
        (None, "propagation"),
    ],
    ids=["not-json", "empty", "unsafe"],
)
def test_a_bad_one_is_refused_and_the_old_one_stays(
    running: Running, text: str | None, reason: str
) -> None:
    """Said once, kept for whoever asks, and gone once the file is good again."""
    before = running.reloader.assembly
    running.document["key_sets"]["web"]["policy"]["propagation"] = "1s"
    running.write(text)
    running.clock.advance(HEARTBEAT)
    running.reloader.look()
    running.clock.advance(SECOND)
    running.reloader.look()
    [refused] = running.log.named("config.refused")
    assert reason in refused["reason"]
    assert running.reloader.assembly is before
    for _ in range(5):
        running.clock.advance(HEARTBEAT)
        running.reloader.look()
    assert len(running.log.named("config.refused")) == 1
    state = running.daemon.state.reload
    assert (state.refusals, state.reloads, state.error) == (1, 0, refused["reason"])
    running.clock.advance(HOUR)
    assert set(running.settle()) == {"web", "api"}
    del running.document["key_sets"]["web"]["policy"]["propagation"]
    running.write()
    running.reload()
    assert running.daemon.state.reload.error == ""
    assert len(running.log.named("config.reloaded")) == 1


def test_an_operator_is_told_each_time(running: Running) -> None:
    """SIGHUP asks; that it was said before is no answer."""
    running.write("{")
    running.reload()
    running.reload()
    assert len(running.log.named("config.refused")) == 2


def test_a_changed_file_is_noticed_by_the_heartbeat(tmp_path: Path) -> None:
    """The file, one of `key_sets_dir`, one that a `…_FILE` names; replaced or written in place."""
    (tmp_path / "sets").mkdir()
    lag = tmp_path / "lag"
    lag.write_text("5m")
    running = Running(tmp_path, environ={"ROTATOR__DEFAULTS__POLICY__SIGNER_LAG_FILE": str(lag)})
    try:
        running.document["key_sets_dir"] = "sets"
        changes = 0

        def noticed() -> bool:
            running.clock.advance(HEARTBEAT)
            running.reloader.look()
            early = len(running.log.named("config.reloaded"))
            running.clock.advance(SECOND)
            running.reloader.look()
            assert early == changes  # a file that is being written is left in peace for a second
            return len(running.log.named("config.reloaded")) == changes + 1

        assert not noticed()
        running.write()
        assert noticed()
        changes += 1
        (tmp_path / "sets" / "new.json").write_text(json.dumps(running.key_set("new")))
        assert noticed()
        assert running.last("config.reloaded")["added"] == ["new"]
        changes += 1
        (tmp_path / "lag.new").write_text("6m")
        (tmp_path / "lag.new").replace(lag)
        assert noticed()
        changes += 1
        (tmp_path / "sets" / "new.json").unlink()
        assert noticed()
        assert running.last("config.reloaded")["removed"] == ["new"]
    finally:
        running.close()


def test_a_configmap_is_seen_to_change(tmp_path: Path) -> None:
    """Kubernetes switches one link; the file's own name and directory stay as they are."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "rotator.json").write_text(version)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "rotator.json").symlink_to("..data/rotator.json")
    running = Running(tmp_path / "1")
    watch = Watch(replace(running.load(), source=tmp_path / "rotator.json"), {})
    running.close()
    assert watch.look() is Change.NONE
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watch.look() is Change.GOING_ON
    assert watch.look() is Change.DONE
    watch.accept(watch.mark())
    assert watch.look() is Change.NONE


def test_a_store_that_changes_is_opened_anew_and_the_old_one_closed(running: Running) -> None:
    """A store that stays the same keeps its login; one that nobody uses any more is let go."""
    running.document["stores"]["other"] = running.store("other")
    running.document["key_sets"]["api"] = running.key_set("api", "other")
    (running.home / "store-other").mkdir(mode=0o700)
    for name in ("api",):
        source = running.home / "store-local" / name
        source.rename(running.home / "store-other" / name)
    running.write()
    before = {id(store) for store in running.reloader.assembly.opened}
    running.reload()
    assert running.last("config.reloaded")["changed"] == ["api"]
    assert running.settle() == ["api"]
    assert not running.log.named("key_set.failing")
    opened = {id(store) for store in running.reloader.assembly.opened}
    assert len(opened) == 2
    assert before < opened
    closed = watch_closing(running)
    running.document["stores"]["other"]["lock_timeout"] = "3s"
    running.write()
    running.reload()
    assert running.daemon.state.key_sets()["api"].store == "other"
    assert closed["other"].wait(BOUND)
    assert not closed["local"].is_set()
    assert running.settle() == ["api"]
    assert not running.log.named("key_set.failing")


def watch_closing(running: Running) -> dict[str, threading.Event]:
    """Note which of the stores open now are closed."""
    closed = {}
    for name, store in running.reloader.assembly._stores.items():
        closed[name] = threading.Event()

        def close(event: threading.Event = closed[name], inner: Any = store.close) -> None:
            inner()
            event.set()

        store.close = close  # type: ignore[method-assign]
    return closed


class Gate:
    """Ring stores that wait at their gate, and count who is inside."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.inside, self.go_on, self.most, self._now = threading.Event(), threading.Event(), 0, 0

    def load(self) -> Any:
        self._now += 1
        self.most = max(self.most, self._now)
        self.inside.set()
        assert self.go_on.wait(BOUND)
        self._now -= 1
        return self._inner.load()

    def save(self, document: bytes, *, replacing: Any) -> Any:
        return self._inner.save(document, replacing=replacing)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[Running, Gate]]:
    """A daemon with threads, in the middle of a tick of `web`."""
    running = Running(tmp_path, workers=Lanes())
    charge = running.daemon._charges._all["web"]
    gate = Gate(charge.site.rings)
    charge.site.rings = gate
    running.daemon.dispatch()
    assert gate.inside.wait(BOUND)
    yield running, gate
    gate.go_on.set()
    assert running.daemon.drained(BOUND)
    running.close()


def under_way(running: Running) -> list[str]:
    return [charge.site.key_set for charge in running.daemon._charges.under_way()]


def test_a_key_set_removed_in_mid_tick_ends_its_tick_and_no_other(
    hanging: tuple[Running, Gate],
) -> None:
    """And only then is what it used closed, however many reloads there are meanwhile."""
    running, gate = hanging
    until(lambda: under_way(running) == ["web"])
    closed = watch_closing(running)["local"]
    running.document["key_sets"] = {"new": running.key_set("new", "other")}
    running.document["stores"] = {"other": running.store("other")}
    running.write()
    running.reload()
    running.reload()
    assert "web" in under_way(running)
    assert not closed.is_set()
    gate.go_on.set()
    assert closed.wait(BOUND)
    assert {"web", "api"} == {item["key_set"] for item in running.log.named("key_set.dropped")}

    def made() -> bool:
        running.daemon.dispatch()
        return (running.home / "public" / "new.json").exists()

    until(made)
    assert set(running.daemon.state.key_sets()) == {"new"}
    assert (running.home / "store-local" / "web" / "ring.json").exists()


def test_a_key_set_that_comes_back_during_its_tick_is_not_ticked_twice_at_once(
    hanging: tuple[Running, Gate],
) -> None:
    """Removed and put back while a worker has it: the next tick waits for that one."""
    running, gate = hanging
    until(lambda: under_way(running) == ["web"])
    web = running.document["key_sets"].pop("web")
    running.write()
    running.reload()
    running.document["key_sets"]["web"] = web
    running.write()
    running.reload()
    for _ in range(10):
        running.daemon.dispatch()
    assert gate.most == 1
    gate.go_on.set()

    def ticked() -> bool:
        running.daemon.dispatch()
        return "web" in {item["key_set"] for item in running.log.named("step.waiting")}

    until(ticked)
    assert running.daemon._charges._all["web"].site.rings is not gate
    assert (running.home / "public" / "web.json").exists()


def test_a_store_that_hangs_is_left_behind(tmp_path: Path) -> None:
    """Every thread of its lane hangs; under another configuration its key sets live on at once."""
    names = [f"k{number}" for number in range(20)]
    running = Running(tmp_path, workers=Lanes())
    running.document["key_sets"] = {name: running.key_set(name) for name in names}
    running.write()
    running.reload()
    gates = []
    for charge in running.daemon._charges._all.values():
        gates.append(Gate(charge.site.rings))
        charge.site.rings = gates[-1]
    try:
        running.daemon.dispatch()
        until(lambda: len(under_way(running)) == 8)
        stuck = set(under_way(running))
        running.document["stores"]["local"]["lock_timeout"] = "3s"
        running.write()
        running.reload()
        free = set(names) - stuck

        def alive() -> bool:
            running.daemon.dispatch()
            return all((tmp_path / "public" / f"{name}.json").exists() for name in free)

        until(alive)
        assert set(under_way(running)) >= stuck
    finally:
        for gate in gates:
            gate.go_on.set()
        assert running.daemon.drained(BOUND)
        running.close()


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_server_is_led_through_changes(tmp_path: Path) -> None:
    """Another port, another key set, a port that is taken, and none at all."""
    first, second = free_port(), free_port()
    document = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "store-local"}},
        "server": {"listen": f"127.0.0.1:{first}"},
        "key_sets": {"web": key_set(tmp_path, "web")},
    }
    running = Running(tmp_path, document=document)
    try:
        running.settle()
        assert get(first, "/web/jwks.json") == 200
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            running.document["server"]["listen"] = f"127.0.0.1:{port}"
            running.write()
            running.reload()
            assert f"127.0.0.1:{port}" in running.last("config.refused")["reason"]
            assert get(first, "/web/jwks.json") == 200
        running.document["server"]["listen"] = f"127.0.0.1:{second}"
        running.document["key_sets"]["new"] = running.key_set("new")
        running.write()
        running.reload()
        assert set(running.settle()) == {"web", "new"}
        assert get(second, "/web/jwks.json") == 200
        assert get(second, "/new/jwks.json") == 200
        with pytest.raises(urllib.error.URLError):
            get(first, "/web/jwks.json")
        running.document["state_dir"] = "elsewhere"
        running.write()
        running.reload()
        assert "state_dir" in running.last("config.refused")["reason"]
        del running.document["state_dir"], running.document["server"]
        running.write()
        running.reload()
        assert running.daemon.state.reload.error == ""
        assert set(running.settle()) == {"web", "new"}
        with pytest.raises(urllib.error.URLError):
            get(second, "/web/jwks.json")
    finally:
        running.close()


def test_what_may_pass_by_itself_is_tried_again(running: Running) -> None:
    """A port that is free again is taken at the next heartbeat, without another word from anybody."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running.document["server"] = {"listen": f"127.0.0.1:{port}"}
        running.write()
        running.reload()
        assert running.daemon.state.reload.error
        running.clock.advance(2 * HEARTBEAT)
        running.reloader.look()
        running.clock.advance(2 * HEARTBEAT)
        running.reloader.look()
        assert len(running.log.named("config.refused")) == 1
    running.clock.advance(2 * HEARTBEAT)
    running.reloader.look()
    assert running.daemon.state.reload.error == ""
    running.settle()
    assert get(port, "/web/jwks.json") == 200


def test_a_fault_of_the_program_is_a_refusal_too(running: Running) -> None:
    """Told by its type and place; its message may quote what it read."""

    def load() -> Settings:
        raise KeyError("what the file says")

    running.reloader._load = load
    running.reload()
    said = running.last("config.refused")
    assert said["reason"].startswith("unexpected KeyError at ")
    assert "what the file says" not in str(said)
