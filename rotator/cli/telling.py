"""Notifications of a command: who is told once it has done what it was asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rotator.errors import Conflict, RotatorError, UsageError

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.metrics import Meter
    from rotator.notify.desk import Desk
    from rotator.reconcile.site import Outcome, Site
    from rotator.stores import DocumentStore


class Told:
    """Everybody who is told of the ticks of a command; what is told of nobody costs nothing.

    Args:
        meter: where metrics are to be told.
        desk: where receivers are configured.
    """

    def __init__(self, meter: Meter | None, desk: Desk | None) -> None:
        self._meter, self._desk = meter, desk
        if meter is not None and desk is not None:
            meter.told = desk.figures

    @property
    def ticked(self) -> Callable[[Site, Outcome], None] | None:
        """Takes what a tick did; None where there is nobody."""
        return self._ticked if self._meter is not None or self._desk is not None else None

    def could_not(self, key_set: str, error: Exception, algorithm: str) -> None:
        """Take why a command failed; that a word was refused, or another was faster, is no failure."""
        if self._meter is not None:
            self._meter.could_not(key_set, error, algorithm)
        if self._desk is not None and not isinstance(error, (UsageError, Conflict)):
            self._desk.could_not(key_set, error)

    def _ticked(self, site: Site, outcome: Outcome) -> None:
        if self._meter is not None:
            self._meter.ticked(site, outcome)
        if self._desk is not None:
            self._desk.ticked(site, outcome)


def carry(assembly: Assembly, key_set: str, source: str, goal: str) -> str:
    """Carry over, in a move, what the receivers of a key set have confirmed; harmless to do again.

    Returns:
        why that was not possible, as a sentence; empty when it was, or there is nobody who is told.
    """
    if not assembly.settings.told(key_set):
        return ""
    from rotator.notify.keeper import Keeper
    from rotator.notify.ledger import merged

    def documents(store: str, _key_set: str) -> DocumentStore | None:
        return assembly.store(store).documents()

    directory = assembly.settings.state_dir / "notify"
    sides = [Keeper(partial(documents, name), directory, assembly.emit) for name in (source, goal)]
    try:
        found = sides[0].peek(key_set)
        sides[1].update(key_set, [lambda ledger: merged(ledger, found)])
    except RotatorError as error:
        return (
            f"what receivers of notifications confirmed stays in store {source}, and in store {goal} they begin "
            f"with the last day: {error.message}"
        )
    return ""


@contextmanager
def telling(assembly: Assembly, meter: Meter | None, *, dry: bool) -> Iterator[Told]:
    """Give who is told, and tell the receivers at the end of the block, within a bounded time.

    Args:
        dry: nothing is carried out, so there is nothing to tell.
    """
    if dry or not assembly.settings.notify:
        yield Told(meter, None)
        return
    from rotator.notify.configured import desk_of
    from rotator.notify.oneshot import Deferred, deliver

    workers = Deferred()
    desk = desk_of(
        assembly.settings,
        assembly.store,
        workers=workers,
        clock=assembly.clock,
        emit=assembly.emit,
    )
    try:
        yield Told(meter, desk)
    finally:
        deliver(desk, workers, assembly.emit)
