"""Issuers: who reads a delivery, late or never again, and what a signer check sees of that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.documents import read_json
from rotator.errors import StoreDenied, StoreUnavailable
from rotator.observed import DocumentKind
from rotator.rehearsal.faults import answer
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.places import Place
from rotator.rehearsal.toykeys import ToyKeys
from rotator.stores import Document, Sight, VersionToken


@dataclass(slots=True)
class Issuer:
    """A signer that can be asked for a token.

    Attributes:
        place: what it signs with.
        source: the delivery that it reads.
        lag: how long after a change of its source it goes on with what it had.
        every: how often it is asked at most.
        stays: it goes on with what it has whatever is delivered.
        due: when it reads its source again.
    """

    place: Place
    source: Place
    lag: timedelta
    every: timedelta
    stays: bool = False
    due: datetime | None = None
    _read: Document | None = None

    def notice(self, now: datetime) -> None:
        """Take note that its source has changed, if it has."""
        if self.source.document is not self._read and self.due is None:
            self.due = now + self.lag

    def read(self, now: datetime) -> None:
        """Read its source if it is time, and sign with what is there; go on as before where there is nothing."""
        if self.due is None or self.due > now:
            return
        self.due, self._read = None, self.source.document
        if not self.stays and self._read is not None:
            self.place.put(self._read)

    def begin_anew(self) -> None:
        """Stay with nothing any more: its source is read as if for the first time."""
        self.stays, self._read = False, None


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """`rotator.signers.wall.SignerCheck`: an issuer as one process asks it for a token."""

    issuer: Issuer
    gate: Gate
    keys: ToyKeys
    kind: DocumentKind = DocumentKind.SIGNING
    writable: bool = False
    independent: bool = False
    holds: bool = True

    @property
    def name(self) -> str:
        """The name of the check."""
        return f"signer:{self.issuer.place.name}"

    @property
    def every(self) -> timedelta:
        """How often it is asked at most."""
        return self.issuer.every

    def look(self) -> Sight:
        """Return a fresh token; no answer from an issuer that has no key yet."""
        self.gate()
        answer(self.issuer.place.fault, self.name)
        document = self.issuer.place.document
        self.gate()
        if document is None:
            raise StoreUnavailable(f"{self.name} has no key yet")
        return Sight(None, token=self.keys.sign((read_json(document.body) or {})["jwk"]))

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Refuse: it is only looked at."""
        del document, replacing
        raise StoreDenied(f"{self.name} is only looked at")
