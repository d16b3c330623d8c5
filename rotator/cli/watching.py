"""What makes a daemon visible: the admin listener and the metrics file, around `run_daemon`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.assemble import Assembly
from rotator.errors import TargetFailing
from rotator.settings import AdminSettings, Settings

if TYPE_CHECKING:
    from rotator.daemon.state import DaemonState, Observer
    from rotator.metrics import Meter
    from rotator.metrics.surroundings import Surroundings

Load = Callable[[], Settings]


@dataclass(slots=True)
class Watched:
    """What `run_daemon` is given to be seen through: how it loads, and who is told."""

    load: Load
    state: DaemonState | None = None
    observer: Observer | None = None


@contextmanager
def watched(assembly: Assembly, load: Load, metrics_file: Path | None) -> Iterator[Watched]:
    """Start what makes a daemon visible, if anything is to; end it with the block.

    Args:
        assembly: of the daemon; its events are counted on their way to the log.
        load: reads the configuration anew.

    Raises:
        ConfigError: the admin listener can never listen where it should.
    """
    admin = assembly.settings.admin
    if admin is None and metrics_file is None:
        yield Watched(load)
        return
    from rotator import __version__
    from rotator.daemon.state import DaemonState
    from rotator.metrics import Meter
    from rotator.metrics.surroundings import Surroundings

    limit = (admin or AdminSettings()).metrics_key_sets
    meter = Meter(assembly.clock.now, detailed=limit)
    state = DaemonState(assembly.clock.now())

    def server() -> tuple[bool, int] | None:
        return state.server()  # which the daemon sets once it has one

    around = Surroundings(__version__, lambda: state.reload, server)
    emit = assembly.emit
    assembly.emit = meter.through(emit)
    current = [assembly.settings]

    def read() -> Settings:
        settings = load()
        if settings.admin != admin:
            emit("warning", "admin.kept", hint="a changed `admin` counts after a restart")
        current[0] = settings
        return settings

    with ExitStack() as stack:
        stack.enter_context(meter.listening())
        if admin is not None:
            _listen(stack, assembly, admin, (meter, state, around), lambda: current[0])
        if metrics_file is not None:
            from rotator.metrics.exposition import registry_of
            from rotator.metrics.writer import MetricsFile

            writer = MetricsFile(metrics_file, registry_of(meter, around), emit)
            writer.start()
            stack.callback(writer.stop)
        yield Watched(read, state, meter)


def _listen(
    stack: ExitStack,
    assembly: Assembly,
    admin: AdminSettings,
    known: tuple[Meter, DaemonState, Surroundings],
    settings: Callable[[], Settings],
) -> None:
    from rotator.admin import AdminListener, AdminSite

    meter, state, around = known
    site = AdminSite(settings, meter, around, reload=lambda: state.reload, beat=lambda: state.beat)
    listener = AdminListener(admin.host, admin.port, site.routes, frozenset({"/healthz"}))
    emit = assembly.emit

    def taken(error: TargetFailing) -> None:
        emit("warning", "admin.waiting", reason=error.message, hint=error.hint)

    listener.start(lambda: emit("info", "admin.started", address=listener.url), taken)
    stack.callback(listener.stop)
