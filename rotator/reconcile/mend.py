"""Writing what should be at the targets: publish what is new, deliver, publish what is gone.

In that order, whatever the reason: a signer is never given a key that verifiers were not given first,
and verifiers lose a key only after signers were given its successor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

from rotator.documents import jwks_document, signing_document, verification_document
from rotator.errors import Conflict, RotatorError, StoreCorrupt, TargetFailing
from rotator.fence import writing
from rotator.keys import KeyMaker
from rotator.objects import Purged
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, format_duration
from rotator.reconcile.look import Seen
from rotator.reconcile.material import read_material
from rotator.reconcile.together import Bound, Once, Spread, one_by_one
from rotator.ring import Key, KeyRing, Phase
from rotator.secret import Secret
from rotator.stores import Document, MaterialStore

_MOST_CONFLICTS: Final = 5


@dataclass(frozen=True, slots=True)
class Written:
    """One document that was written: its target, kind, and the kids in it.

    `purged` is what became of caches that had to be told of a revoked key; None where there was none to tell.
    """

    target: str
    kind: DocumentKind
    kids: tuple[str, ...]
    purged: Purged | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one target in one phase: as it is known now, what was written, why it failed."""

    item: Seen
    written: Written | None = None
    error: RotatorError | None = None


Write = Callable[[], Tried]


@dataclass(slots=True)
class Mender:
    """Writes the documents of one ring, those of one phase at the same time.

    The thread that calls `mend` decides what is to be written, and takes down what became of it; others
    only write. Whoever is not waited for any more changes nothing here.

    Attributes:
        fence: called before each write; raises `Conflict` when this tick has stalled for too long.
        in_time: the same question for the calls that one write is made of (`rotator.fence`).
        deferred: why a target that failed to take a write lately is not tried again yet, or None.
        look: looks at one target again, for the token of what was just written.
        wrote: by target, the revision written there in the last tick of this process; a target that
            shows something else now does not keep what it is given.
        conflicts: by target, how often in a row somebody else was faster.
        spread: whether the targets of one phase are written one by one or at the same time.
        patience: how long a phase is waited for, where an emergency bounds that; None: as long as it takes.
        outrun: somebody else was faster in this tick.
        written: what was written.
        failures: by target, what went wrong; one failing target never keeps another waiting.
        unfit: pending keys that could not be announced because their material is not theirs (rule 3).
    """

    ring: KeyRing
    policy: RotationPolicy
    material: MaterialStore
    keys: KeyMaker
    fence: Callable[[], None]
    in_time: Callable[[], bool]
    deferred: Callable[[str], RotatorError | None]
    look: Callable[[Seen], Seen]
    wrote: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    spread: Spread = one_by_one
    patience: timedelta | None = None
    outrun: bool = False
    written: list[Written] = field(default_factory=list)
    failures: dict[str, RotatorError] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)
    _materials: Once[Secret] = field(default_factory=Once)
    _signing: Once[Document] = field(default_factory=Once)

    def mend(self, seen: Sequence[Seen]) -> None:
        """Write what differs from what should be there.

        Raises:
            Conflict: this tick has stalled; nothing more is written.
        """
        writable = [item for item in seen if item.target.writable and item.sighting.answered]
        announcing = [i for i in writable if i.target.kind is not DocumentKind.SIGNING]
        signing = [i for i in writable if i.target.kind is DocumentKind.SIGNING]
        published = self._phase(announcing, self._publish_new)
        self._phase(signing, self._deliver)
        self._phase(published, self._publish_gone)
        names = {entry.target for entry in self.written}
        for item in writable:
            if item.target.name not in names:
                self.wrote.pop(item.target.name, None)

    def _phase(
        self, items: Sequence[Seen], decide: Callable[[Seen], Write | None]
    ) -> Sequence[Seen]:
        """Write what one phase has to write, and return what is known of every target after it."""
        writes: list[tuple[Seen, Write]] = []
        for item in items:
            if item.target.name in self.failures or item.sighting.foreign:
                continue
            try:
                write = decide(item)
            except RotatorError as error:
                self.failures[item.target.name] = error
            else:
                if write is not None:
                    writes.append((item, write))
        bound = Bound(self.patience, self._late) if self.patience is not None else None
        tried = {t.item.target.name: t for t in self.spread(_carry_out, writes, bound)}
        for one in tried.values():
            self._take_down(one)
        for one in tried.values():
            if isinstance(one.error, Stalled):
                raise one.error
        return [tried[name].item if (name := item.target.name) in tried else item for item in items]

    def _take_down(self, tried: Tried) -> None:
        name, error = tried.item.target.name, tried.error
        if tried.written is not None:
            self.wrote[name] = self.ring.revision
            self.conflicts.pop(name, None)
            self.written.append(tried.written)
        elif isinstance(error, Conflict) and not isinstance(error, Stalled):
            # Somebody else was faster: look again at once; but not for ever at one that always says so.
            self.conflicts[name] = self.conflicts.get(name, 0) + 1
            if self.conflicts[name] > _MOST_CONFLICTS:
                self.failures[name] = error
            else:
                self.outrun = True
        elif error is not None:
            self.failures[name] = error

    def _late(self, job: tuple[Seen, Write]) -> Tried:
        item, _ = job
        waited = format_duration(self.patience or timedelta())
        error = TargetFailing(
            f"{item.target.name} did not take what was written to it within {waited}",
            hint="nothing else waits for it; whether it took it is for the next look",
        )
        return Tried(item, error=error)

    def _publish_new(self, item: Seen) -> Write | None:
        """Add what is missing; what is revoked stays until signers had their chance of its successor."""
        wanted = self.ring.published
        if all(key.kid in item.sighting.kids for key in wanted):
            return None
        revoked = self.ring.in_phase(Phase.REVOKED)
        leaving = tuple(key for key in revoked if key.kid in item.sighting.kids)
        return partial(self._announce, item, wanted, leaving, self.look)

    def _publish_gone(self, item: Seen) -> Write | None:
        wanted = self.ring.published
        if not wanted or not self._differs(item, wanted):
            return None
        return partial(self._announce, item, wanted, ())

    def _differs(self, item: Seen, wanted: Sequence[Key]) -> bool:
        document, sighting = item.document, item.sighting
        if document is None or sighting.strangers or sighting.drifted:
            return True
        if {key.kid for key in wanted} != set(sighting.kids):
            return True
        if item.target.kind is DocumentKind.VERIFICATION:
            return False
        should = jwks_document(self.ring, self.policy)
        lifetimes = (document.max_age, document.stale) != (should.max_age, should.stale)
        return document.body != should.body or lifetimes

    def _announce(
        self,
        item: Seen,
        wanted: Sequence[Key],
        leaving: Sequence[Key],
        look: Callable[[Seen], Seen] | None = None,
    ) -> Tried:
        """Write what verifiers are told, and `look` at it where it is to be written once more in this tick."""
        if item.target.kind is DocumentKind.JWKS:
            document = jwks_document(self.ring, self.policy, leaving)
            document = replace(document, revoked=_revoked(self.ring))
            told: Sequence[Key] = (*wanted, *leaving)
        else:
            document, told = self._verification(wanted, leaving)
        written = self._write(item, document, told)
        return Tried(look(item) if look is not None else item, written)

    def _verification(
        self, wanted: Sequence[Key], leaving: Sequence[Key]
    ) -> tuple[Document, Sequence[Key]]:
        pairs = [pair for key in (*wanted, *leaving) for pair in self._pair(key)]
        if not pairs:
            raise StoreCorrupt(
                f"the verification document of key set {self.ring.key_set} would be empty",
                hint="it is left as it is until there is a key with its material",
            )
        document = verification_document(self.ring, pairs, self.keys)
        return document, [key for key, _ in pairs]

    def _pair(self, key: Key) -> Iterator[tuple[Key, Secret]]:
        """Yield a key with its material.

        A key that never signed, or is revoked, must not keep the others from verifiers.
        """
        try:
            yield key, self._material(key)
        except StoreCorrupt:
            if key.phase is Phase.PENDING:
                self.unfit.append(key.kid)
            elif key.phase is not Phase.REVOKED:
                raise

    def _deliver(self, item: Seen) -> Write | None:
        active = self.ring.active
        if active is None:
            return None
        sighting = item.sighting
        drifted = bool(sighting.strangers) or sighting.drifted
        if sighting.kids == (active.kid,) and not drifted:
            return None
        return partial(self._hand_over, item, active)

    def _hand_over(self, item: Seen, active: Key) -> Tried:
        def make() -> Document:
            return signing_document(self.ring, active, self._material(active), self.keys)

        return Tried(item, self._write(item, self._signing.get(active.kid, make), (active,)))

    def _write(self, item: Seen, document: Document, keys: Sequence[Key]) -> Written:
        name = item.target.name
        not_yet = self.deferred(name)
        if not_yet is not None:
            raise not_yet.with_traceback(None)
        again = name not in {entry.target for entry in self.written}
        if again and self.wrote.get(name) == self.ring.revision:
            raise TargetFailing(
                f"{name} took revision {self.ring.revision} and shows something else",
                hint="another program may be writing there",
            )
        self.fence()
        token = item.document.token if item.document is not None else None
        with writing(self.in_time):
            purged = item.target.write(document, replacing=token)
        return Written(name, item.target.kind, tuple(key.kid for key in keys), purged)

    def _material(self, key: Key) -> Secret:
        read = partial(read_material, self.material, self.ring, key, self.keys)
        return self._materials.get(key.kid, read)


def _revoked(ring: KeyRing) -> frozenset[str]:
    """Return every kid that is known to be revoked: a target may hear of it long after the key was destroyed."""
    told = {entry.kid for entry in ring.history if entry.event == "key.revoked"}
    return frozenset(told.union(key.kid for key in ring.in_phase(Phase.REVOKED)))


def _carry_out(job: tuple[Seen, Write]) -> Tried:
    item, write = job
    try:
        return write()
    except RotatorError as error:
        return Tried(item, error=error)


class Stalled(Conflict):
    """This process stood still between its load and a write: what it knows is too old to write."""
