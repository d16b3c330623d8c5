"""From settings to a keeper and a desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rotator.notify.keeper import Keeper
from rotator.reconcile.site import Emit
from rotator.settings.result import Settings

if TYPE_CHECKING:
    from rotator.notify.clerk import Workers
    from rotator.notify.desk import Desk
    from rotator.reconcile.look import Clock
    from rotator.stores import DocumentStore, Store


def keeper_of(settings: Settings, store: Callable[[str], Store], emit: Emit) -> Keeper:
    """Return what reads and writes the ledgers of a configuration.

    Args:
        store: opens a store by its name, or returns it once it is open.
    """

    def documents(key_set: str) -> DocumentStore | None:
        return store(settings.key_sets[key_set].store).documents()

    return Keeper(documents, settings.state_dir / "notify", emit)


def desk_of(
    settings: Settings,
    store: Callable[[str], Store],
    *,
    workers: Workers,
    clock: Clock,
    emit: Emit,
) -> Desk:
    """Return a desk for a configuration; nothing is opened or sent yet."""
    from rotator.notify.desk import Desk

    return Desk(
        settings.notify,
        keeper_of(settings, store, emit),
        store_of=lambda key_set: settings.key_sets[key_set].store,
        workers=workers,
        clock=clock,
        emit=emit,
    )


def reconfigure(desk: Desk, settings: Settings, store: Callable[[str], Store], emit: Emit) -> None:
    """Let a desk go over to another configuration."""
    desk.use(
        settings.notify,
        keeper_of(settings, store, emit),
        lambda key_set: settings.key_sets[key_set].store,
    )
