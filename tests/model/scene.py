"""A random world for the model: its policy, its places, its processes, made from one number."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from rotator.algorithms import Kind, kind_of
from rotator.observed import DocumentKind
from rotator.policy import ZERO, RotationPolicy, Standby, broken_clauses
from rotator.rehearsal.walls import KINDS, AnyStore, MemoryStore, Place, VoidStore
from rotator.rehearsal.world import Process, Settings, World
from rotator.windows import Freeze, Opening, Windows

_ASYMMETRIC = (kind_of("RS256", 2048), kind_of("RS256", 3072), kind_of("RS512", 2048))
_MIXED = (*_ASYMMETRIC, kind_of("ES256"), kind_of("EdDSA"))
_SYMMETRIC = (kind_of("HS256"), kind_of("HS512"))


def every(minutes: int, lasting: int) -> tuple[Opening, ...]:
    """Return what opens every so many minutes of each day, for so many."""
    starts = range(7, 24 * 60, minutes)
    return tuple(Opening(tuple(range(7)), start, (start + lasting) % (24 * 60)) for start in starts)


# Hours of real windows in minutes: the time scale of the model's policies. DST days are not far.
_WINDOWS = (
    Windows(every(60, 20), zone="Europe/Berlin"),
    Windows(every(180, 30), (Freeze((1, 2), (1, 2)),), "America/New_York"),
    Windows(every(25, 12)),
)


def seconds(value: float) -> timedelta:
    """Return a duration of so many seconds."""
    return timedelta(seconds=value)


def tight(policy: RotationPolicy, **slack: timedelta) -> RotationPolicy:
    """Return a policy whose durations are exactly at the floors of the contract, or `slack` above."""
    policy = replace(policy, grace=None, propagation=ZERO)
    grace = policy.grace_floor + slack.get("grace", ZERO)
    policy = replace(policy, propagation=policy.propagation_floor + slack.get("propagation", ZERO))
    every = policy.rotate_every_floor + slack.get("rotate_every", ZERO)
    policy = replace(policy, rotate_every=every, grace=grace if slack.get("grace") else None)
    return replace(policy, max_keys=max(policy.max_keys, policy.overlap))


@dataclass(slots=True)
class Scene:
    """A world, and what whoever plays it has to remember.

    Attributes:
        wanted: the configuration that every process will have in the end.
        joining: new publications that nobody reads yet.
        raising: real durations that will be raised once the ring says so.
        jumped: processes whose clock is wrong in a way that only their memory can tell.
        removed: signing targets that left the configuration and may still be read.
        old_rings: rings for a restored backup.
    """

    world: World
    wanted: Settings
    kinds: tuple[Kind, ...]
    skew: timedelta
    joining: list[str] = field(default_factory=list)
    raising: dict[str, timedelta] = field(default_factory=dict)
    jumped: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    old_rings: list[bytes] = field(default_factory=list)
    steps: int = 0
    numbered: int = 0

    @property
    def announcing_kind(self) -> DocumentKind:
        """Where verifiers learn of keys."""
        symmetric = self.wanted.policy.kind.symmetric
        return DocumentKind.VERIFICATION if symmetric else DocumentKind.JWKS

    def places(self, *kinds: DocumentKind) -> list[Place]:
        """Return the configured places of some kinds."""
        names = self.wanted.targets
        return [p for p in self.world.places.values() if p.kind in kinds and p.name in names]

    def free(self) -> list[Process]:
        """Return the processes that are not in the midst of something."""
        return [process for process in self.world.processes if process.work is None]

    def standing(self) -> list[Process]:
        """Return the processes that stand still in the midst of something."""
        return [process for process in self.world.processes if process.work is not None]

    def steady(self) -> list[Process]:
        """Return the processes whose host has a good clock."""
        return [process for process in self.world.processes if process.name not in self.jumped]


def make_scene(seed: int) -> Scene:
    """Make a scene: everything about it follows from the seed."""
    rng = random.Random(seed)
    kinds = rng.choice((_ASYMMETRIC, _ASYMMETRIC, _MIXED, _SYMMETRIC))
    policy = random_policy(rng, kinds)
    kind = rng.choice(sorted(KINDS))
    world = World(policy, seed, kind)
    store = world.store
    store.witness = rng.random() < 0.4
    make_room(store, policy)
    if isinstance(store, MemoryStore):
        store.numbered = rng.random() < 0.5
    announcing = DocumentKind.VERIFICATION if kinds is _SYMMETRIC else DocumentKind.JWKS
    names = []
    for number in range(rng.choice((1, 1, 2))):
        conditional = rng.random() < 0.8
        names.append(
            world.place(f"{announcing}-{number}", announcing, conditional=conditional).name
        )
    for number in range(rng.choice((1, 1, 2))):
        conditional = rng.random() < 0.8
        place = world.place(
            f"signing-{number}",
            DocumentKind.SIGNING,
            conditional=conditional,
            home=some_home(rng, world),
        )
        names.append(place.name)
    probes: tuple[str, ...] = ()
    if announcing is DocumentKind.JWKS:
        probes = tuple(name for name in names if name.startswith("jwks") and rng.random() < 0.5)
        if rng.random() < 0.4:
            world.follower("elsewhere")
    signers = some_issuers(rng, world, policy)
    settings = Settings(policy, tuple(names), probes, signers)
    for number in range(rng.choice((1, 2, 2, 3))):
        half = policy.clock_skew / 2
        offset = rng.choice((-half, half, half * rng.uniform(-1, 1)))
        world.process(f"p{number}", settings, offset=offset)
    return Scene(world, settings, kinds, policy.clock_skew)


def some_issuers(rng: random.Random, world: World, policy: RotationPolicy) -> tuple[str, ...]:
    """Make an issuer that is asked for tokens, or none; return its name."""
    sources = [place for place in world.places.values() if place.kind is DocumentKind.SIGNING]
    if rng.random() < 0.6:
        return ()
    lag = policy.signer_lag * rng.choice((0, 0.5, 1))
    issuer = world.issuer(rng.choice(sources), lag=lag, every=policy.resync * rng.choice((0.5, 1)))
    return (issuer.place.name,)


def some_home(rng: random.Random, world: World) -> AnyStore | None:
    """Return where a document lies: in the ring's own store, in a second one, or elsewhere."""
    return rng.choice((None, world.store, world.mirror))


def make_room(store: AnyStore, policy: RotationPolicy) -> None:
    """Declare as many slots as a policy needs, where a store has them: two more than it has keys."""
    if isinstance(store, VoidStore):
        store.most = max(store.most or 0, policy.max_keys + 2)


def random_policy(rng: random.Random, kinds: tuple[Kind, ...]) -> RotationPolicy:
    """Return a policy: some exactly at the floors, some loose."""

    def some(*values: float) -> timedelta:
        return seconds(rng.choice(values))

    policy = RotationPolicy(
        rng.choice(kinds),
        token_ttl=some(60, 300, 600, 3600),
        signer_lag=some(0, 10, 60, 300),
        leeway=some(0, 30, 300),
        clock_skew=some(1, 10, 60),
        verifier_cache=some(0, 60, 300, 3600),
        jwks_max_age=some(5, 60, 300),
        jwks_stale=some(0, 60, 600),
        resync=some(5, 30, 300),
        standby=rng.choice((Standby.ALWAYS, Standby.ALWAYS, Standby.JUST_IN_TIME)),
        allow_mixed_kty=kinds is _MIXED,
        windows=rng.choice((None, None, *_WINDOWS)),
    )
    if rng.random() < 0.5:
        return tight(policy)
    return loose(rng, policy)


def loose(rng: random.Random, policy: RotationPolicy) -> RotationPolicy:
    """Return a policy with room above some floors."""
    slack = {
        name: seconds(rng.choice((0, 0, 1, 100, 5000)))
        for name in ("propagation", "grace", "rotate_every")
    }
    found = tight(policy, **slack)
    assert not broken_clauses(found), broken_clauses(found)
    return found
