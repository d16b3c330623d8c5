"""One answer from a URL, whichever of its addresses gives it."""

from __future__ import annotations

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
