"""`rotator serve`: the JWKS over HTTP, from the rings, without any key material."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Session
from rotator.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.reconcile.site import Site as KeySetSite
    from rotator.server.serve import Another, Source
    from rotator.server.site import Site
    from rotator.settings import ServerSettings, Settings
    from rotator.stores import Document

_ENDED_BY: Final = {signal.SIGTERM: 143, signal.SIGINT: 130}
_SLICE: Final = 1.0  # seconds; a signal is seen at once, this only bounds one wait
_START: Final = 10.0  # seconds for a server at another address
_MOUNTED: Final = timedelta(
    seconds=5
)  # how often files are read again: that costs no call of any store


@click.command()
@click.option(
    "--published",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Read DIR/KEY_SET/jwks.json and its sidecar in place of the rings.",
)
@click.pass_obj
def serve(options: dict[str, Any], published: Path | None) -> int:
    """Serve the JWKS of every key set over HTTP until SIGTERM or Ctrl-C; rotate nothing.

    Reads rings, never key material; with --published no store at all, but a mounted ConfigMap, or a volume that
    `publish: [{to: file}]` writes. What cannot be read changes nothing: what was served last stays. SIGHUP reloads
    the configuration; a bad one is refused and changes nothing.
    """
    # Until it is listened to: what it would read again is only being read.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    session = Session(options, level="info")
    orders = _Orders()
    with session.assembly() as assembly:
        serving = _Serving(options, assembly, orders, published)
        try:
            return _until_signal(serving.run, orders)
        finally:
            serving.assembly.close()


class _Orders:
    """What signals ask for."""

    def __init__(self) -> None:
        self.stop, self.news = threading.Event(), threading.Event()
        self.reload = False
        self.ended_by: int | None = None

    def heard(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal."""
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.ended_by = number
            self.stop.set()
        self.news.set()

    def take_reload(self) -> bool:
        """Tell whether a reload was asked for since the last call."""
        if not self.reload:
            return False  # and one that comes only now is kept for the next call
        self.reload = False
        return True


class _Serving:
    """What is served, through changes of the configuration.

    Args:
        assembly: what is in force.
        published: the directory that is read in place of rings.
    """

    def __init__(
        self,
        options: dict[str, Any],
        assembly: Assembly,
        orders: _Orders,
        published: Path | None = None,
    ) -> None:
        self.assembly = assembly
        self._published = published
        self._options, self._orders = options, orders

    def run(self) -> None:
        """Serve until the end is ordered."""
        from rotator.assemble import served
        from rotator.server.configured import configured_server
        from rotator.server.serve import Changes
        from rotator.server.serve import serve as serve_until

        settings = self.assembly.settings
        site = served(settings)
        self._server = configured_server(_listening(settings), site)
        serve_until(
            self._server,
            site,
            self._sources(self.assembly, site),
            resync=self._resync(settings, site),
            stop=self._orders.stop,
            changes=Changes(self._orders.news, self._take),
        )

    def _take(self) -> Another | None:
        """Return what the configuration says now, if it is to be read; else, or when it is bad, None."""
        if not self._orders.take_reload():
            return None
        from rotator.daemon import voice
        from rotator.logs import emit

        try:
            another = self._another()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the one before stays
            voice.refused(emit, *voice.reason_of(error))
            return None
        voice.reloaded(emit, len(self.assembly.settings.key_sets), {})
        return another

    def _another(self) -> Another:
        from rotator.assemble import served
        from rotator.cli.session import load
        from rotator.server.configured import configured_server
        from rotator.server.serve import Another

        before, settings = self.assembly, load(self._options)
        listening = _listening(settings)
        if settings.public_dir != before.settings.public_dir:
            raise ConfigError(
                f"`state_dir` cannot change to {settings.state_dir} while the server serves from "
                f"{before.settings.state_dir}",
                hint="restart it, or change it back",
            )
        site = served(settings)
        if listening != before.settings.server:
            server = configured_server(listening, site)
            try:
                server.start(_START)
            except StoreUnavailable:
                server.stop(0.0)
                raise
            self._server = server
        after = self.assembly = before.successor(settings)
        return Another(
            self._server,
            site,
            self._sources(after, site),
            self._resync(settings, site),
            done=lambda: before.close(keeping=[after]),
        )

    def _sources(self, assembly: Assembly, site: Site) -> dict[str, Source]:
        if self._published is None:
            return {name: _source(assembly, name) for name in site.key_sets}
        from rotator.publication.mounted import read_mounted

        return {name: partial(read_mounted, self._published, name) for name in site.key_sets}

    def _resync(self, settings: Settings, site: Site) -> timedelta:
        if self._published is not None:
            return _MOUNTED
        resync = [settings.key_sets[name].policy.resync for name in site.key_sets]
        return min(resync, default=timedelta(minutes=5))


def _listening(settings: Settings) -> ServerSettings:
    if settings.server is None:
        raise ConfigError(
            "no server is configured",
            hint='add `server: {listen: "127.0.0.1:8080"}` to the configuration',
        )
    return settings.server


def _source(assembly: Assembly, name: str) -> Source:
    site: list[KeySetSite] = []

    def load() -> Document | None:
        from rotator.cli.reading import ring_of
        from rotator.documents import jwks_document

        if not site:  # a store that is down at the start is tried again at each resync
            site.append(assembly.site(name, reading=True))
        ring = ring_of(site[0])
        return jwks_document(ring, site[0].policy) if ring.published else None

    return load


def _until_signal(work: Callable[[], None], orders: _Orders) -> int:
    """Work in another thread until a signal; return the exit code that names it.

    Raises whatever the work raises.
    """
    ended, failed = threading.Event(), []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failed.append(error)
        finally:
            ended.set()

    before = {number: signal.signal(number, orders.heard) for number in (*_ENDED_BY, signal.SIGHUP)}
    try:
        thread = threading.Thread(target=run, name="serve")
        thread.start()
        while not ended.wait(_SLICE):
            pass
        thread.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed:
        raise failed[0]
    return 0 if orders.ended_by is None else _ENDED_BY[signal.Signals(orders.ended_by)]
