"""The OpenID discovery document of a key set, made from the JWKS that is served beside it."""

from __future__ import annotations

import json
from dataclasses import replace

from rotator.publication.headers import PLAIN_JSON
from rotator.server.served import Page, Served, render_page
from rotator.server.site import Discovery


def discovery_document(discovery: Discovery, body: bytes) -> bytes:
    """Return the document that belongs to a JWKS.

    It holds the members that are required of an issuer which only signs (OpenID Connect Discovery 1.0 §3),
    as Kubernetes serves them for its own tokens. The algorithms are those of the keys that are published.
    """
    algorithms = sorted({str(key["alg"]) for key in json.loads(body)["keys"] if "alg" in key})
    members = {
        "issuer": discovery.issuer,
        "jwks_uri": discovery.jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    }
    return json.dumps(members, separators=(",", ":")).encode()


class Discovered:
    """A discovery document as it is served: there once the JWKS is, and made anew when that changes."""

    def __init__(self, discovery: Discovery, served: Served) -> None:
        self.page: Page | None = None
        self._discovery = discovery
        self._served = served
        self._made_of: Page | None = None

    @property
    def fault(self) -> str:
        """Why there is none although a JWKS was published."""
        return self._served.fault

    def fresh(self) -> Page | None:
        """Return the page to serve now."""
        source, published = self._served.fresh(), self._served.published
        if source is not self._made_of and published is not None:
            self._made_of = source
            document = replace(published, body=discovery_document(self._discovery, published.body))
            names = [("rotator-key-set", self._served.key_set)]
            self.page = render_page(document, names, PLAIN_JSON)
        return self.page
