"""Several that are told of every tick, as one."""

from __future__ import annotations

from rotator.daemon.state import Observer
from rotator.reconcile.site import Outcome, Site


class Observers:
    """Tells each of them in turn.

    Args:
        observers: those that there are; None among them is nobody.
    """

    def __init__(self, *observers: Observer | None) -> None:
        self._observers = tuple(item for item in observers if item is not None)

    def ticked(self, site: Site, outcome: Outcome) -> None:
        """Take what a tick that came to its end did."""
        for observer in self._observers:
            observer.ticked(site, outcome)

    def failed(self, site: Site, error: Exception) -> None:
        """Take why a tick could not be made."""
        for observer in self._observers:
            observer.failed(site, error)

    def dropped(self, key_set: str) -> None:
        """Forget a key set that left the configuration."""
        for observer in self._observers:
            observer.dropped(key_set)
