"""The JWKS as what a secrets manager verifies JWTs with itself: the `public-keys` of Conjur's authn-jwt."""

from __future__ import annotations

from collections.abc import Callable

from rotator.delivery.store import StoreDocument
from rotator.errors import ConfigError
from rotator.objects import Authenticating
from rotator.stores import DocumentKind, DocumentStore, Store


class AuthenticatorPublication(StoreDocument):
    """The JWKS of one key set where an authenticator of a store reads it, in the authenticator's own shape.

    Args:
        store: opens the store, or returns it once it is open.
        store_name: its name in the configuration.
        key_set: whose JWKS it is.
        name: the target's name: the kind, a colon, store and service.
        service: the authenticator.
        independent: False when the key set's ring lies in the same place (DESIGN §3, rule 4).
    """

    def __init__(
        self,
        store: Callable[[], Store],
        store_name: str,
        key_set: str,
        name: str,
        service: str,
        *,
        independent: bool,
    ) -> None:
        super().__init__(store, store_name, key_set, DocumentKind.JWKS, independent=independent)
        self.name = name
        self._service = service
        self._what = f"what the authenticator {service} of the store {store_name} verifies with"

    def _documents(self) -> DocumentStore:
        store = self._store()
        if not isinstance(store, Authenticating):
            raise ConfigError(
                f"the store {self._store_name} verifies no JWTs, and {self.name} is to be its keys",
                hint="name a Conjur store",
            )
        return store.verifier_keys(self._service)
