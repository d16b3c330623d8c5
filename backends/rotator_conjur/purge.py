"""Writing over a variable until no version that is kept holds what must be gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from rotator.plugin import StoreUnavailable
from rotator_conjur.history import Entry, History, Look, Waits

_KEPT: Final = 20  # versions, by a server that is configured as usual
_MOST_KEPT: Final = 400  # versions; a server that keeps more than this is left to a person

_E = TypeVar("_E", bound=Entry)


def write_over(
    history: History[_E],
    *,
    gone: Callable[[_E], bool],
    tombstone: Callable[[int], bytes],
    mine: Callable[[_E], bool],
) -> None:
    """Write tombstones until every version that is kept is one.

    Each is a conditional write as any other: what somebody else put there meanwhile is left alone, and a process that
    dies on the way leaves the rest to the next try.

    Args:
        gone: whether a version is a tombstone.
        tombstone: makes a new one, different each time, for the version number that it expects.
        mine: whether the head may be written over; it is not asked about tombstones.

    Raises:
        StoreDenied, StoreUnavailable: some version may still be there.
    """
    clean: set[int] = set()
    waits = Waits()
    for _ in range(_MOST_KEPT // _KEPT):
        look = history.look()
        if look.head is not None and not gone(look.head) and not mine(look.head):
            return
        newest = history.newest(lambda entry: not gone(entry), clean)
        if newest == 0:
            return
        missing = newest + _KEPT - look.latest
        if not _pile(history, look, tombstone, missing if missing > 0 else _KEPT, clean):
            waits.longer(f"others go on writing {history.variable!r}")
    raise StoreUnavailable(
        f"{history.variable!r} in {history.place} keeps more than {_MOST_KEPT} versions",
        hint="lower SECRETS_VERSION_LIMIT of the server, or delete the variable by policy and declare it again",
        lasting=True,
    )


def _pile(
    history: History[_E],
    look: Look[_E],
    tombstone: Callable[[int], bytes],
    times: int,
    clean: set[int],
) -> bool:
    """Write tombstones on top of each other; False when somebody came between."""
    for _ in range(times):
        if look.head_version != history.quiet(look).head_version:
            return False
        written = history.append(look, tombstone)
        if written is None:
            return False
        clean.add(written.latest)
        look = written
    return True
