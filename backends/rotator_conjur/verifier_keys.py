"""The JWKS that an authn-jwt service of Conjur verifies with, in its variable `public-keys`.

The service wants `{"type": "jwks", "value": {"keys": […]}}` and reads no other member (Conjur's class
`PublicSigningKeys`). So key set, revision and what compare-and-set needs stand beside these two, in the member
`rotator` that every document in Conjur has: they change with the keys in one step.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from rotator.plugin import Calls, Document, VersionToken
from rotator_conjur.client import Conjur
from rotator_conjur.documents import ConjurDocuments
from rotator_conjur.envelopes import load
from rotator_conjur.names import Names

_HEAD: Final = b'{"type":"jwks","value":'
_TAIL: Final = b"}"


class ConjurVerifierKeys(ConjurDocuments):
    """One document, `KEY_SET/jwks` of the one key set that is published there.

    Args:
        service: the id of the authn-jwt service.
    """

    def __init__(self, conjur: Conjur, calls: Calls, names: Names, service: str) -> None:
        super().__init__(conjur, calls, names)
        self._keys = names.verifier_keys(service)

    def _variable(self, name: str) -> str:  # noqa: ARG002 - all of them are that one
        return self._keys

    def read(self, name: str) -> Document | None:
        """Return the JWKS as the service reads it; what it could not read is returned as it stands.

        Raises:
            StoreDenied, StoreUnavailable: as for every document.
        """
        found = super().read(name)
        return found and replace(found, body=_jwks_in(found.body))

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write the JWKS if the one that is seen is still `replacing` (None: if there is none).

        Raises:
            Conflict, StoreDenied, StoreUnavailable: as for every document.
        """
        whole = replace(document, body=_HEAD + document.body + _TAIL)
        super().write(name, whole, replacing=replacing)


def _jwks_in(value: bytes) -> bytes:
    """Return the bytes of the JWKS as they were written; those of one written by hand are written anew."""
    jwks = value[len(_HEAD) : -len(_TAIL)]
    if value == _HEAD + jwks + _TAIL and load(jwks):
        return jwks
    found = load(value)
    inside = found.get("value")
    if found.get("type") != "jwks" or not isinstance(inside, dict):
        return value
    return json.dumps(inside, separators=(",", ":")).encode()
