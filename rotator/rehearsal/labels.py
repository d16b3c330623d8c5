"""A server after AWS Secrets Manager: versions under labels, and names that stay blocked after their end.

A version is named by whoever puts it, and never changes. What counts is where the label `current` is; it is
moved from the version that the mover names, or not at all. (`VersionStages`, `ClientRequestToken` and
`UpdateSecretVersionStage` in the API reference of AWS Secrets Manager.)
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rotator.errors import Conflict, StoreCorrupt
from rotator.rehearsal.elsewhere import Elsewhere, Way
from rotator.rehearsal.faults import Fault
from rotator.rehearsal.objects import Kept, Refused, Value
from rotator.rehearsal.pauses import Gate

_UNLABELLED: Final = 10  # versions without a label that are kept; AWS keeps about a hundred


class Blocked(Refused):
    """The name is scheduled for deletion."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One secret: its versions by their names, and where its labels are."""

    versions: Mapping[str, Value]
    current: str
    staged: str = ""
    blocked: bool = False


class LabelStore(Elsewhere):
    """The server."""

    faults = (*Elsewhere.faults, Fault.STALE)

    def way(self, gate: Gate) -> Way:
        """Return one process's way to this server."""
        return LabelWay(self, gate)

    def current(self, name: str) -> Value:
        """Return what the label is at."""
        found: Labelled | None = self.objects.get(name)
        return None if found is None or found.blocked else found.versions[found.current]

    def traces(self, name: str) -> Iterator[Value]:
        """Yield every version; a secret scheduled for deletion counts as destroyed."""
        found: Labelled = self.objects[name]
        yield from () if found.blocked else found.versions.values()

    def by_hand(self, name: str, value: Value) -> None:
        """Make a secret of one version, or take it away."""
        self.writes += 1
        token = f"hand-{self.writes}"
        self.change(name, None if value is None else Labelled({token: value}, token))

    def create(self, name: str, token: str, value: Value) -> None:
        """CreateSecret: the same again is no harm."""
        found: Labelled | None = self.objects.get(name)
        if found is None:
            self.change(name, Labelled({token: value}, token))
        elif found.blocked:
            raise Blocked
        elif found.versions.get(token) != value:
            raise Refused

    def stage(self, name: str, token: str, value: Value) -> None:
        """PutSecretValue with a label of its own: `current` stays where it is."""
        found = self._there(name)
        if found.versions.get(token, value) != value:
            raise Refused
        kept = [(t, v) for t, v in found.versions.items() if t in (found.current, found.staged)]
        loose = [(t, v) for t, v in found.versions.items() if (t, v) not in kept]
        versions = {**dict(loose[-_UNLABELLED:]), **dict(kept), token: value}
        self.change(name, replace(found, versions=versions, staged=token))

    def flip(self, name: str, token: str, base: str) -> None:
        """UpdateSecretVersionStage: move `current` to a version, if it is at the base that is named."""
        found = self._there(name)
        if found.current != base or token not in found.versions:
            raise Refused
        self.change(name, replace(found, current=token))

    def get(self, name: str) -> tuple[Value, str] | None:
        """GetSecretValue(VersionStage=current); None for a name that is not found."""
        found: Labelled | None = self.seen(name)
        if found is None:
            return None
        if found.blocked:
            raise Blocked
        return found.versions[found.current], found.current

    def delete(self, name: str) -> None:
        """DeleteSecret: nobody reads it any more, and the name stays blocked for its recovery window."""
        self.change(name, replace(self._there(name), blocked=True))

    def _there(self, name: str) -> Labelled:
        found: Labelled | None = self.objects.get(name)
        if found is None:
            raise Refused
        if found.blocked:
            raise Blocked
        return found


class LabelWay(Way):
    """How the server is used so that of many writers one wins, and knows it."""

    store: LabelStore

    def head(self, name: str) -> tuple[Value, str] | None:
        """Return the current version; nothing for a name that is blocked."""
        try:
            return self.read(lambda: self.store.get(name))
        except Blocked:
            return None, "blocked"

    def replace(self, name: str, value: Value, replacing: str | None, nonce: str) -> str:
        """Stage a version, then move the label from the base; the version's name follows from both."""
        del (
            nonce
        )  # a name that anybody would give to the same version makes the step harmless to repeat
        token = self.token(value, replacing)
        try:
            if replacing is None:
                self.write(lambda: self.store.create(name, token, value))
            else:
                self.write(lambda: self.store.stage(name, token, value))
                self.write(lambda: self.store.flip(name, token, replacing))
        except Blocked as error:
            raise StoreCorrupt(f"{name} is scheduled for deletion") from error
        except Refused:
            found = self.head(name)
            if found is None or found[1] != token:
                raise Conflict(f"{name} was changed by somebody else") from None
        return token

    def token(self, value: Value, replacing: str | None) -> str:
        """Return the name of a version: a digest of what is in it and of what it replaces."""
        kid, content = (
            (value.kid, value.material.reveal()) if isinstance(value, Kept) else ("", value)
        )
        digest = hashlib.sha256(f"{replacing}\n{kid}\n".encode() + (content or b""))
        return digest.hexdigest()

    def erase(self, name: str, kid: str) -> None:
        """Delete the secret, if it is this kid's."""
        self.step(lambda: self._erase(name, kid))

    def _erase(self, name: str, kid: str) -> None:
        found = self.head(name)
        # Not found is no proof that nothing is there, and no other key's material ever is.
        if found is None or not isinstance(found[0], Kept) or found[0].kid == kid:
            with contextlib.suppress(Refused):  # what was read was old: it is deleted already
                self.write(lambda: self.store.delete(name), destroys=True)
