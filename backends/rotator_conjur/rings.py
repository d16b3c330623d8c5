"""The ring of a key set: the newest version of a variable that counts."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from rotator.plugin import Calls, Conflict, StoreCorrupt, Stored, Version
from rotator_conjur.client import Conjur
from rotator_conjur.envelopes import GONE, RING, Envelope, parse
from rotator_conjur.history import History, Look, Waits


class ConjurRings:
    """The ring of one key set. Its version names the number and the nonce of what is stored."""

    def __init__(self, conjur: Conjur, calls: Calls, key_set: str, variable: str) -> None:
        self._calls = calls
        self._key_set = key_set
        self._url = conjur.url
        self._history = History(conjur, variable, parse)
        self._lost = 0  # races in a row

    @property
    def place(self) -> str:
        """The ring's variable, for messages."""
        return f"{self._history.variable} in Conjur at {self._url}"

    def load(self) -> Stored | None:
        """Return the ring, or None where its variable is declared, may be read, and holds none.

        Raises:
            StoreDenied: the variable is not declared or invisible, which the server does not tell apart.
            StoreUnavailable: no answer.
            StoreCorrupt: there are versions, and none of them is a ring that counts.
        """
        look = self._calls.attempt("ring.load", self._key_set, self._look)
        version = _version(look)
        if look.head is None or version is None:
            return None
        return Stored(look.head.body, version, look.time)

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring if it is still `replacing` (None: if there is none).

        Raises:
            Conflict: somebody else saved in between; nothing was changed.
            StoreDenied, StoreUnavailable, StoreCorrupt: as for `load`.
        """
        return self._replace(RING, document, replacing)

    def erase(self) -> None:
        """Overwrite the ring with the word that there is none; harmless when there is none."""
        waits = Waits()
        while (found := self.load()) is not None:
            try:
                self._replace(GONE, b"", found.version)
            except Conflict:
                waits.longer(f"others go on writing {self.place}")

    def _replace(self, form: str, document: bytes, replacing: Version | None) -> Version:
        nonce = secrets.token_hex(16)
        tried: dict[int, bytes] = {}

        def make(number: int) -> bytes:
            tried[number] = Envelope(form, number, nonce, self._key_set, body=document).dump()
            return tried[number]

        def step() -> Version:
            # Tries whose answers were lost: carried out, and perhaps superseded since, they are no conflict.
            for number, value in tried.items():
                if self._history.holds(number, value):
                    self._lost = 0
                    return Version(f"{number}-{nonce}")
            return self._write(make, nonce, replacing)

        return self._calls.attempt("ring.save", self._key_set, step)

    def _write(
        self, make: Callable[[int], bytes], nonce: str, replacing: Version | None
    ) -> Version:
        waits = Waits()
        for _ in range(min(self._lost, 6)):  # who lost before lets others go first
            waits.longer(f"others go on writing {self.place}")
        while True:
            look = self._look()
            if _version(look) != replacing:
                raise Conflict(
                    f"somebody else saved the ring of key set {self._key_set!r} in between",
                    hint="load it again",
                )
            look = self._history.quiet(look)
            if _version(look) != replacing:
                continue
            if self._history.append(look, make) is not None:
                self._lost = 0
                return Version(f"{look.latest + 1}-{nonce}")
            self._lost += 1
            waits.longer(f"others go on writing {self.place}")

    def _look(self) -> Look[Envelope]:
        look = self._history.look()
        head = look.head
        if look.latest and (head is None or head.key_set != self._key_set):
            raise StoreCorrupt(
                f"none of the versions that are kept of {self.place} is a ring of key set {self._key_set!r}",
                hint="see who wrote it; `rotator recover --ring FILE` puts a good one back once the variable was "
                "deleted and declared again by policy",
            )
        return look


def _version(look: Look[Envelope]) -> Version | None:
    """Return what names the ring that is there; None where there is none, or it was erased."""
    if look.head is None or look.head.format != RING:
        return None
    return Version(f"{look.head_version}-{look.head.nonce}")
