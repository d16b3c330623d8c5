"""The write window of a tick, for the calls that a store makes inside one write.

A tick asks before each write whether its load is still recent enough. Where a write is several calls, with
waits and tries again in between, a process can stand still in the midst of it as well, and carry out what
nobody reckons with any more. So whoever makes such calls asks again, before each that changes something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final

from rotator.errors import StoreUnavailable

__all__ = ["still_time", "writing"]

_in_time: Final[ContextVar[Callable[[], bool] | None]] = ContextVar("in_time", default=None)


@contextlib.contextmanager
def writing(in_time: Callable[[], bool]) -> Iterator[None]:
    """Let `still_time` ask `in_time` meanwhile, in this thread."""
    before = _in_time.set(in_time)
    try:
        yield
    finally:
        _in_time.reset(before)


def still_time() -> None:
    """Ask whether a write may still begin; to be called before each request that changes something.

    In the thread in which the store was called; outside of a tick there is always time.

    Raises:
        StoreUnavailable: the write window of this tick has passed. Trying again at once is no use.
    """
    in_time = _in_time.get()
    if in_time is not None and not in_time():
        raise StoreUnavailable(
            "this process stood still, or waited for too long, in the midst of a write",
            hint="nothing more was sent; the next tick begins anew",
            lasting=True,
        )
