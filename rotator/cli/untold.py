"""Which receivers of notifications are behind, for `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rotator.cli.views import moment, when
from rotator.errors import RotatorError

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.ring import KeyRing


def untold_of(assembly: Assembly, ring: KeyRing, now: datetime) -> list[dict[str, Any]]:
    """Return the receivers that have not confirmed every event of a key set; nothing where none is configured."""
    settings, key_set = assembly.settings, ring.key_set
    listening = [item for item in settings.notify.values() if item.listens_to(key_set)]
    if not listening:
        return []
    from rotator.notify.case import Page, due
    from rotator.notify.configured import keeper_of

    keeper = keeper_of(settings, assembly.store, assembly.emit)
    try:
        ledger = keeper.peek(key_set)
    except RotatorError as error:
        return [_view(item.name, error=error.message) for item in listening]
    page = Page.of(key_set, ring.history, now, suspicious=False)
    found = []
    for receiver in listening:
        dates = [item.news.at for item in due(ledger, page, receiver, now)]
        if dates:
            found.append(_view(receiver.name, pending=len(dates), oldest=min(dates)))
    return found


def rows(found: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[tuple[str, str]]:
    """Yield a line for each of them."""
    for item in found:
        if item["error"] is not None:
            yield "untold", f"what {item['receiver']} was told cannot be read: {item['error']}"
            continue
        count, since = item["pending"], when(datetime.fromisoformat(item["oldest"]), now)
        what = "1 event is" if count == 1 else f"{count} events are"
        yield "untold", f"{what} not confirmed by {item['receiver']}, since {since}"


def _view(
    receiver: str,
    *,
    pending: int | None = None,
    oldest: datetime | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    return {"receiver": receiver, "pending": pending, "oldest": moment(oldest), "error": error}
