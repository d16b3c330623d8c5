"""A key set over memory with many targets, written at the same time, some of which hang, wait or count."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from rotator.algorithms import kind_of
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy
from rotator.reconcile.settle import Settled, settle
from rotator.reconcile.site import Site
from rotator.reconcile.together import Spread, together
from rotator.rehearsal.clocks import Host, HostClock, TrueTime
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.toykeys import ToyKeys
from rotator.rehearsal.walls import MemoryStore, MemoryTarget, Place
from rotator.ring import KeyRing, Phase
from rotator.ring_document import read_ring
from rotator.secret import Secret
from rotator.stores import Document, MaterialStore, Sight, VersionToken

BOUND: Final = 60.0  # seconds; nothing here waits for time to pass
DAY: Final = timedelta(days=1)
POLICY: Final = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=5)
)
HMAC: Final = RotationPolicy(
    kind_of("HS256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=5)
)


@dataclass
class Watched:
    """A target of which is known how often it was looked at and written, and that can be made to do more first."""

    real: MemoryTarget
    looks: int = 0
    writes: int = 0
    before_look: Callable[[], object] = lambda: None
    before_write: Callable[[Document], object] = lambda _document: None

    @property
    def name(self) -> str:
        """As the real one's."""
        return self.real.name

    @property
    def kind(self) -> DocumentKind:
        """As the real one's."""
        return self.real.kind

    @property
    def writable(self) -> bool:
        """As the real one's."""
        return self.real.writable

    @property
    def independent(self) -> bool:
        """As the real one's."""
        return self.real.independent

    def look(self) -> Sight:
        """Count it, do what is to be done before, and look."""
        self.looks += 1
        self.before_look()
        return self.real.look()

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """The same for a write."""
        self.writes += 1
        self.before_write(document)
        self.real.write(document, replacing=replacing)


@dataclass
class CountedMaterial:
    """Material of which is known how often each key's was read, and that can be made to do more first."""

    real: MaterialStore
    reads: Counter[str] = field(default_factory=Counter)
    before_get: Callable[[], object] = lambda: None

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """As the real one."""
        return self.real.allocate(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """As the real one."""
        self.real.put(locator, kid, material)

    def get(self, locator: str, kid: str) -> Secret | None:
        """Count it."""
        self.reads[kid] += 1
        self.before_get()
        return self.real.get(locator, kid)

    def destroy(self, locator: str, kid: str) -> None:
        """As the real one."""
        self.real.destroy(locator, kid)


class Ground:
    """A key set with some publications and signing targets.

    Args:
        signing: how many signing targets.
        announcing: how many publications (HMAC: verification documents).
    """

    def __init__(
        self,
        signing: int = 3,
        announcing: int = 2,
        *,
        policy: RotationPolicy = POLICY,
        spread: Spread = together,
    ) -> None:
        self.true = TrueTime()
        self.store = MemoryStore(self.true)
        self.host = Host("host", self.true)
        self.gate = Gate()
        kind = DocumentKind.VERIFICATION if policy.kind.symmetric else DocumentKind.JWKS
        self.published = [Place(f"set-{n}", kind) for n in range(announcing)]
        self.held = [Place(f"signer-{n}", DocumentKind.SIGNING) for n in range(signing)]
        self.targets = [
            Watched(MemoryTarget(place, self.gate)) for place in (*self.published, *self.held)
        ]
        login = self.store.login(self.gate)
        self.material = CountedMaterial(login.material("web"))
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.site = Site(
            "web",
            policy,
            login.rings("web"),
            self.material,
            tuple(self.targets),
            ToyKeys(),
            HostClock(self.host, self.gate),
            self._emit,
            spread=spread,
        )

    def _emit(self, level: str, event: str, **fields: Any) -> None:
        del level
        self.events.append((event, fields))

    def target(self, name: str) -> Watched:
        """Return a target by its name."""
        return next(target for target in self.targets if target.name == name)

    def settle(self) -> Settled:
        """Tick until nothing changes."""
        return settle(self.site, self.true.advance)

    def after(self, duration: timedelta) -> Settled:
        """Let time pass in days, ticking at each."""
        while duration > DAY:
            self.true.advance(DAY)
            self.settle()
            duration -= DAY
        self.true.advance(duration)
        return self.settle()

    @property
    def ring(self) -> KeyRing:
        """The ring in the store."""
        document = self.store.shelf("web").ring
        assert document is not None
        return read_ring(document, key_set="web")

    def kid(self, phase: Phase) -> str:
        """The kid of the only key in a phase."""
        (key,) = self.ring.in_phase(phase)
        return key.kid

    def kids_at(self, place: Place) -> list[str]:
        """The kids in the document at a place."""
        if place.document is None:
            return []
        found = json.loads(place.document.body)
        return [found["kid"]] if "kid" in found else [jwk["kid"] for jwk in found["keys"]]


def all_ended() -> None:
    """Wait for the threads of `together` to end, those that were not waited for among them."""
    for thread in threading.enumerate():
        if thread.name == "target":
            thread.join(BOUND)
            assert not thread.is_alive()


class Hanging:
    """What does not return before it is let go, and says when somebody came."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self._free = threading.Event()

    def __call__(self, *_: object) -> None:
        """Hang."""
        self.came.set()
        assert self._free.wait(BOUND)

    def let_go(self) -> None:
        """End it, for everybody who hangs and whoever comes later."""
        self._free.set()
