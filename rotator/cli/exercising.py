"""`rotator check --write`: the full path of a store on the key set `rotator-check`, cleaned up afterwards.

Only the walls are used. What a trial writes says when it was begun, so that two at once tell each other apart
from what a killed one left behind.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from rotator.errors import Conflict, RotatorError, StoreCorrupt
from rotator.inspection import SCRATCH, Exercisable, Finding, Scope
from rotator.secret import Secret
from rotator.stores import Document, DocumentStore, MaterialStore, RingStore, Store, VersionToken

_FORMAT: Final = "rotator.trial/1"
_LONGEST: Final = timedelta(minutes=10)
"""No trial takes longer; what an older one left is taken away."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of one store.

    Args:
        scope: which parts are tried, and the documents' names: what the key sets have in this store.
        now: the wall clock.
    """

    store: Store
    scope: Scope
    now: datetime

    def run(self) -> Iterator[Finding]:
        """Write, read back, compare and remove; yield a finding for each part, the failed ones with the way out."""
        store = self.store
        if not isinstance(store, Exercisable):
            yield Finding("advice", "not written to: its backend has no trial of its own")
            return
        try:
            self._make_room(store)
        except RotatorError as error:
            yield _fault("on trial, nothing was written", error)
            return
        try:
            yield from self._parts()
        finally:
            # Also after Ctrl-C, and when nobody takes the next finding.
            left = _attempted("on trial, all of it: removed", store.erase_scratch)
        yield left

    def _parts(self) -> Iterator[Finding]:
        if self.scope.ring:
            rings, material = self.store.rings(SCRATCH), self.store.material(SCRATCH)
            yield _attempted(
                "on trial, a ring: saved, replaced, a stale save refused",
                partial(self._ring, rings),
            )
            yield _attempted(
                "on trial, material: put, read, destroyed", partial(self._material, material)
            )
        documents = self.store.documents()
        if documents is None:
            return
        for name in self.scope.documents:
            yield _attempted(
                f"on trial, {name}: written, replaced, a stale write refused, removed",
                partial(self._document, documents, name),
            )

    def _make_room(self, store: Exercisable) -> None:
        """Take away what a killed trial left.

        Raises:
            Conflict: another trial is at work.
            StoreCorrupt: something is there that no trial wrote.
        """
        found = [_begun(body) for body in self._there()]
        if not found:
            return
        if any(abs(self.now - begun) < _LONGEST for begun in found):
            raise Conflict(
                "another `rotator check --write` is at work here, or was killed within the last ten minutes",
                hint="run it again when that one has ended",
            )
        store.erase_scratch()

    def _there(self) -> Iterator[bytes]:
        if self.scope.ring:
            stored = self.store.rings(SCRATCH).load()
            if stored is not None:
                yield stored.document
        documents = self.store.documents()
        if documents is not None:
            found = (documents.read(name) for name in self.scope.documents)
            yield from (document.body for document in found if document is not None)

    def _body(self, number: int) -> bytes:
        said = {"format": _FORMAT, "begun": self.now.isoformat(), "number": number}
        return json.dumps({**said, "nonce": secrets.token_hex(8)}).encode()

    def _ring(self, rings: RingStore) -> None:
        first, second, third = (self._body(number) for number in range(3))
        version = rings.save(first, replacing=None)
        self._same(rings, first)
        newer = rings.save(second, replacing=version)
        _refused(lambda: rings.save(third, replacing=version), "ring")
        _refused(lambda: rings.save(third, replacing=None), "ring")
        self._same(rings, second)
        rings.save(third, replacing=newer)
        self._same(rings, third)

    def _same(self, rings: RingStore, wanted: bytes) -> None:
        stored = rings.load()
        if stored is None or stored.document != wanted:
            raise StoreCorrupt(
                "it does not return the ring that it took",
                hint="is another trial at work, or a cache in between?",
            )

    def _material(self, store: MaterialStore) -> None:
        kid = secrets.token_urlsafe(16)
        material = Secret(json.dumps({"kty": "oct", "k": secrets.token_urlsafe(32)}).encode())
        locator = store.allocate(kid, frozenset())
        store.put(locator, kid, material)
        if store.get(locator, kid) != material:
            raise StoreCorrupt(
                "it does not return the material that it took", hint="is another trial at work?"
            )
        store.put(locator, kid, material)
        store.destroy(locator, kid)
        if store.get(locator, kid) is not None:
            raise StoreCorrupt(
                "it still returns material that it was told to destroy",
                hint="no key would ever be gone from here; see its documentation on destroying",
            )

    def _document(self, documents: DocumentStore, name: str) -> None:
        first = Document(self._body(1), SCRATCH, 1)
        documents.write(name, first, replacing=None)
        token = _read(documents, name, first)
        second = replace(first, body=self._body(2), revision=2)
        documents.write(name, second, replacing=token)
        newer = _read(documents, name, second)
        _refused(lambda: documents.write(name, first, replacing=token), "document")
        _refused(lambda: documents.write(name, first, replacing=newer), "document")
        _read(documents, name, second)
        documents.delete(name)
        if documents.read(name) is not None:
            raise StoreCorrupt(
                f"it still returns {name}, which was removed", hint="is another trial at work?"
            )


def _begun(body: bytes) -> datetime:
    """Return when the trial that wrote this was begun."""
    try:
        said = json.loads(body)
        begun = datetime.fromisoformat(said["begun"]) if said["format"] == _FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        begun = None
    if begun is None or begun.tzinfo is None:
        raise StoreCorrupt(
            f"something is kept for the key set {SCRATCH} that no trial wrote",
            hint="the name is for trials alone: see what it is, and remove it",
        )
    return begun


def _read(documents: DocumentStore, name: str, wanted: Document) -> VersionToken | None:
    found = documents.read(name)
    if found is None or (found.body, found.key_set, found.revision) != (
        wanted.body,
        wanted.key_set,
        wanted.revision,
    ):
        raise StoreCorrupt(
            f"it does not return {name} as it took it", hint="is another trial at work?"
        )
    return found.token


def _refused(write: Callable[[], object], what: str) -> None:
    """Make sure that a stale write is refused: two replicas at once would lose a key otherwise."""
    try:
        write()
    except Conflict:
        return
    raise StoreCorrupt(
        f"it took a stale {what}: it does not compare before it sets",
        hint="let no two replicas rotate on it; is a proxy or a cache in between?",
    )


def _attempted(what: str, act: Callable[[], None]) -> Finding:
    try:
        act()
    except RotatorError as error:
        return _fault(what, error)
    return Finding("ok", what)


def _fault(what: str, error: RotatorError) -> Finding:
    return Finding("fault", f"{what}: {error.message}", hint=error.hint, exit_code=error.exit_code)
