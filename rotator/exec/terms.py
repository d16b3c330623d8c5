"""Which key is to be used, and until when each may be: pure, all times on the clock of `linux.now`."""

from __future__ import annotations

import math

from rotator.exec.document import SigningKey
from rotator.exec.orders import Orders


class Terms:
    """The terms of the keys that one command was or will be given.

    Attributes:
        newest: the key of the newest document, None while there was none.
        retry_at: when a key that the command did not become ready with is tried once more.
    """

    def __init__(self, orders: Orders) -> None:
        self._lag, self._stop = orders.signer_lag, orders.stop_timeout
        self._lawful_until: dict[str, float] = {}  # by kid, for keys that were replaced
        self._failed: SigningKey | None = None
        self.newest: SigningKey | None = None
        self.retry_at = math.inf

    def take(self, key: SigningKey, since: float | None, using: SigningKey | None) -> None:
        """Take the key of another document.

        Args:
            since: when the document before was last seen. Nobody knows when exactly the new one was
                delivered, but it was after that; None gives the key before no time at all.
            using: the key that the command is ready with.
        """
        if self.newest is not None:
            self._lawful_until[self.newest.kid] = (
                -math.inf if since is None else since
            ) + self._lag
        self._lawful_until.pop(key.kid, None)
        self.newest = key
        if key.is_key_of(using):  # it was rolled back
            self.changed()

    def end_at(self, key: SigningKey) -> float:
        """Return when a command has to be asked to end, so that the key is in no use after its time."""
        return self._lawful_until.get(key.kid, math.inf) - self._stop

    def due(self, using: SigningKey | None, now: float) -> bool:
        """Tell whether the command has to change its key now."""
        if self.newest is None or self.newest.is_key_of(using):
            return False
        return not self.newest.is_key_of(self._failed) or now >= self.retry_at

    def changed(self) -> None:
        """Note that the command uses the newest key."""
        self._failed, self.retry_at = None, math.inf

    def failed(self, key: SigningKey, retry_at: float) -> None:
        """Note that the command did not become ready with a key, and when to try it once more."""
        self._failed, self.retry_at = key, retry_at
