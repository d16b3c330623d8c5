"""Targets in memory: places that documents lie at, and how one process writes there and looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import Conflict
from rotator.observed import DocumentKind
from rotator.policy import ZERO
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.faults import Fault, accept, answer, confirm
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.store import AnyStore
from rotator.stores import Document, Sight, VersionToken

_OF_DOCUMENTS: Final = (Fault.SILENT, Fault.DENIED, Fault.READ_ONLY, Fault.LATE_ERROR)


class Place:
    """Where a derived document lies, and what readers find there.

    Attributes:
        conditional: it compares before it writes; an object store without conditions does not.
        home: the store that it is a document of, if it is one: when that is down, so is the place.
        document: what is there.
        past: everything that was there before.
        longer_cache: what a CDN in front makes of our cache lifetimes, where that is longer.
        true: for a place behind a CDN, the time: a probe then sees what its edge has kept.
        changed: called after each change.
    """

    def __init__(
        self,
        name: str,
        kind: DocumentKind,
        *,
        conditional: bool = True,
        independent: bool = True,
        home: AnyStore | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.conditional = conditional
        self.independent = independent
        self.home = home
        self._fault = Fault.NONE
        self.document: Document | None = None
        self.past: list[Document] = []
        self.longer_cache: timedelta = ZERO
        self.true: TrueTime | None = None
        self.kept: tuple[Document | None, datetime] | None = None
        self.changed: Callable[[Place], None] = lambda _place: None
        self._writes = 0

    @property
    def fault(self) -> Fault:
        """What is wrong with it, for those who write and look; readers are served all the same."""
        ours = self._fault
        theirs = self.home.fault if self.home is not None else Fault.NONE
        return theirs if ours is Fault.NONE and theirs in _OF_DOCUMENTS else ours

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault

    def put(self, document: Document | None) -> None:
        """Put a document there, or take it away, asking nobody."""
        if self.document is not None:
            self.past = [*self.past[-20:], self.document]
        self._writes += 1
        token = VersionToken(str(self._writes))
        self.document = None if document is None else replace(document, token=token)
        self.changed(self)

    @property
    def cache(self) -> timedelta:
        """How long caches may go on serving what is there."""
        document = self.document
        if document is None or self.kind is not DocumentKind.JWKS:
            return ZERO
        sent = timedelta(seconds=(document.max_age or 0) + (document.stale or 0))
        return max(sent, self.longer_cache)

    def at_the_edge(self) -> Document | None:
        """Return what a reader through the CDN finds: as old as its lifetime allows."""
        if self.true is None:
            return self.document
        if self.kept is None or self.kept[0] is None or self.kept[1] <= self.true.now:
            self.kept = (self.document, self.true.now + self.cache)
        return self.kept[0]


@dataclass(slots=True)
class MemoryTarget:
    """`rotator.stores.Target`: a place as one process writes to it and looks at it."""

    place: Place
    gate: Gate
    writable: bool = True

    @property
    def name(self) -> str:
        """The place's name; a probe's is told apart."""
        return self.place.name if self.writable else f"probe:{self.place.name}"

    @property
    def kind(self) -> DocumentKind:
        """The kind of document that belongs there."""
        return self.place.kind

    @property
    def independent(self) -> bool:
        """True when it is read by another way than the ring's store."""
        return self.place.independent

    def look(self) -> Sight:
        """Return what is there."""
        self.gate()
        answer(self.place.fault, self.name)
        document = self.place.document if self.writable else self.place.at_the_edge()
        cache = None if self.writable or document is None else self.place.cache
        self.gate()
        return Sight(document, cache=cache)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Write, comparing token and revision where the place can."""
        place = self.place
        if place.conditional:
            self.gate()
        fault = place.fault
        accept(fault, self.name)
        there = place.document
        if place.conditional:
            if (there.token if there else None) != replacing:
                raise Conflict(f"{self.name} changed since it was looked at")
            ours = there is not None and there.key_set == document.key_set
            if ours and there is not None and (there.revision or 0) > (document.revision or 0):
                raise Conflict(f"{self.name} carries a higher revision")
        if fault is not Fault.LIES:
            place.put(document)
        self.gate()
        confirm(fault, self.name)
