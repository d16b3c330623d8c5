"""Who takes part in a rehearsal: what is configured, and the daemons that run it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final

from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy
from rotator.rehearsal.clocks import START
from rotator.rehearsal.simulate_tally import CountedMaterial, CountedRings, CountedTarget, Tally
from rotator.rehearsal.world import Process, World
from rotator.rehearsal.world import Settings as Configured
from rotator.settings import (
    DeliverSettings,
    DocumentSettings,
    PublishSettings,
    Settings,
    TargetSettings,
)

ELSEWHERE: Final = "a server elsewhere"
"""A server that follows the ring, and that nobody of us writes to."""

_LEAST: Final = timedelta(seconds=2)  # the write window is half of it, and must not be nothing


@dataclass(frozen=True, slots=True)
class Spot:
    """One target of the configuration: what people call it, what belongs there, and which store it lies in.

    `store` is `own` for the key set's own store, `other` for another one, empty for everything else.
    """

    name: str
    kind: DocumentKind
    store: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: the configuration of one key set as far as a rehearsal needs it.

    Attributes:
        policy: as signers, caches and verifiers really are.
        told: the policy that the program is configured with; differs where something is understated.
        probed: the publications that a probe looks at, by name.
        servers: a server elsewhere follows the ring that nobody looks at.
        replicas: how many daemons there are.
    """

    key_set: str
    policy: RotationPolicy
    spots: tuple[Spot, ...]
    backend: str = "file"
    told: RotationPolicy | None = None
    probed: tuple[str, ...] = ()
    servers: bool = False
    replicas: int = 2


@dataclass(slots=True)
class Replica(Process):
    """A daemon, and what is about to befall it.

    Attributes:
        wake: true time of its next tick; a resting one wakes earlier when something changes.
        rests_since: since when all that its ticks could find is what they found.
        ill: its clock leapt, and it knows.
        crash_at, pause_at: at which passage its next tick dies, or stands still for `paused_for`.
        goes_on_at: when a tick that stands still goes on.
    """

    tally: Tally = field(kw_only=True)
    wake: datetime = START
    rests_since: datetime | None = None
    ill: bool = False
    crash_at: int | None = None
    pause_at: int | None = None
    paused_for: timedelta = timedelta(0)
    goes_on_at: datetime | None = None
    in_a_row: int = 0
    failures: int = 0

    def restart(self) -> None:
        """Begin anew with an empty memory, on walls that count."""
        Process.restart(self)  # not super(): a class with slots is made anew
        self.site.rings = CountedRings(self.site.rings, self.tally)
        self.site.material = CountedMaterial(self.site.material, self.tally)

    def configure(self, settings: Configured) -> None:
        """Reload the configuration; documents in the key set's own store are counted."""
        Process.configure(self, settings)
        places, store = self.world.places, self.world.store
        self.site.targets = tuple(
            CountedTarget(target, self.tally)
            if target.writable and places[target.name].home is store
            else target
            for target in self.site.targets
        )

    @property
    def idle_look(self) -> Counter[str]:
        """What a look that finds nothing asks of the key set's own store."""
        places, store = self.world.places, self.world.store
        documents = sum(places[name].home is store for name in self.settings.targets)
        return Counter({"load": 1, "read": documents})


class Named(World):
    """A world around a key set of any name, that forgets its events."""

    def __init__(self, key_set: str, policy: RotationPolicy, seed: int, kind: str) -> None:
        self.key_set = key_set
        super().__init__(policy, seed, kind)

    def emit(self, level: str, event: str, **fields: object) -> None:
        """Let an event go by."""


@dataclass(frozen=True, slots=True)
class Literal(RotationPolicy):
    """A policy whose `propagation` and `grace` are taken at their word, below their floors too.

    The program itself waits for the floors whatever is configured; this shows what for.
    """

    @property
    def propagation_wait(self) -> timedelta:
        """How long a key must stand announced before it may sign: what is configured, and no more."""
        return max(self.propagation, _LEAST)

    @property
    def grace_wait(self) -> timedelta:
        """How long a superseded key must stay published: what is configured, and no more."""
        return max(self.grace_floor if self.grace is None else self.grace, _LEAST)


def literal(policy: RotationPolicy) -> Literal:
    """Return a policy that is taken at its word."""
    return Literal(**{item.name: getattr(policy, item.name) for item in fields(policy)})


def cast_of(settings: Settings, name: str, *, replicas: int, unsafe: bool = False) -> Cast:
    """Return who takes part when a configured key set is rehearsed.

    Args:
        unsafe: the durations are taken at their word, below their floors too.
    """
    configured = settings.key_sets[name]
    policy = configured.policy
    spots = [_spot(item, configured.store) for item in (*configured.deliver, *configured.publish)]
    if settings.server is not None and not policy.kind.symmetric:
        spots.append(Spot("server", DocumentKind.JWKS))
    announcing = [spot.name for spot in spots if spot.kind is DocumentKind.JWKS]
    # What only a probe sees is what somebody else's server serves.
    elsewhere = not announcing and bool(configured.probes)
    probed = (announcing or [ELSEWHERE])[:1] if configured.probes else []
    return Cast(
        name,
        policy,
        tuple(spots),
        settings.stores[configured.store].backend,
        literal(policy) if unsafe else None,
        tuple(probed),
        servers=elsewhere or settings.server is not None,
        replicas=replicas,
    )


def _spot(item: TargetSettings, store: str) -> Spot:
    if isinstance(item, DocumentSettings):
        where = "own" if item.store == store else "other"
        whose = f".{item.verifier}" if item.verifier else ""
        return Spot(f"store:{item.store}/{item.document}{whose}", item.document, where)
    if isinstance(item, DeliverSettings):
        return Spot(f"files:{item.path}", item.document)
    if isinstance(item, PublishSettings):
        return Spot(f"file:{item.path}", DocumentKind.JWKS)
    return Spot(item.address, item.document)
