"""What makes a daemon visible: the admin listener and the metrics file, around `run_daemon`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.assemble import Assembly
from rotator.errors import TargetFailing
from rotator.settings import AdminSettings, Settings

if TYPE_CHECKING:
    from rotator.admin import AdminListener
    from rotator.admin.page_known import Known
    from rotator.daemon.state import DaemonState
    from rotator.metrics import Meter
    from rotator.metrics.surroundings import Surroundings
    from rotator.reconcile.site import Emit


@dataclass(frozen=True, slots=True)
class Watched:
    """What `run_daemon` is given to be seen through: who is told, and what follows the configuration."""

    state: DaemonState
    observer: Meter
    known: Known
    admin: Admin


@contextmanager
def watched(assembly: Assembly, metrics_file: Path | None) -> Iterator[Watched]:
    """Start what makes a daemon visible; end it with the block.

    It is counted whether anybody looks or not: a reload may ask for the admin listener at any time.

    Args:
        assembly: of the daemon; its events are counted on their way to the log.

    Raises:
        ConfigError: the admin listener can never listen where it should.
    """
    from rotator import __version__
    from rotator.admin.page_known import Known
    from rotator.daemon.state import DaemonState
    from rotator.metrics import Meter
    from rotator.metrics.surroundings import Surroundings

    meter = Meter(assembly.clock.now)
    state = DaemonState(assembly.clock.now())

    def server() -> tuple[bool, int] | None:
        return state.server()  # which the daemon sets once it has one

    around = Surroundings(__version__, lambda: state.reload, server)
    emit = assembly.emit
    assembly.emit = meter.through(emit)
    known = Known()
    admin = Admin(assembly.settings, assembly.emit, (meter, state, around), known)
    with ExitStack() as stack:
        stack.enter_context(meter.listening())
        stack.callback(admin.stop)
        admin.start()
        if metrics_file is not None:
            from rotator.metrics.exposition import registry_of
            from rotator.metrics.writer import MetricsFile

            writer = MetricsFile(metrics_file, registry_of(meter, around), emit)
            writer.start()
            stack.callback(writer.stop)
        yield Watched(state, meter, known, admin)


class Admin:
    """At most one admin listener; while a configuration changes the next one beside it.

    Implements `rotator.daemon.reload.Follower`.

    Args:
        settings: what is in force.
        known: what it tells.
        drawn: what its status page is made of.
    """

    def __init__(
        self,
        settings: Settings,
        emit: Emit,
        known: tuple[Meter, DaemonState, Surroundings],
        drawn: Known,
    ) -> None:
        self._settings, self._emit, self._known, self._drawn = settings, emit, known, drawn
        self._listener: AdminListener | None = None
        self._next: tuple[Settings, AdminListener | None] | None = None

    def start(self) -> None:
        """Listen, if that is configured.

        Raises:
            ConfigError: an address that this host does not have, or may not use.
        """
        self._count()
        self._listener = self._made(self._settings.admin)
        if self._listener is not None:
            self._begin(self._listener)

    def prepare(self, settings: Settings) -> None:
        """Take the address that another configuration names, beside the one in force.

        Raises:
            TargetFailing: another program has it.
            ConfigError: an address that this host does not have, or may not use.
        """
        listener = self._listener
        if _address(settings.admin) != _address(self._settings.admin):
            listener = self._made(settings.admin)
            if listener is not None:
                self._bind(listener)
        self._next = (settings, listener)

    def commit(self) -> None:
        """Go over to what was prepared; who is being answered at the old address is cut off."""
        if self._next is None:
            return
        (self._settings, listener), before, self._next = self._next, self._listener, None
        self._listener = listener
        self._count()
        if listener is before:
            return
        if before is not None:
            before.stop()
        if listener is not None:
            self._begin(listener)

    def abort(self) -> None:
        """Let go of an address that was taken, and go on as before."""
        if self._next is None:
            return
        (_, listener), self._next = self._next, None
        if listener is not None and listener is not self._listener:
            listener.stop()

    def stop(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def _count(self) -> None:
        meter, _, _ = self._known
        meter.limit((self._settings.admin or AdminSettings()).metrics_key_sets)

    def _made(self, admin: AdminSettings | None) -> AdminListener | None:
        if admin is None:
            return None
        from rotator.admin import AdminListener, AdminSite
        from rotator.admin.page import StatusPage

        meter, state, around = self._known
        site = AdminSite(
            lambda: self._settings,
            meter,
            around,
            reload=lambda: state.reload,
            beat=lambda: state.beat,
            page=StatusPage(lambda: self._settings, meter, self._drawn, around).answer,
        )
        return AdminListener(admin.host, admin.port, site.routes, frozenset({"/healthz"}))

    def _begin(self, listener: AdminListener) -> None:
        emit = self._emit

        def taken(error: TargetFailing) -> None:
            emit("warning", "admin.waiting", reason=error.message, hint=error.hint)

        listener.start(lambda: emit("info", "admin.started", address=listener.url), taken)

    def _bind(self, listener: AdminListener) -> None:
        try:
            listener.bind()
        except TargetFailing as error:
            error.hint = (
                f"{error.hint}; if it is this daemon itself, at another address of the same port, "
                "only a restart can change that"
            )
            raise


def _address(admin: AdminSettings | None) -> tuple[str, int] | None:
    return None if admin is None else (admin.host, admin.port)
