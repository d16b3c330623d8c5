"""Daemons, runs and servers that are gone, or go on with less than they should; as `scenarios`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rotator.notify.desk import Desk
from rotator.notify.keeper import Keeper
from rotator.settings.result import ReceiverSettings
from rotator_file.store import FileStore
from tests.prometheus.capture import SCRAPED, Run
from tests.prometheus.scenarios import Firing, Scenario
from tests.unit.daemon_world import HOUR, MINUTE, AtOnce


def a_receiver_is_behind(run: Run) -> Iterator[Firing]:
    """A command that fails is told nothing less than everything, later."""
    script = run.path / "tell"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    inner = FileStore(run.path / "store").documents()
    desk = Desk(
        {"ops": ReceiverSettings("ops", command=(str(script),))},
        Keeper(lambda _: inner, run.path / "state" / "notify", run.world.log.emit),
        store_of=run.world.store_of,
        workers=AtOnce(),
        clock=run.clock,
        emit=run.world.log.emit,
        threads=False,
    )
    run.observers.append(desk)
    run.meter.told = desk.figures

    def work() -> None:
        for post in desk.posts.values():
            assert any(not post.turn() for _ in range(100)), "it never comes to its end"

    run.each_minute = work
    run.start(rotate_every=20 * MINUTE)
    run.minutes(10)
    yield {}
    script.write_text("#!/bin/sh\nexit 1\n")
    run.minutes(85)
    yield {"RotatorNotificationsBehind": {"receiver": "ops"}}
    script.write_text("#!/bin/sh\nexit 0\n")
    run.minutes(10)
    yield {}


def the_server_is_down(run: Run) -> Iterator[Firing]:
    """It ends by itself, and later it is gone with the daemon, which is not forgotten at once."""
    run.start(rotate_every=6 * HOUR)
    serves = True
    run.daemon.state.server = lambda: (serves, 0)
    run.minutes(5)
    yield {}
    serves = False
    run.minutes(4)
    yield {"RotatorServerDown": {}}
    serves = True
    run.minutes(3)
    yield {}
    run.scraped = False
    run.more = {("up", tuple(labels.items())): 0.0 for labels in SCRAPED}
    run.minutes(13)
    yield {
        "RotatorServerDown": {},
        "RotatorDaemonGone": SCRAPED,
    }
    run.scraped, run.more = True, {}
    run.minutes(2)
    yield {}


def nobody_is_there(run: Run) -> Iterator[Firing]:
    """Not even an address at which a daemon should be."""
    run.start()
    run.minutes(5)
    yield {}
    run.scraped = False
    run.minutes(15)
    yield {"RotatorDaemonGone": {"job": ""}}
    run.scraped = True
    run.minutes(2)
    yield {}


def the_configuration_is_refused(run: Run) -> Iterator[Firing]:
    run.start()
    run.minutes(5)
    yield {}
    state = run.daemon.state
    state.reload = replace(state.reload, refusals=1, error="no such store")
    run.minutes(20)
    yield {"RotatorConfigRefused": {}}
    state.reload = replace(state.reload, reloads=1, error="")
    run.minutes(2)
    yield {}


def cron_does_not_run(run: Run) -> Iterator[Firing]:
    """As node_exporter and a Pushgateway tell it."""
    file = {"job": "node", "instance": "host:9100", "file": "/var/lib/node_exporter/rotator.prom"}
    pushed = {"job": "rotator"}
    places = (
        ("node_textfile_mtime_seconds", tuple(file.items())),
        ("push_time_seconds", tuple(pushed.items())),
    )
    run.start(rotate_every=6 * HOUR)
    run.more = dict.fromkeys(places, 0.0)
    run.minutes(30)
    yield {}
    run.minutes(40)
    yield {"RotatorRunsMissing": (file, {"job": "rotator"})}
    run.more = dict.fromkeys(places, run.clock.now().timestamp())
    run.minutes(5)
    yield {}


def the_edge_is_down(run: Run) -> Iterator[Firing]:
    """As the blackbox exporter tells it."""
    labels = {"job": "rotator-jwks", "instance": "https://issuer.example/.well-known/jwks.json"}
    place = ("probe_success", tuple(labels.items()))
    run.start()
    run.more = {place: 1.0}
    run.minutes(5)
    yield {}
    run.more = {place: 0.0}
    run.minutes(5)
    yield {"RotatorEdgeDown": labels}
    run.more = {place: 1.0}
    run.minutes(5)
    yield {}


SCENARIOS: Final[tuple[Scenario, ...]] = (
    a_receiver_is_behind,
    the_server_is_down,
    nobody_is_there,
    the_configuration_is_refused,
    cron_does_not_run,
    the_edge_is_down,
)
