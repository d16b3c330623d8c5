"""The built-in HTTP server of a daemon: started, and led through changes of the configuration."""

from __future__ import annotations

import time
from typing import Final

from rotator.assemble import served
from rotator.daemon.waker import Waker
from rotator.errors import ConfigError, StoreUnavailable, TargetFailing
from rotator.reconcile.site import Emit
from rotator.server.configured import configured_server
from rotator.server.process import ServerProcess
from rotator.settings import Settings

STOP: Final = 5.0  # seconds
_START: Final = 10.0  # seconds
_ADDRESS_FREE: Final = 5.0  # seconds for the server of a daemon that was killed to notice and end


class Edge:
    """At most one server; while a configuration changes the next one beside it.

    Args:
        settings: what is in force.
    """

    def __init__(self, settings: Settings, waker: Waker, emit: Emit) -> None:
        self._waker, self._emit = waker, emit
        self._settings = settings
        self._server: ServerProcess | None = None
        self._next: tuple[Settings, ServerProcess | None] | None = None

    @property
    def url(self) -> str | None:
        """Where the server answers, None without one."""
        return self._server.url if self._server is not None else None

    def serving(self) -> tuple[bool, int] | None:
        """Return whether the server runs, and how often it was started again; None without one."""
        server = self._server
        return None if server is None else (server.pid is not None, server.restarts)

    def start(self) -> None:
        """Listen and serve, if a server is configured.

        Raises:
            TargetFailing, ConfigError: it cannot listen where it should; nothing was started.
        """
        server = _server_of(self._settings)
        if server is None:
            return
        until = time.monotonic() + _ADDRESS_FREE
        while self._server is None:
            try:
                server.start(_START)
            except TargetFailing:
                # A daemon that was killed leaves its server behind for the moment that it takes to notice.
                if self._waker.stopping or time.monotonic() >= until:
                    raise
                self._waker.wait(0.2)
                continue
            except StoreUnavailable as error:
                # It goes on being started.
                self._emit("warning", "server.slow", reason=error.message)
            self._server = server

    def prepare(self, settings: Settings) -> str | None:
        """Make ready what another configuration asks for, beside what runs; return the URL it will have.

        `commit` or `abort` must follow.

        Raises:
            TargetFailing, ConfigError, StoreUnavailable: it cannot be had; nothing was changed.
        """
        before = self._settings
        server = self._server
        if None not in (settings.server, server) and settings.public_dir != before.public_dir:
            raise ConfigError(
                f"`state_dir` cannot change to {settings.state_dir} while the built-in server "
                f"serves from {before.state_dir}",
                hint="restart the daemon, or change it back",
            )
        if settings.server != before.server:
            server = self._another(settings)
        self._next = (settings, server)
        return server.url if server is not None else None

    def commit(self) -> None:
        """Go over to what was prepared."""
        if self._next is None:
            return
        (settings, server), before = self._next, self._server
        told = served(self._settings) == served(settings)
        self._settings, self._server, self._next = settings, server, None
        if before is not None and before is not server:
            before.stop(STOP)
        elif server is not None and not told:
            server.replace_site(served(settings))

    def abort(self) -> None:
        """End what was prepared and go on as before."""
        if self._next is None:
            return
        (_, server), self._next = self._next, None
        if server is not None and server is not self._server:
            server.stop(STOP)

    def stop(self, seconds: float) -> None:
        """End the server, after the requests under way."""
        if self._server is not None:
            self._server.stop(seconds)
            self._server = None

    def _another(self, settings: Settings) -> ServerProcess | None:
        made = _server_of(settings)
        if made is None:
            return None
        try:
            made.start(_START)
        except StoreUnavailable:
            made.stop(0.0)
            raise
        except TargetFailing as error:
            error.hint = (
                f"{error.hint}; if it is this daemon itself, at another address of the same port, "
                "only a restart can change that"
            )
            raise
        return made


def _server_of(settings: Settings) -> ServerProcess | None:
    if settings.server is None:
        return None
    return configured_server(settings.server, served(settings))
