"""`rotator run`: the daemon."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rotator.cli.options import shard_option
from rotator.cli.reporting import FILE
from rotator.cli.session import Session
from rotator.errors import ConfigError

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.notify.desk import Desk
    from rotator.settings import Settings


@click.command()
@FILE
@shard_option
@click.pass_obj
def run(options: dict[str, Any], metrics_file: Path | None) -> int:
    """Rotate every key set when it is time, until SIGTERM or Ctrl-C.

    With `server:` configured it serves the JWKS too. Any number of replicas may run at once. SIGHUP, or
    a changed file, reloads the configuration; a bad one is refused and changes nothing. What it does is
    logged on stderr; `docs/events.md` lists the events.
    """
    from rotator.cli.session import load
    from rotator.cli.watching import watched
    from rotator.daemon import run_daemon
    from rotator.daemon.observers import Observers
    from rotator.shard import only

    # Until the daemon listens to it: what it would read again is only being read.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    session = Session(options, level="info")
    shard = session.shard

    def read() -> Settings:
        settings = only(load(options), shard)
        _make_state_dir(settings)
        return settings

    session.settings = only(session.settings, shard)
    _make_state_dir(session.settings)
    with session.assembly() as assembly:
        from rotator.logs import emit

        assembly.emit = emit
        with watched(assembly, metrics_file) as seen:
            desk = _desk(assembly)
            seen.observer.told = desk.figures
            return run_daemon(
                assembly,
                read,
                state=seen.state,
                observer=Observers(seen.observer, seen.known, desk),
                followers=(seen.admin,),
                desk=desk,
            )


def _desk(assembly: Assembly) -> Desk:
    """Return what tells receivers; a reload may bring the first one."""
    from rotator.daemon.lanes import Lanes
    from rotator.notify.configured import desk_of

    return desk_of(
        assembly.settings,
        assembly.store,
        workers=Lanes(fast=2, slow=1),
        clock=assembly.clock,
        emit=assembly.emit,
    )


def _make_state_dir(settings: Settings) -> None:
    """What can be made again lives here; it may be new with each container."""
    path = settings.state_dir
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the state directory {path} cannot be made: {error.strerror}",
            hint="make it, or name another one as `state_dir`",
        ) from error
