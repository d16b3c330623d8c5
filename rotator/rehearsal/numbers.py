"""A server after Vault's KV version 2: numbered versions, and a write that names the number it replaces.

The numbers go on through soft deletes; a version that was destroyed leaves its number behind. (`cas`,
`metadata` and `destroy` in Vault's API documentation of KV v2.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rotator.errors import Conflict
from rotator.rehearsal.elsewhere import Elsewhere, Way
from rotator.rehearsal.faults import Fault
from rotator.rehearsal.objects import Kept, Refused, Value
from rotator.rehearsal.pauses import Gate

_KEPT: Final = 10  # `max_versions`, as the engine has it


@dataclass(frozen=True, slots=True)
class Numbered:
    """One path: the number of its newest version, and what is left of its versions."""

    number: int
    versions: Mapping[int, Value]


class NumberStore(Elsewhere):
    """The server."""

    faults = (*Elsewhere.faults, Fault.STALE)

    def way(self, gate: Gate) -> Way:
        """Return one process's way to this server."""
        return NumberWay(self, gate)

    def current(self, name: str) -> Value:
        """Return the newest version."""
        found: Numbered | None = self.objects.get(name)
        return None if found is None else found.versions.get(found.number)

    def traces(self, name: str) -> Iterator[Value]:
        """Yield every version that is left."""
        found: Numbered = self.objects[name]
        yield from found.versions.values()

    def by_hand(self, name: str, value: Value) -> None:
        """Write a version whatever is there, or take the path away, metadata and all."""
        found: Numbered | None = self.objects.get(name)
        number = found.number + 1 if found is not None else 1
        self.change(name, None if value is None else Numbered(number, {number: value}))

    def put(self, name: str, value: Value, cas: int) -> int:
        """Write a version if the newest is number `cas`, 0 for a path without any; return its number."""
        found: Numbered = self.objects.get(name) or Numbered(0, {})
        if found.number != cas:
            raise Refused
        number = cas + 1
        left = {n: v for n, v in found.versions.items() if n > number - _KEPT}
        self.change(name, Numbered(number, {**left, number: value}))
        return number

    def get(self, name: str) -> tuple[Value, str] | None:
        """Read the newest version; None for a path that never was."""
        found: Numbered | None = self.seen(name)
        return None if found is None else (found.versions.get(found.number), str(found.number))

    def destroy(self, name: str) -> None:
        """Destroy every version; the path and its number stay."""
        found: Numbered | None = self.objects.get(name)
        if found is not None:
            self.change(name, replace(found, versions={}))


class NumberWay(Way):
    """How the server is used so that of many writers one wins, and knows it."""

    store: NumberStore

    def head(self, name: str) -> tuple[Value, str] | None:
        """Return the newest version."""
        return self.read(lambda: self.store.get(name))

    def replace(self, name: str, value: Value, replacing: str | None, nonce: str) -> str:
        """Write a version over the one that is named; after a lost answer, look whether it is there."""
        del nonce
        if not (replacing or "0").isdecimal():
            raise Conflict(f"{name} never had a version {replacing}")
        cas = self.base(name, replacing)
        try:
            return str(self.write(lambda: self.store.put(name, value, cas)))
        except Refused:
            if self.head(name) != (value, str(cas + 1)):
                raise Conflict(f"{name} was changed by somebody else") from None
            return str(cas + 1)

    def base(self, name: str, replacing: str | None) -> int:  # noqa: ARG002 - whoever errs reads it anew
        """Return the number that a write replaces: that of the load, and no later one."""
        return int(replacing or 0)

    def erase(self, name: str, kid: str) -> None:
        """Destroy the material, if it is this kid's."""
        self.step(lambda: self._erase(name, kid))

    def _erase(self, name: str, kid: str) -> None:
        found = self.head(name)
        # Not found is no proof that nothing is there, and no other key's material ever is.
        if found is None or not isinstance(found[0], Kept) or found[0].kid == kid:
            self.write(lambda: self.store.destroy(name), destroys=True)
