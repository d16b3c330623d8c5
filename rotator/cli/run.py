"""`rotator run`: the daemon."""

from __future__ import annotations

from typing import Any

import click

from rotator.cli.session import Session
from rotator.errors import ConfigError


@click.command()
@click.pass_obj
def run(options: dict[str, Any]) -> int:
    """Rotate every key set when it is time, until SIGTERM or Ctrl-C.

    With `server:` configured it serves the JWKS too. Any number of replicas may run at once. What it
    does is logged on stderr; `docs/events.md` lists the events.
    """
    from rotator.daemon import run_daemon

    session = Session(options, level="info")
    _make_state_dir(session)
    with session.assembly() as assembly:
        from rotator.logs import emit

        assembly.emit = emit
        return run_daemon(session.settings, assembly.sites)


def _make_state_dir(session: Session) -> None:
    """What can be made again lives here; it may be new with each container."""
    path = session.settings.state_dir
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the state directory {path} cannot be made: {error.strerror}",
            hint="make it, or name another one as `state_dir`",
        ) from error
