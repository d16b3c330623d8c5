"""Probes: URLs at which verifiers really read the JWKS. They are looked at, never written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rotator.errors import StoreDenied
from rotator.observed import Answered
from rotator.probes.ask import ask_any, resolve
from rotator.probes.exchange import Address, Answer, Url
from rotator.probes.freshness import freshness, http_date
from rotator.probes.view import View, merge, view_of
from rotator.stores import Document, DocumentKind, ServerTime, Sight, VersionToken


class UrlProbe:
    """Looks at a URL as a verifier does: one GET, no redirects, TLS verified, no proxy.

    Args:
        url: `http://` or `https://`; it becomes part of the probe's name.
        key_set: whose JWKS is expected there, for messages.
        all_addresses: look at every address of the host; each must answer, and only keys that are
            served at all of them are seen.
        timeout: seconds for a whole look, name resolution and all addresses included.

    Raises:
        ConfigError: the URL is none, or has credentials in it.
    """

    kind: Final = DocumentKind.JWKS
    writable: Final = False
    independent: Final = True

    def __init__(
        self, url: str, key_set: str, *, all_addresses: bool = False, timeout: float = 10.0
    ) -> None:
        self._url = Url.parse(url)
        self._key_set = key_set
        self._all_addresses = all_addresses
        self._timeout = timeout

    @property
    def name(self) -> str:
        """`probe:` and the URL."""
        return f"probe:{self._url.text}"

    def look(self) -> Sight:
        """Ask what verifiers would be given now.

        404 and 410 are "nothing". The document names key set and revision when the answer's header
        fields do. The time of a server on this machine is no witness and is left out.

        Raises:
            StoreUnavailable: anything that a verifier could not use either: no connection, a certificate
                that does not hold, a redirect, another status, a body that is no JWKS.
        """
        deadline = time.monotonic() + self._timeout
        addresses = resolve(self._url, deadline)
        if self._all_addresses:
            answers = [self._ask([address], deadline) for address in addresses]
        else:
            answers = [self._ask(addresses, deadline)]
        return self._sight(answers)

    def write(
        self,
        document: Document,  # noqa: ARG002 - the wall names both
        *,
        replacing: VersionToken | None,  # noqa: ARG002
    ) -> None:
        """Refuse: a probe is only looked at.

        Raises:
            StoreDenied: always.
        """
        raise StoreDenied(f"{self.name} is only looked at", hint="configure a publication to write")

    def _ask(self, addresses: Sequence[Address], deadline: float) -> Answer:
        """Return the answer of the first address that can be reached, as a verifier's client would."""
        return ask_any(
            self._url,
            addresses,
            deadline,
            what=f"{self._url.text} for key set {self._key_set}",
            hint="`all_addresses` needs a way to each of them, IPv6 included" * self._all_addresses,
        )

    def _sight(self, answers: Sequence[Answer]) -> Sight:
        now = datetime.now(UTC)
        fresh = [freshness(answer.headers, now) for answer in answers]
        lifetimes = [item.lifetime for item in fresh if item.lifetime is not None]
        views = [view_of(self._url.text, answer) for answer in answers]
        view = merge(views)
        notes = dict.fromkeys(note for item in fresh for note in item.notes)
        return Sight(
            document=_document(view),
            server_time=_server_time(answers),
            cache=max(lifetimes, default=None),
            note="; ".join([*view.notes, *notes]),
            answers=tuple(
                Answered(answer.address, shown.kids, shown.revision, item.age)
                for answer, shown, item in zip(answers, views, fresh, strict=True)
            ),
        )


def _document(view: View) -> Document | None:
    if view.body is None:
        return None
    return Document(view.body, view.key_set, view.revision)


def _server_time(answers: Sequence[Answer]) -> ServerTime | None:
    """Return what the first witness among the servers says of the time.

    The round trip ends now and not with the header, for it is now that the date is held against a clock.
    """
    for answer in answers:
        date = http_date(answer.headers, "date")
        if answer.local or date is None:
            continue
        age = freshness(answer.headers, date).age or timedelta()
        return ServerTime(date + age, timedelta(seconds=time.monotonic() - answer.sent))
    return None
