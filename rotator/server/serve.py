"""`rotator serve`: the JWKS over HTTP, from rings or from a store's documents, without any key material."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Final

from rotator import lazy_log
from rotator.errors import Conflict, RotatorError
from rotator.publication.file import FilePublication
from rotator.publication.server import public_file
from rotator.server.process import ServerProcess
from rotator.server.site import Site
from rotator.stores import Document

if TYPE_CHECKING:
    import structlog

Source = Callable[[], Document | None]
"""Loads the rendered JWKS of one key set with its revision and cache lifetimes; None when there is none."""

_AT_A_TIME: Final = 8  # one slow store must not hold up the key sets of another
_STOP: Final = 5.0  # seconds for the requests under way at an address that is left


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Another:
    """What to serve from now on.

    Attributes:
        server: the one that serves already, or another, which was started.
        site, sources, resync: as for `serve`.
        done: called when nothing of what was before is in use any more.
    """

    server: ServerProcess
    site: Site
    sources: Mapping[str, Source]
    resync: timedelta
    done: Callable[[], None] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class Changes:
    """How `serve` learns that it is to serve something else.

    Attributes:
        news: set by whoever has news, and at the end too.
        take: returns what to serve from now on, None to go on as before.
    """

    news: threading.Event
    take: Callable[[], Another | None]


def serve(
    server: ServerProcess,
    site: Site,
    sources: Mapping[str, Source],
    *,
    resync: timedelta,
    stop: threading.Event | None = None,
    started: Callable[[ServerProcess], None] | None = None,
    changes: Changes | None = None,
) -> None:
    """Serve the JWKS of some key sets until SIGTERM or SIGINT, and keep them up to date.

    Whatever goes wrong with a source, what was published last stays; it never goes back to a lower
    revision. The first reading comes before the server, so that it answers with what is true by then.

    Args:
        server: what serves the site; it is started and stopped here.
        site: what to serve; its key sets are those of `sources`.
        resync: how often each source is read again, jittered downwards by up to a tenth.
        stop: set by a signal, or by anybody; a new one when left out.
        started: called with the server once it serves.
        changes: how it learns that it is to serve something else; never when left out.

    Raises:
        TargetFailing, ConfigError, StoreUnavailable: the server did not start.
    """
    stop = stop or threading.Event()
    changes = changes or Changes(stop, lambda: None)
    now = Another(server, site, sources, resync)
    with _until_signalled(stop), ThreadPoolExecutor(_AT_A_TIME, "resync") as pool:
        keepers = _resync(pool, _keepers(now))
        try:
            server.start()
            if started is not None:
                started(server)
            while not stop.is_set():
                changes.news.wait(now.resync.total_seconds() * random.uniform(0.9, 1.0))  # noqa: S311 - jitter
                if stop.is_set():
                    break
                if changes.news is not stop:
                    changes.news.clear()
                if (another := changes.take()) is not None:
                    before, now = now, another
                    keepers = _resync(pool, _keepers(now))
                    _go_over(before, now)
                else:
                    _resync(pool, keepers)
        finally:
            now.server.stop()


def _go_over(before: Another, now: Another) -> None:
    """Change the server over, once what it serves lies there."""
    if now.server is not before.server:
        before.server.stop(_STOP)
    elif now.site != before.site:
        now.server.replace_site(now.site)
    now.done()


def _keepers(now: Another) -> list[_Keeper]:
    now.site.public_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    return [_Keeper(now.site, key_set, source) for key_set, source in now.sources.items()]


def _resync(pool: ThreadPoolExecutor, keepers: list[_Keeper]) -> list[_Keeper]:
    for _ in pool.map(_Keeper.refresh, keepers):
        pass
    return keepers


class _Keeper:
    """Keeps the published file of one key set up to date with its source."""

    def __init__(self, site: Site, key_set: str, source: Source) -> None:
        self._key_set = key_set
        self._source = source
        self._said = ""
        self._file = FilePublication(public_file(site.public_dir, key_set), key_set)

    def refresh(self) -> None:
        """Publish what the source says if it is news; log and leave everything as it is otherwise."""
        log = _logger().bind(key_set=self._key_set)
        try:
            document = self._source()
            if document is None:
                log.debug("jwks.kept", reason="nothing is published of it yet")
            else:
                self._publish(document, log)
            self._said = ""
        except Conflict as error:
            log.info("jwks.kept", reason=str(error))
        except RotatorError as error:
            # Said once: files are read every few seconds.
            say = log.debug if str(error) == self._said else log.error
            self._said = str(error)
            say("jwks.kept", reason=self._said)
        except Exception as error:  # noqa: BLE001 - one key set's fault must not end the others' serving
            log.error("jwks.kept", reason=f"unexpected {type(error).__name__}")  # noqa: TRY400 - may quote a document

    def _publish(self, document: Document, log: structlog.typing.FilteringBoundLogger) -> None:
        sight = self._file.look()
        present = sight.document
        if present is not None and not sight.note and _same(present, document):
            return
        self._file.write(document, replacing=present.token if present else None)
        log.info(
            "jwks.published",
            to="server",
            revision=document.revision,
            reason="first" if present is None else sight.note or f"was {present.revision}",
        )


def _same(present: Document, document: Document) -> bool:
    return (
        present.body == document.body
        and present.key_set == document.key_set
        and present.revision == document.revision
        and present.max_age == document.max_age
        and present.stale == document.stale
    )


@contextmanager
def _until_signalled(stop: threading.Event) -> Iterator[None]:
    """Set an event on SIGTERM and SIGINT; only the main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _logger() -> structlog.typing.FilteringBoundLogger:
    lazy_log.ready()
    import structlog

    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component="serve")
    return logger
