"""When structlog is set up: not before there is something to say.

A run that finds nothing due says nothing, and need not pay a tenth of its time for loading it. `rotator.logs`
leaves here what is to be done; whoever is about to log something asks first whether anybody would hear it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["LEVELS", "leave", "ready", "threshold", "wanted"]

LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _State:
    threshold: int | None = None
    pending: Callable[[], None] | None = None
    lock: Final = threading.Lock()


def leave(least: int, set_up: Callable[[], None]) -> None:
    """Leave what sets structlog up until it is needed; at once if somebody has loaded it already.

    Args:
        least: events below this level are dropped.
    """
    _State.threshold, _State.pending = least, set_up
    if "structlog" in sys.modules:
        ready()  # whoever loaded it may hold a logger


def ready() -> None:
    """Set structlog up as it was left, for whoever is about to use it."""
    if _State.pending is None:
        return
    with _State.lock:  # a second thread waits until the first has done it
        if _State.pending is not None:
            _State.pending()
            _State.pending = None


def threshold() -> int | None:
    """Return the least level that is heard, None when nothing was left yet."""
    return _State.threshold


def wanted(level: str) -> bool:
    """False when an event of this level would be dropped for certain, and nothing need be loaded for it."""
    return _State.pending is None or LEVELS[level] >= (_State.threshold or 0)
