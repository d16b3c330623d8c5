"""From the settings of a delivery or publication to the target itself: one function per kind.

Nothing is touched, and what a kind needs is imported only when there is one of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from rotator.settings.result import StoreSettings
from rotator.settings.targets import (
    DeliverSettings,
    DocumentSettings,
    PublishSettings,
    TargetSettings,
)
from rotator.stores import Store, Target

_WHERE: Final = ("address", "address_env", "url", "endpoint_url", "region", "account_id", "path")
"""Options that say which server, or which directory, a store is; the others say where on it."""


@dataclass(frozen=True, slots=True)
class Stores:
    """How the targets of one key set get at stores.

    Attributes:
        open: opens a store by its name, or returns it once it is open.
        elsewhere: tells whether a store is another way than the ring's own (DESIGN §3, rule 4).
    """

    open: Callable[[str], Store]
    elsewhere: Callable[[str], bool]


def open_target(item: TargetSettings, key_set: str, stores: Stores) -> Target:
    """Return the target of one delivery or publication of a key set."""
    if isinstance(item, DocumentSettings):
        return _store_document(item, key_set, stores)
    if isinstance(item, DeliverSettings):
        return _files(item, key_set)
    return _file(item, key_set)


def is_far(item: TargetSettings, store: str) -> bool:
    """Tell whether a look at a target may take long: it is neither on this host nor in the ring's store."""
    if isinstance(item, DocumentSettings):
        return item.store != store
    return not isinstance(item, (DeliverSettings, PublishSettings))


def is_elsewhere(ring: StoreSettings, other: StoreSettings) -> bool:
    """Tell whether a store is another way than the ring's own (rule 4).

    Two stores on one server are not: restarted empty, it says "nothing" for both.
    """
    if ring.backend != other.backend:
        return True
    here, there = (
        [getattr(store.options, name, None) for name in _WHERE] for store in (ring, other)
    )
    return here != there


def _store_document(item: DocumentSettings, key_set: str, stores: Stores) -> Target:
    from rotator.delivery.store import StoreDocument

    return StoreDocument(
        partial(stores.open, item.store),
        item.store,
        key_set,
        item.document,
        independent=stores.elsewhere(item.store),
    )


def _files(item: DeliverSettings, key_set: str) -> Target:
    from rotator.delivery.files import FilesDelivery

    return FilesDelivery(item.path, key_set, item.document, mode=item.mode, group=item.group)


def _file(item: PublishSettings, key_set: str) -> Target:
    from rotator.publication.file import FilePublication

    mode = 0o644 if item.mode is None else item.mode
    return FilePublication(item.path, key_set, mode)
