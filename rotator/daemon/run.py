"""From a configuration to a running daemon, and back to an exit code."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from rotator.assemble import Assembly
from rotator.daemon import voice
from rotator.daemon.alarm import SchedulerAlarm
from rotator.daemon.daemon import Daemon
from rotator.daemon.edge import STOP, Edge
from rotator.daemon.lanes import Lanes
from rotator.daemon.reload import Follower, Load, Parts, Reloader, in_a_thread
from rotator.daemon.state import DaemonState, Observer
from rotator.daemon.waker import Waker
from rotator.daemon.watch import Watch
from rotator.notify.desk import Desk
from rotator.reconcile.site import Emit
from rotator.server.site import WELL_KNOWN
from rotator.service_manager import Notifier
from rotator.settings import (
    DeliverSettings,
    DocumentSettings,
    PublishSettings,
    Settings,
    TargetSettings,
)

_SLICE: Final = 0.25  # seconds
_SHOWN: Final = 5


def run_daemon(
    assembly: Assembly,
    load: Load,
    *,
    waker: Waker | None = None,
    notifier: Notifier | None = None,
    state: DaemonState | None = None,
    observer: Observer | None = None,
    followers: tuple[Follower, ...] = (),
    desk: Desk | None = None,
) -> int:
    """Rotate, and serve when `server:` is configured, until SIGTERM or SIGINT.

    A signal lets every tick under way finish its step, at most for `shutdown_timeout`; a second one does
    not wait. What is cut off is finished by the next tick of anyone. SIGHUP, and a change of the files that
    the configuration was read from, reload it; one that is refused changes nothing.

    Args:
        assembly: the configuration at the start, its clocks and its log; closed at the end.
        load: reads the configuration anew.
        waker: ends the daemon from another thread; a new one when left out.
        notifier: speaks to the service manager; the one of this process's environment when left out.
        state: where others read how it goes.
        observer: told of every tick, if anybody is to be.
        followers: what else goes over to another configuration.
        desk: tells receivers what happens, and is an observer; closed at the end.

    Returns:
        143 or 130 after SIGTERM or SIGINT; 0 when ended by the waker.

    Raises:
        TargetFailing, ConfigError: the server cannot listen where it should; nothing was started.
    """
    waker, notifier = waker or Waker(), notifier or Notifier()
    emit, watch = assembly.emit, Watch(assembly.settings)
    with waker.on_signals():
        edge = Edge(assembly.settings, waker, emit)
        try:
            edge.start()
            lanes, alarm = Lanes(), SchedulerAlarm(waker.wake)
            daemon = Daemon(
                list(assembly.sites(edge.url)),
                store_of=lambda key_set: assembly.settings.key_sets[key_set].store,
                clock=assembly.clock,
                emit=emit,
                waker=waker,
                workers=lanes,
                alarm=alarm,
                state=state,
                observer=observer,
            )
            daemon.state.server = edge.serving
            parts = Parts(daemon, edge, lanes, waker, notifier, emit, followers, desk)
            reloader = Reloader(assembly, load, watch, parts, in_a_thread)
            _say_started(assembly.settings, edge.url, emit, notifier)
            try:
                daemon.run(Pulse(reloader, daemon, notifier))
                emit("info", "daemon.stopping", signal=waker.signal)
                notifier.stopping()
            finally:
                alarm.close()
                timeout = reloader.assembly.settings.shutdown_timeout.total_seconds()
                farewell = STOP if edge.url is not None else 0.0
                until = time.monotonic() + timeout - farewell
                _drain(daemon, waker, max(timeout - farewell, 0.0))
                if desk is not None:
                    desk.close(0.0 if waker.impatient else max(until - time.monotonic(), 0.0))
                reloader.close()
        finally:
            edge.stop(0.0 if waker.impatient else STOP)
            waker.close()
    emit("info", "daemon.stopped")
    return 0 if waker.signal is None else 128 + waker.signal


class Pulse:
    """What is done in each pass of the daemon's loop, once it has compared the clocks and dispatched.

    To be called at all is the sign of life that a watchdog asks for: a loop that hangs is not.
    """

    def __init__(self, reloader: Reloader, daemon: Daemon, notifier: Notifier) -> None:
        self._reloader, self._daemon, self._notifier = reloader, daemon, notifier
        self._said = daemon.said
        self._fed = 0.0

    def __call__(self) -> timedelta:
        """Feed the watchdog, look for a changed configuration, show the status."""
        self._daemon.state.beat = time.monotonic()
        every = self._notifier.watchdog_every
        if every is not None and time.monotonic() - self._fed >= every.total_seconds() / 2:
            self._fed = time.monotonic()
            self._notifier.alive()
        again = self._reloader.look()
        if self._said != self._daemon.said:
            self._said = self._daemon.said
            self._notifier.status(self._said)
        return again if every is None else min(again, every / 2)


def _say_started(settings: Settings, url: str | None, emit: Emit, notifier: Notifier) -> None:
    count = len(settings.key_sets)
    voice.started(emit, count, _addresses(settings, url)[:_SHOWN], str(settings.source))
    notifier.ready(voice.counted(count))


def _drain(daemon: Daemon, waker: Waker, seconds: float) -> None:
    """Wait for the ticks under way, in slices, so that a second signal cuts the wait short."""
    until = time.monotonic() + seconds
    while not daemon.drained(min(_SLICE, max(until - time.monotonic(), 0.0))):
        if waker.impatient or time.monotonic() >= until:
            daemon.abandon()
            return


def _addresses(settings: Settings, url: str | None) -> list[str]:
    """Return where the JWKS of each key set is read, the server's first."""
    found: list[str] = []
    with_jwks = {n: s for n, s in settings.key_sets.items() if not s.policy.kind.symmetric}
    if url is not None:
        found += [f"{url}{WELL_KNOWN}" for item in with_jwks.values() if item.default]
        found += [f"{url}/{name}/jwks.json" for name in with_jwks]
    for item in with_jwks.values():
        found += [_where(target, item.name) for target in item.publish]
    return found


def _where(target: TargetSettings, key_set: str) -> str:
    if isinstance(target, DocumentSettings):
        return f"store {target.store}/{key_set}/{target.document}"
    if isinstance(target, (DeliverSettings, PublishSettings)):
        return str(target.path)
    return target.address
