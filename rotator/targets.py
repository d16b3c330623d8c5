"""From the settings of a delivery or publication to the target itself: one function per kind.

Nothing is touched, and what a kind needs is imported only when there is one of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from rotator.kubernetes.settings import ClusterSettings
from rotator.objects import ObjectStore
from rotator.settings.result import StoreSettings
from rotator.settings.targets import (
    AuthenticatorSettings,
    ConfigMapSettings,
    DeliverSettings,
    DocumentSettings,
    ObjectSettings,
    PublishSettings,
    SecretSettings,
    TargetSettings,
)
from rotator.stores import Store, Target

if TYPE_CHECKING:
    from rotator.kubernetes.cluster import Cluster

_WHERE: Final = ("address", "address_env", "url", "endpoint_url", "region", "account_id", "path")
"""Options that say which server, or which directory, a store is; the others say where on it."""


@dataclass(frozen=True, slots=True)
class Stores:
    """How the targets of one key set get at stores and buckets.

    Attributes:
        open: opens a store by its name, or returns it once it is open.
        elsewhere: tells whether a store is another way than the ring's own (DESIGN §3, rule 4).
        bucket: opens the bucket of a publication, or returns it once it is open.
        apart: tells whether a bucket is another way than the ring's own store.
        cluster: returns the API server of Kubernetes, one for all targets with the same login.
    """

    open: Callable[[str], Store]
    elsewhere: Callable[[str], bool]
    bucket: Callable[[ObjectSettings], ObjectStore]
    apart: Callable[[ObjectSettings], bool]
    cluster: Callable[[ClusterSettings], Cluster]


def open_target(item: TargetSettings, key_set: str, stores: Stores) -> Target:
    """Return the target of one delivery or publication of a key set."""
    if isinstance(item, DocumentSettings):
        return _store_document(item, key_set, stores)
    if isinstance(item, DeliverSettings):
        return _files(item, key_set)
    if isinstance(item, ObjectSettings):
        return _object(item, key_set, stores)
    if isinstance(item, AuthenticatorSettings):
        return _authenticator(item, key_set, stores)
    if isinstance(item, SecretSettings):
        return _secret(item, key_set, stores)
    if isinstance(item, ConfigMapSettings):
        return _config_map(item, key_set, stores)
    return _file(item, key_set)


def is_far(item: TargetSettings, store: str) -> bool:
    """Tell whether a look at a target may take long: it is neither on this host nor in the ring's store."""
    if isinstance(item, (DocumentSettings, AuthenticatorSettings)):
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


def is_apart(ring: StoreSettings, bucket: ObjectSettings) -> bool:
    """Tell whether a bucket is another way than the ring's own store (rule 4): not on one test server."""
    here, there = (getattr(one.options, "endpoint_url", None) for one in (ring, bucket))
    return here is None or here != there


def _store_document(item: DocumentSettings, key_set: str, stores: Stores) -> Target:
    from rotator.delivery.store import StoreDocument

    return StoreDocument(
        partial(stores.open, item.store),
        item.store,
        key_set,
        item.document,
        item.verifier,
        independent=stores.elsewhere(item.store),
    )


def _files(item: DeliverSettings, key_set: str) -> Target:
    from rotator.delivery.files import FilesDelivery

    return FilesDelivery(item.path, key_set, item.document, mode=item.mode, group=item.group)


def _file(item: PublishSettings, key_set: str) -> Target:
    from rotator.publication.file import FilePublication

    mode = 0o644 if item.mode is None else item.mode
    return FilePublication(item.path, key_set, mode)


def _object(item: ObjectSettings, key_set: str, stores: Stores) -> Target:
    from rotator.publication.headers import MEDIA_TYPE, PLAIN_JSON
    from rotator.publication.objects import ObjectPublication

    return ObjectPublication(
        partial(stores.bucket, item),
        item.address,
        item.key,
        key_set,
        media_type=PLAIN_JSON if item.plain_json else MEDIA_TYPE,
        independent=stores.apart(item),
    )


def _authenticator(item: AuthenticatorSettings, key_set: str, stores: Stores) -> Target:
    from rotator.publication.jwt_authenticator import AuthenticatorPublication

    return AuthenticatorPublication(
        partial(stores.open, item.store),
        item.store,
        key_set,
        item.address,
        item.service,
        independent=stores.elsewhere(item.store),
    )


def _secret(item: SecretSettings, key_set: str, stores: Stores) -> Target:
    from rotator.delivery.secret import KEYS, SecretDelivery
    from rotator.kubernetes.held import SECRETS, Place

    place = Place(
        partial(stores.cluster, item.cluster),
        SECRETS,
        item.namespace,
        item.name,
        KEYS[item.document],
        dict(item.labels),
    )
    return SecretDelivery(item.address, place, key_set, item.document, restart=item.restart)


def _config_map(item: ConfigMapSettings, key_set: str, stores: Stores) -> Target:
    from rotator.kubernetes.held import CONFIG_MAPS, Place
    from rotator.publication.config_map import ConfigMapPublication, keys_of

    place = Place(
        partial(stores.cluster, item.cluster),
        CONFIG_MAPS,
        item.namespace,
        item.name,
        keys_of(item.key),
        dict(item.labels),
    )
    return ConfigMapPublication(item.address, place, item.key, key_set)
