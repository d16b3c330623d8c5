"""A key set on paper: everything is read for real, everything written is only remembered.

`rotate --dry-run` and `due` run the real tick over these walls, so that they cannot say anything else
than what would be done. Probes are real: what would be published does not show at them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rotator.algorithms import PUBLIC_MEMBERS, Kind
from rotator.errors import Conflict
from rotator.keys import KeyMaker, NewKey
from rotator.observed import DocumentKind
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit, Memory, Site
from rotator.ring import Key
from rotator.secret import Secret
from rotator.stores import (
    Document,
    MaterialStore,
    RingStore,
    Sight,
    Stored,
    Target,
    Version,
    VersionToken,
)


def on_paper(site: Site, emit: Emit) -> tuple[Site, Callable[[timedelta], None]]:
    """Return a key set that is never written to, and a pause that does not wait.

    New keys are called `new-1`, `new-2`, …; none is really made.
    """
    clock = PaperClock(site.clock)
    paper = replace(
        site,
        rings=PaperRings(site.rings),
        material=PaperMaterial(site.material),
        targets=tuple(PaperTarget(target) for target in site.targets),
        keys=PaperKeys(site.keys),
        clock=clock,
        emit=emit,
        memory=Memory(),
    )
    return paper, clock.wait


class PaperClock:
    """The host's clock, moved on by every wait."""

    def __init__(self, real: Clock) -> None:
        self._real = real
        self._waited = timedelta(0)

    def now(self) -> datetime:
        """Return the wall clock and what was waited."""
        return self._real.now() + self._waited

    def elapsed(self) -> timedelta:
        """Return the time since boot and what was waited."""
        return self._real.elapsed() + self._waited

    def wait(self, duration: timedelta) -> None:
        """Let time pass."""
        self._waited += duration


class PaperRings:
    """The ring as it is, until it would be saved; from then on as it would be."""

    def __init__(self, real: RingStore) -> None:
        self._real = real
        self._saved: Stored | None = None

    def load(self) -> Stored | None:
        """Return the ring; raises as the real store does."""
        return self._saved or self._real.load()

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Remember a ring."""
        present = self.load()
        if (present.version if present else None) != replacing:
            raise Conflict("the ring changed meanwhile")
        count = 1 + int(self._saved.version.rpartition("-")[2] if self._saved else 0)
        self._saved = Stored(document, Version(f"paper-{count}"))
        return self._saved.version


class PaperMaterial:
    """Material as it is, with what would be put and without what would be destroyed."""

    def __init__(self, real: MaterialStore) -> None:
        self._real = real
        self._changed: dict[tuple[str, str], Secret | None] = {}

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a locator, as the real store does."""
        return self._real.allocate(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Remember material."""
        self._changed[locator, kid] = material

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return material; raises as the real store does."""
        if (locator, kid) in self._changed:
            return self._changed[locator, kid]
        return self._real.get(locator, kid)

    def destroy(self, locator: str, kid: str) -> None:
        """Remember that it would be gone."""
        self._changed[locator, kid] = None


class PaperTarget:
    """A target as it is, until it would be written; from then on as it would be."""

    def __init__(self, real: Target) -> None:
        self._real = real
        self._written: Document | None = None
        self._count = 0

    @property
    def name(self) -> str:
        """The target's name."""
        return self._real.name

    @property
    def kind(self) -> DocumentKind:
        """The target's kind."""
        return self._real.kind

    @property
    def writable(self) -> bool:
        """Whether the target would be written at all."""
        return self._real.writable

    @property
    def independent(self) -> bool:
        """Whether it is read by another way than the ring."""
        return self._real.independent

    def look(self) -> Sight:
        """Return what is there, or would be; raises as the target does."""
        return self._real.look() if self._written is None else Sight(self._written)

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Remember a document."""
        present = self.look().document
        if (present.token if present else None) != replacing:
            raise Conflict(f"{self.name} changed meanwhile")
        self._count += 1
        self._written = replace(document, token=VersionToken(f"paper-{self._count}"))


@dataclass(slots=True)
class PaperKeys:
    """Makes keys that are none; handles real ones as the real maker does."""

    real: KeyMaker
    count: int = 0

    def make(self, kind: Kind) -> NewKey:
        """Return a name for a key."""
        self.count += 1
        kid = f"new-{self.count}"
        if kind.symmetric:
            return NewKey(kid, kind, None, "paper", Secret(b""))
        public = {"kty": kind.kty} | dict.fromkeys(PUBLIC_MEMBERS[kind.kty], kid)
        return NewKey(kid, kind, public, None, Secret(b""))

    def proves(self, key: Key, material: Secret) -> bool:
        """Test real material; a new key is taken for good."""
        return not material.reveal() or self.real.proves(key, material)

    def private_jwk(self, key: Key, material: Secret) -> dict[str, Any]:
        """Return the JWK of real material, and an empty one of a new key."""
        if material.reveal():
            return self.real.private_jwk(key, material)
        public = dict(key.public or {"kty": "oct"})
        return {**public, "kid": key.kid, "use": "sig", "alg": key.algorithm}

    def pem(self, key: Key, material: Secret) -> str | None:
        """Return the PEM of real material only."""
        return self.real.pem(key, material) if material.reveal() else None

    def matches(self, key: Key, jwk: dict[str, Any]) -> bool:
        """Compare with the ring's half; a new key is what it is called."""
        if key.check == "paper":
            return jwk.get("kid") == key.kid
        return self.real.matches(key, jwk)

    def verifies(self, key: Key, token: Secret) -> bool:
        """Verify with the public half of a real key; nobody signs with one on paper."""
        return self.real.verifies(key, token)

    def check(self, kid: str, material: Secret) -> str | None:
        """Return the `check` of real material."""
        return self.real.check(kid, material)
