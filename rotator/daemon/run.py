"""From a configuration to a running daemon, and back to an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from rotator import logs
from rotator.assemble import served
from rotator.daemon import voice
from rotator.daemon.alarm import SchedulerAlarm
from rotator.daemon.daemon import Daemon
from rotator.daemon.lanes import Lanes
from rotator.daemon.waker import Waker
from rotator.errors import StoreUnavailable, TargetFailing
from rotator.hostclock import HostClock
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit, Site
from rotator.server.process import ServerProcess
from rotator.server.site import WELL_KNOWN
from rotator.settings import DocumentSettings, Settings

BuildSites = Callable[[str | None], Iterable[Site]]
"""Makes the sites of a configuration; takes the URL of this process's own server, None without one."""

SHUTDOWN: Final = timedelta(seconds=25)
_SERVER_START: Final = 10.0  # seconds
_SERVER_STOP: Final = 5.0
_ADDRESS_FREE: Final = 5.0  # seconds for the server of a daemon that was killed to notice and end
_SLICE: Final = 0.25  # seconds
_SHOWN: Final = 5


def run_daemon(
    settings: Settings,
    build_sites: BuildSites,
    *,
    waker: Waker | None = None,
    shutdown_timeout: timedelta = SHUTDOWN,
    clock: Clock | None = None,
    emit: Emit = logs.emit,
) -> int:
    """Rotate, and serve when `server:` is configured, until SIGTERM or SIGINT.

    A signal lets every tick under way finish its step, at most for `shutdown_timeout`; a second one does
    not wait. What is cut off is finished by the next tick of anyone. The configuration is read once, at
    the start: this version does not reload on SIGHUP, which ends the process as it does any other.

    Args:
        settings: the configuration.
        build_sites: called once, when the server listens.
        waker: ends the daemon from another thread; a new one when left out.
        shutdown_timeout: bound on the whole way out, the server's end included.
        clock: both clocks of the host.
        emit: where events go.

    Returns:
        143 or 130 after SIGTERM or SIGINT; 0 when ended by the waker.

    Raises:
        TargetFailing, ConfigError: the server cannot listen where it should; nothing was started.
    """
    waker, clock = waker or Waker(), clock or HostClock()
    _no_core_dumps()
    with waker.on_signals():
        server = _start_server(settings, waker, emit)
        try:
            url = server.url if server is not None else None
            sites = list(build_sites(url))
            alarm = SchedulerAlarm(waker.wake)
            daemon = Daemon(
                sites,
                store_of=lambda key_set: settings.key_sets[key_set].store,
                clock=clock,
                emit=emit,
                waker=waker,
                workers=Lanes(),
                alarm=alarm,
            )
            addresses = _addresses(settings, url)[:_SHOWN]
            voice.started(emit, len(sites), addresses, str(settings.source))
            try:
                daemon.run()
                emit("info", "daemon.stopping", signal=waker.signal)
            finally:
                alarm.close()
                farewell = _SERVER_STOP if server is not None else 0.0
                _drain(daemon, waker, max(shutdown_timeout.total_seconds() - farewell, 0.0))
        finally:
            if server is not None:
                server.stop(0.0 if waker.impatient else _SERVER_STOP)
            waker.close()
    emit("info", "daemon.stopped")
    return 0 if waker.signal is None else 128 + waker.signal


def _no_core_dumps() -> None:
    """Keep the memory of a process that holds keys out of files (DESIGN §6); its child inherits it."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _drain(daemon: Daemon, waker: Waker, seconds: float) -> None:
    """Wait for the ticks under way, in slices, so that a second signal cuts the wait short."""
    until = time.monotonic() + seconds
    while not daemon.drained(min(_SLICE, max(until - time.monotonic(), 0.0))):
        if waker.impatient or time.monotonic() >= until:
            daemon.abandon()
            return


def _start_server(settings: Settings, waker: Waker, emit: Emit) -> ServerProcess | None:
    if settings.server is None:
        return None
    server = ServerProcess(settings.server.host, settings.server.port, served(settings))
    until = time.monotonic() + _ADDRESS_FREE
    while True:
        try:
            server.start(_SERVER_START)
        except TargetFailing:
            # A daemon that was killed leaves its server behind for the moment that it takes to notice.
            if waker.stopping or time.monotonic() >= until:
                raise
            waker.wait(0.2)
        except StoreUnavailable as error:
            emit("warning", "server.slow", reason=error.message)  # it goes on being started
            return server
        else:
            return server


def _addresses(settings: Settings, url: str | None) -> list[str]:
    """Return where the JWKS of each key set is read, the server's first."""
    found: list[str] = []
    with_jwks = {n: s for n, s in settings.key_sets.items() if not s.policy.kind.symmetric}
    if url is not None:
        found += [f"{url}{WELL_KNOWN}" for item in with_jwks.values() if item.default]
        found += [f"{url}/{name}/jwks.json" for name in with_jwks]
    for item in with_jwks.values():
        found += [
            f"store {target.store}/{item.name}/{target.document}"
            if isinstance(target, DocumentSettings)
            else str(target.path)
            for target in item.publish
        ]
    return found
