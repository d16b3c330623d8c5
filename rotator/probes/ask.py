"""The addresses of a URL, and one answer from whichever of them gives it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

from rotator.errors import StoreUnavailable
from rotator.probes.exchange import (
    ACCEPT,
    LIMIT,
    Address,
    Answer,
    Request,
    Url,
    connect,
    send,
)


def resolve(url: Url, deadline: float) -> list[Address]:
    """Return every address of a URL's host, in the system's order of preference.

    Args:
        deadline: by the monotonic clock; the resolver itself has no bound, so it gets a thread.

    Raises:
        StoreUnavailable: no such name, or no answer in time.
    """
    found: list[list[Address] | OSError] = []

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            found.append(list(dict.fromkeys((info[0], info[4]) for info in infos)))
        except (OSError, UnicodeError) as error:
            found.append(OSError(str(error)))

    thread = threading.Thread(target=ask, name="rotator-resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if not found:
        raise StoreUnavailable(f"{url.text}: the name {url.host} was not resolved in time")
    if isinstance(found[0], OSError):
        raise StoreUnavailable(f"{url.text}: the name {url.host} does not resolve: {found[0]}")
    return found[0]


def ask_any(
    url: Url,
    addresses: Sequence[Address],
    deadline: float,
    *,
    what: str,
    hint: str = "",
    accept: str = ACCEPT,
    limit: int = LIMIT,
    request: Request | None = None,
) -> Answer:
    """Return the answer of the first address that can be reached, as a client would get it.

    Args:
        deadline: by the monotonic clock, for all of them.
        what: what is asked, for the message where none can be reached; `hint` goes with it.
        accept: the media types that are asked for.
        limit: how many bytes of a body are read, but for one.
        request: what is sent in place of a GET; it says itself what it accepts.

    Raises:
        StoreUnavailable: no connection to any; and as `rotator.probes.exchange.send`.
    """
    asked = request or Request(headers={"Accept": accept}, limit=limit)
    failed = []
    for index, address in enumerate(addresses):
        # A share for each, so that one that drops packets does not take the time of all.
        now = time.monotonic()
        share = now + max(0.0, deadline - now) / (len(addresses) - index)
        try:
            connection = connect(address, share)
        except OSError as error:
            failed.append(f"{address[1][0]} ({error.strerror or error})")
        else:
            return send(url, connection, deadline, asked)
    raise StoreUnavailable(f"{what}: no connection to {', '.join(failed)}", hint=hint)
