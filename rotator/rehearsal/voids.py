"""A server after Conjur: it numbers what it is given and compares nothing, so the writers do.

Every entry says which number its writer expects it to get. One that got another number was outrun: it is
void. The newest entry that is not void is what counts. Places for material are slots that exist beforehand,
and destroying one means to write over it until the server has forgotten what was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from rotator.errors import Conflict, StoreCorrupt, StoreUnavailable
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.elsewhere import Elsewhere, Way
from rotator.rehearsal.objects import Kept, Value
from rotator.rehearsal.pauses import Gate

WINDOW: Final = 20
"""How many entries of a variable the server keeps: as many writers at once would push out what counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a variable: the number its writer expects, what no other write has, and the value."""

    expects: int
    nonce: str
    value: Value


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: its entries with their numbers, as far as they are kept."""

    entries: tuple[tuple[int, Entry], ...] = ()

    @property
    def last(self) -> int:
        """The number of the newest entry, 0 when there was none."""
        return self.entries[-1][0] if self.entries else 0

    def find(self, number: int) -> Entry | None:
        """Return the entry of a number, None when it is not kept."""
        return dict(self.entries).get(number)


class VoidStore(Elsewhere):
    """The server.

    Attributes:
        most: the number of slots for the material of one key set, None for no limit.
    """

    def __init__(self, true: TrueTime) -> None:
        super().__init__(true)
        self.numbered = True
        self.most: int | None = None

    def way(self, gate: Gate) -> Way:
        """Return one process's way to this server."""
        return VoidWay(self, gate)

    def get(self, name: str) -> Variable:
        """Return a variable; one that was never written is empty."""
        found: Variable | None = self.objects.get(name)
        return found if found is not None else Variable()

    def post(self, name: str, entry: Entry) -> None:
        """Add an entry; the same as the newest adds none."""
        found = self.get(name)
        if found.entries and found.entries[-1][1] == entry:
            return
        entries = (*found.entries, (found.last + 1, entry))
        self.change(name, Variable(entries[-WINDOW:]))

    def current(self, name: str) -> Value:
        """Return what counts."""
        found = honest_head(self.get(name))
        return None if found is None else found[1].value

    def traces(self, name: str) -> Iterator[Value]:
        """Yield every entry that is kept, void ones too."""
        yield from (entry.value for _, entry in self.get(name).entries)

    def by_hand(self, name: str, value: Value) -> None:
        """Write an entry that counts, or empty the variable."""
        self.nonces += 1
        number = self.get(name).last + 1
        entry = (number, Entry(number, f"hand-{self.nonces}", value))
        self.change(name, None if value is None else Variable((entry,)))


def honest_head(variable: Variable) -> tuple[int, Entry] | None:
    """Return the newest entry that got the number its writer expected, None when none is kept."""
    for number, entry in reversed(variable.entries):
        if entry.expects == number:
            return number, entry
    return None


class VoidWay(Way):
    """How the server is used so that of many writers one wins, and knows it."""

    store: VoidStore
    reuses = True

    def walk(self, variable: Variable) -> tuple[int, Entry] | None:
        """Return the newest entry that is not void."""
        return honest_head(variable)

    def head(self, name: str) -> tuple[Value, str] | None:
        """Return what counts, with its number; None for a variable that was never written."""
        variable = self.read(lambda: self.store.get(name))
        found = self.walk(variable)
        if found is None and variable.entries:
            raise StoreCorrupt(f"{name}: none of the {WINDOW} entries that are kept counts")
        return None if found is None else (found[1].value, str(found[0]))

    def replace(self, name: str, value: Value, replacing: str | None, nonce: str) -> str:
        """Add an entry that expects the next number, and look which number it got."""
        variable = self.read(lambda: self.store.get(name))
        head = self.walk(variable)
        if head is not None and head[1].nonce == nonce:
            return str(head[0])  # the answer was lost
        if (str(head[0]) if head is not None else None) != replacing:
            raise Conflict(f"{name} was changed by somebody else")
        return str(self.add(name, variable.last + 1, nonce, value))

    def add(self, name: str, number: int, nonce: str, value: Value) -> int:
        """Add an entry and return its number, if it is the one that is expected. Raises Conflict."""
        entry = Entry(number, nonce, value)
        self.write(lambda: self.store.post(name, entry))
        if self.read(lambda: self.store.get(name)).find(number) != entry:
            raise Conflict(f"{name} was changed by somebody else")
        return number

    def erase(self, name: str, kid: str) -> None:
        """Write over what is there until no entry holds this kid's material; and once if none does.

        Once, because an entry of a writer that stands still must not get the number it expects.
        """
        done = False
        while not done:
            nonce = self.nonce()
            done = self.step(partial(self._write_over, name, kid, nonce))

    def _write_over(self, name: str, kid: str, nonce: str) -> bool:
        """Write over a variable once, and return whether this kid's material is gone."""
        variable = self.read(lambda: self.store.get(name))
        head = self.walk(variable)
        if head is not None and isinstance(head[1].value, Kept) and head[1].value.kid != kid:
            return True
        entry = Entry(variable.last + 1, nonce, None)
        self.write(lambda: self.store.post(name, entry), destroys=True)
        held = self.read(lambda: self.store.get(name)).entries
        return not any(isinstance(e.value, Kept) and e.value.kid == kid for _, e in held)

    def locator(self, kid: str, taken: frozenset[str]) -> str:
        """Return the first slot that is free."""
        del kid
        number = 1
        while f"slot-{number}" in taken:
            number += 1
        if self.store.most is not None and number > self.store.most:
            raise StoreUnavailable(f"all {self.store.most} slots for material are taken")
        return f"slot-{number}"
