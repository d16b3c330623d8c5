"""A signer check that asks a URL: an endpoint of the issuer that gives out a fresh token."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Final

from rotator.errors import StoreDenied, StoreUnavailable
from rotator.probes.ask import ask_any, resolve
from rotator.probes.exchange import Answer, Url
from rotator.signers.names import url_name
from rotator.signers.token import LIMIT, find_token
from rotator.stores import Document, DocumentKind, Sight, VersionToken

ACCEPT: Final = "application/jwt, application/json;q=0.9, text/plain;q=0.8"


class UrlCheck:
    """Asks a URL for a token: one GET, no redirects, TLS verified, no proxy.

    Args:
        url: `http://` or `https://`. A query may hold what nobody should read, so of it only a digest is
            in the check's name, and nothing in messages.
        every: how often at most; see `SignerCheck`.
        holds: whether a key is kept from retiring by what is seen; see `SignerCheck`.
        header: the field of the answer that is the token, with or without `Bearer`; else its body is looked at.
        field: the member of the JSON body that is the token; see `find_token`.
        timeout: seconds for a whole look, name resolution included.

    Raises:
        ConfigError: the URL is none, or has credentials before its host.
    """

    kind: Final = DocumentKind.SIGNING
    writable: Final = False
    independent: Final = False

    def __init__(
        self,
        url: str,
        *,
        every: timedelta,
        holds: bool = False,
        header: str | None = None,
        field: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        parsed = Url.parse(url)
        self._url = replace(parsed, text=parsed.text.partition("#")[0].partition("?")[0])
        self.name: Final = url_name(url)
        self.every: Final = every
        self.holds: Final = holds
        self._header, self._field, self._timeout = header, field, timeout

    def look(self) -> Sight:
        """Fetch a token and return it.

        Raises:
            StoreUnavailable: no connection, a status that is not 2xx, or no token in the answer. That
                says nothing of what the issuer signs with.
        """
        deadline = time.monotonic() + self._timeout
        addresses = resolve(self._url, deadline)
        what = self._url.text
        answer = ask_any(self._url, addresses, deadline, what=what, accept=ACCEPT, limit=LIMIT)
        what = f"{what} at {answer.address}"
        if not 200 <= answer.status < 300:
            hint = "no redirect is followed: name the final address" * (300 <= answer.status < 400)
            raise StoreUnavailable(f"{what} answered {answer.status}", hint=hint)
        return Sight(None, token=find_token(self._told(answer, what), what, self._field))

    def write(
        self,
        document: Document,  # noqa: ARG002 - the wall names both
        *,
        replacing: VersionToken | None,  # noqa: ARG002
    ) -> None:
        """Refuse: a signer is only looked at.

        Raises:
            StoreDenied: always.
        """
        raise StoreDenied(f"{self.name} is only looked at", hint="configure a delivery to write")

    def _told(self, answer: Answer, what: str) -> bytes:
        if self._header is None:
            return answer.body
        values = answer.headers.get(self._header.lower(), ())
        if not values:
            raise StoreUnavailable(f"{what} answered without the header {self._header}")
        scheme, _, rest = values[0].strip().partition(" ")
        return (rest if scheme.lower() == "bearer" else values[0]).encode("ascii", "replace")
