"""What secrets managers elsewhere have in common: they are asked by calls, and any call may be lost.

A `Way` is one process's way to such a server. Its steps are made of several calls; between any two of them
the process may stand still, and the answer of any of them may be lost, so each step is harmless to repeat.
`labels`, `numbers` and `voids` are three kinds of server, after AWS Secrets Manager, Vault and Conjur.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote

from rotator.errors import StoreUnavailable
from rotator.fence import still_time
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.faults import Fault, accept, answer, confirm, release
from rotator.rehearsal.logins import Login
from rotator.rehearsal.objects import Kept, Shelf, Value
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.store import AnyStore

_T = TypeVar("_T")
_ATTEMPTS: Final = 4
_LAG: Final = timedelta(seconds=2)

A_STUTTER: Final = 6
"""So many writes in a row hold one that fails before it has an effect, and one that fails after."""


class Elsewhere(AnyStore):
    """A server that holds objects by name; the subclasses say what an object is.

    Attributes:
        objects: what is there; each object is immutable, a write replaces it.
    """

    faults = (*AnyStore.faults, Fault.STUTTERS)

    def __init__(self, true: TrueTime) -> None:
        super().__init__(true)
        self.objects: dict[str, Any] = {}
        self.lock = threading.RLock()
        self.writes = 0
        self.nonces = 0
        self._before: dict[str, Any] = {}
        self._changed: dict[str, datetime] = {}

    @abstractmethod
    def way(self, gate: Gate) -> Way:
        """Return one process's way to this server."""

    @abstractmethod
    def current(self, name: str) -> Value:
        """Return what an object holds by right, None when there is nothing."""

    @abstractmethod
    def traces(self, name: str) -> Iterator[Value]:
        """Yield everything that could still be got out of an object, old versions and all."""

    @abstractmethod
    def by_hand(self, name: str, value: Value) -> None:
        """Put something in an object's place behind everybody's back; None takes the object away."""

    def seen(self, name: str) -> Any:
        """Return an object as a read finds it: a server that lags shows the one before for a while."""
        since = self._changed.get(name)
        if self.fault is Fault.STALE and since is not None and self.true.now - since < _LAG:
            return self._before[name]
        return self.objects.get(name)

    def lag(self, name: str) -> None:
        """Let the last change of an object have been just now, for servers that lag."""
        self._changed[name] = self.true.now

    def login(self, gate: Gate) -> Login:
        """Return the store as one process sees it."""
        return Login(self.way(gate))

    def shelf(self, key_set: str) -> Shelf:
        """Return what lies there of one key set."""
        return Shelf(self, key_set)

    def put_back(self, key_set: str, ring: bytes | None) -> None:
        """Restore an older ring behind everybody's back."""
        told, self.saved = self.saved, lambda _name, _old, _new: None
        self.by_hand(f"{key_set}/ring", ring)
        self.saved = told

    def remains(self, key_set: str) -> set[tuple[str, str]]:
        """Return the locator and the kid of all material that could still be got at."""
        prefix = f"{key_set}/material/"
        names = [name for name in self.objects if name.startswith(prefix)]
        return {
            (name.removeprefix(prefix), value.kid)
            for name in names
            for value in self.traces(name)
            if isinstance(value, Kept)
        }

    def change(self, name: str, found: Any) -> None:
        """Replace an object, None to take it away, and tell of a ring that changed by it."""
        before = self.current(name)
        self._before[name], self._changed[name] = self.objects.get(name), self.true.now
        if found is None:
            self.objects.pop(name, None)
        else:
            self.objects[name] = found
        after = self.current(name)
        key_set, _, rest = name.partition("/")
        if rest == "ring" and isinstance(after, bytes) and after != before:
            self.saved(key_set, before if isinstance(before, bytes) else None, after)


class Way(ABC):
    """One process's way to a server: every call passes the gate, before and after its effect.

    Attributes:
        reuses: True when a place whose material was destroyed may take another key's.
    """

    reuses = False

    def __init__(self, store: Elsewhere, gate: Gate) -> None:
        self.store = store
        self.gate = gate

    def step(self, act: Callable[[], _T]) -> _T:
        """Do a step, again while the server does not answer.

        Raises:
            StoreUnavailable: still, or this process stood still in the midst of it.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return act()
            except StoreUnavailable as error:
                if error.lasting:
                    raise
        return act()

    def read(self, act: Callable[[], _T]) -> _T:
        """Make one call that changes nothing."""
        self.gate()
        answer(self.store.fault, "the store")
        with self.store.lock:
            found = act()
        self.gate()
        return found

    def write(self, act: Callable[[], _T], *, destroys: bool = False) -> _T:
        """Make one call that changes something.

        Raises:
            StoreUnavailable: whether it had its effect is not known; or the write window has passed.
        """
        self.gate()
        still_time()
        store, fault = self.store, self.store.fault
        (release if destroys else accept)(fault, "the store")
        with store.lock:
            store.writes += 1
            turn = store.writes % A_STUTTER if fault is Fault.STUTTERS else 0
            if turn == 1:
                raise StoreUnavailable("the store failed")
            done = act()
        self.gate()
        confirm(Fault.LATE_ERROR if turn == A_STUTTER // 2 else fault, "the store")
        return done

    def locator(self, kid: str, taken: frozenset[str]) -> str:
        """Return a place named after the key."""
        name = f"key-{quote(kid, safe='')}"
        number = 1
        while f"{name}-{number}" in taken:
            number += 1
        return f"{name}-{number}"

    @abstractmethod
    def head(self, name: str) -> tuple[Value, str] | None:
        """Return what an object holds, and its version; None when the server answers "not there"."""

    @abstractmethod
    def replace(self, name: str, value: Value, replacing: str | None, nonce: str) -> str:
        """Write an object if it is still `replacing`, and return its new version. Raises Conflict."""

    @abstractmethod
    def erase(self, name: str, kid: str) -> None:
        """Destroy what an object holds, if it is this kid's."""

    def nonce(self) -> str:
        """Return what no other write of anybody has."""
        with self.store.lock:
            self.store.nonces += 1
            return str(self.store.nonces)
