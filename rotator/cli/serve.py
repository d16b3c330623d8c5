"""`rotator serve`: the JWKS over HTTP, from the rings, without any key material."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Session
from rotator.errors import ConfigError

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.reconcile.site import Site
    from rotator.stores import Document

_ENDED_BY: Final = {signal.SIGTERM: 143, signal.SIGINT: 130}
_SLICE: Final = 1.0  # seconds; a signal is seen at once, this only bounds one wait


@click.command()
@click.pass_obj
def serve(options: dict[str, Any]) -> int:
    """Serve the JWKS of every key set over HTTP until SIGTERM or Ctrl-C; rotate nothing.

    Reads rings, never key material. Where a ring cannot be read, what was served last stays.
    """
    session = Session(options, level="info")
    settings = session.settings
    if settings.server is None:
        raise ConfigError(
            "no server is configured",
            hint='add `server: {listen: "127.0.0.1:8080"}` to the configuration',
        )
    with session.assembly() as assembly:
        return _until_signal(lambda stop: _serve(session, assembly, stop))


def _serve(session: Session, assembly: Assembly, stop: threading.Event) -> None:
    from rotator.assemble import served
    from rotator.server.configured import configured_server
    from rotator.server.serve import serve as serve_until

    settings = session.settings
    site = served(settings)
    sources = {name: _source(assembly, name) for name in site.key_sets}
    resync = [settings.key_sets[name].policy.resync for name in site.key_sets]
    if settings.server is None:  # `serve` has looked
        return
    serve_until(
        configured_server(settings.server, site),
        site,
        sources,
        resync=min(resync, default=timedelta(minutes=5)),
        stop=stop,
    )


def _source(assembly: Assembly, name: str) -> Callable[[], Document | None]:
    site: list[Site] = []

    def load() -> Document | None:
        from rotator.cli.reading import ring_of
        from rotator.documents import jwks_document

        if not site:  # a store that is down at the start is tried again at each resync
            site.append(assembly.site(name, reading=True))
        ring = ring_of(site[0])
        return jwks_document(ring, site[0].policy) if ring.published else None

    return load


def _until_signal(work: Callable[[threading.Event], None]) -> int:
    """Work in another thread until a signal; return the exit code that names it.

    Raises whatever the work raises.
    """
    stop, ended, failed, received = threading.Event(), threading.Event(), [], []

    def run() -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failed.append(error)
        finally:
            ended.set()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in _ENDED_BY}
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
    return _ENDED_BY[signal.Signals(received[0])] if received else 0
