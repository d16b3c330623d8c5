"""Writing what should be at the targets: publish what is new, deliver, publish what is gone.

In that order, whatever the reason: a signer is never given a key that verifiers were not given first,
and verifiers lose a key only after signers were given its successor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rotator.documents import jwks_document, signing_document, verification_document
from rotator.errors import Conflict, RotatorError, StoreCorrupt, TargetFailing
from rotator.fence import writing
from rotator.keys import KeyMaker
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy
from rotator.reconcile.look import Seen
from rotator.ring import Key, KeyRing, Phase
from rotator.secret import Secret
from rotator.stores import Document, MaterialStore

_MOST_CONFLICTS: Final = 5


@dataclass(frozen=True, slots=True)
class Written:
    """One document that was written: its target, kind, and the kids in it."""

    target: str
    kind: DocumentKind
    kids: tuple[str, ...]


@dataclass(slots=True)
class Mender:
    """Writes the documents of one ring.

    Attributes:
        fence: called before each write; raises `Conflict` when this tick has stalled for too long.
        in_time: the same question for the calls that one write is made of (`rotator.fence`).
        deferred: why a target that failed to take a write lately is not tried again yet, or None.
        look: looks at one target again, for the token of what was just written.
        wrote: by target, the revision written there in the last tick of this process; a target that
            shows something else now does not keep what it is given.
        conflicts: by target, how often in a row somebody else was faster.
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
    outrun: bool = False
    written: list[Written] = field(default_factory=list)
    failures: dict[str, RotatorError] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)
    _materials: dict[str, Secret] = field(default_factory=dict)

    def mend(self, seen: Sequence[Seen]) -> None:
        """Write what differs from what should be there.

        Raises:
            Conflict: this tick has stalled; nothing more is written.
        """
        writable = [item for item in seen if item.target.writable and item.sighting.answered]
        announcing = [i for i in writable if i.target.kind is not DocumentKind.SIGNING]
        signing = [i for i in writable if i.target.kind is DocumentKind.SIGNING]
        published = [self._attempt(item, self._publish_new) for item in announcing]
        for item in signing:
            self._attempt(item, self._deliver)
        for item in published:
            self._attempt(item, self._publish_gone)
        names = {entry.target for entry in self.written}
        for item in writable:
            if item.target.name not in names:
                self.wrote.pop(item.target.name, None)

    def _attempt(self, item: Seen, act: Callable[[Seen], Seen]) -> Seen:
        name = item.target.name
        if name in self.failures or item.sighting.foreign:
            return item
        try:
            return act(item)
        except Stalled:
            raise
        except Conflict as error:
            # Somebody else was faster: look again at once; but not for ever at one that always says so.
            self.conflicts[name] = self.conflicts.get(name, 0) + 1
            if self.conflicts[name] > _MOST_CONFLICTS:
                self.failures[name] = error
            else:
                self.outrun = True
            return item
        except RotatorError as error:
            self.failures[name] = error
            return item

    def _publish_new(self, item: Seen) -> Seen:
        """Add what is missing; what is revoked stays until signers had their chance of its successor."""
        wanted = self.ring.published
        if all(key.kid in item.sighting.kids for key in wanted):
            return item
        revoked = self.ring.in_phase(Phase.REVOKED)
        leaving = tuple(key for key in revoked if key.kid in item.sighting.kids)
        self._announce(item, wanted, leaving)
        return self.look(item)

    def _publish_gone(self, item: Seen) -> Seen:
        wanted = self.ring.published
        if not wanted or not self._differs(item, wanted):
            return item
        self._announce(item, wanted, ())
        return item

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

    def _announce(self, item: Seen, wanted: Sequence[Key], leaving: Sequence[Key]) -> None:
        if item.target.kind is DocumentKind.JWKS:
            document = jwks_document(self.ring, self.policy, leaving)
            self._write(item, document, (*wanted, *leaving))
            return
        pairs = [pair for key in (*wanted, *leaving) for pair in self._pair(key)]
        if not pairs:
            raise StoreCorrupt(
                f"the verification document of key set {self.ring.key_set} would be empty",
                hint="it is left as it is until there is a key with its material",
            )
        document = verification_document(self.ring, pairs, self.keys)
        self._write(item, document, [key for key, _ in pairs])

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

    def _deliver(self, item: Seen) -> Seen:
        active = self.ring.active
        if active is None:
            return item
        sighting = item.sighting
        drifted = bool(sighting.strangers) or sighting.drifted
        if sighting.kids == (active.kid,) and not drifted:
            return item
        document = signing_document(self.ring, active, self._material(active), self.keys)
        self._write(item, document, (active,))
        return item

    def _write(self, item: Seen, document: Document, keys: Sequence[Key]) -> None:
        name = item.target.name
        not_yet = self.deferred(name)
        if not_yet is not None:
            raise not_yet.with_traceback(None)
        again = name not in {entry.target for entry in self.written}
        if again and self.wrote.pop(name, None) == self.ring.revision:
            raise TargetFailing(
                f"{name} took revision {self.ring.revision} and shows something else",
                hint="another program may be writing there",
            )
        self.fence()
        token = item.document.token if item.document is not None else None
        with writing(self.in_time):
            item.target.write(document, replacing=token)
        self.wrote[name] = self.ring.revision
        self.conflicts.pop(name, None)
        kids = tuple(key.kid for key in keys)
        self.written.append(Written(name, item.target.kind, kids))

    def _material(self, key: Key) -> Secret:
        """Return a key's material, after comparing it with the ring's half: no foreign key is delivered."""
        if key.kid not in self._materials:
            found = self.material.get(key.locator, key.kid) if key.locator else None
            if found is None:
                raise StoreCorrupt(
                    f"the material of key {key.kid} of key set {self.ring.key_set} is missing",
                    hint="targets are left as they are; `rotator revoke "
                    f"{self.ring.key_set} {key.kid} --reason lost` replaces the key",
                )
            if not is_half_of(key, found, self.keys):
                raise StoreCorrupt(
                    f"the material stored for key {key.kid} of key set {self.ring.key_set} is "
                    "another key's",
                    hint="nothing was delivered; restore the material, or revoke the key",
                )
            self._materials[key.kid] = found
        return self._materials[key.kid]


class Stalled(Conflict):
    """This process stood still between its load and a write: what it knows is too old to write."""


def is_half_of(key: Key, material: Secret, keys: KeyMaker) -> bool:
    """True when the public half inside the material is the ring's; no signature is made for it."""
    try:
        jwk = keys.private_jwk(key, material)
    except ValueError:
        return False
    if key.kind.symmetric:
        return keys.matches(key, dict(jwk))
    return all(jwk.get(name) == value for name, value in (key.public or {}).items())
