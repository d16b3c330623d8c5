"""A small stage for directed scenarios: two replicas whose clocks differ by all that is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.algorithms import Kind, kind_of
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy, Standby
from rotator.reconcile.tick import tick
from rotator.rehearsal.promise import Broken
from rotator.rehearsal.ringwatch import overdue
from rotator.rehearsal.walls import Place
from rotator.rehearsal.world import Process, Settings, World
from tests.model.scene import seconds, tight

ASYMMETRIC = kind_of("ES256")
SYMMETRIC = kind_of("HS256")


def tight_policy(kind: Kind = ASYMMETRIC, standby: Standby = Standby.ALWAYS) -> RotationPolicy:
    """Return a policy exactly at every floor; each term of a floor is longer than a resync."""
    base = RotationPolicy(
        kind,
        token_ttl=seconds(900),
        signer_lag=seconds(90),
        leeway=seconds(70),
        clock_skew=seconds(20),
        verifier_cache=seconds(150),
        jwks_max_age=seconds(110),
        jwks_stale=seconds(130),
        resync=seconds(15),
        max_keys=1,
        standby=standby,
    )
    return tight(base)


_LONG = seconds(40_000)
_over = ["plain"]


@contextlib.contextmanager
def over(kind: str) -> Iterator[None]:
    """Let every stage that is built meanwhile have this kind of secrets manager."""
    _over.append(kind)
    try:
        yield
    finally:
        _over.pop()


@dataclass(slots=True)
class Stage:
    """A world with a slow and a fast replica.

    Attributes:
        slow, fast: their clocks are half of `clock_skew` behind and ahead.
        jwks, signing: the places, in order.
    """

    world: World
    policy: RotationPolicy
    slow: Process
    fast: Process
    jwks: list[Place]
    signing: list[Place]

    def configure(self, policy: RotationPolicy) -> None:
        """Give both replicas another policy."""
        self.policy = policy
        for process in (self.slow, self.fast):
            process.configure(replace(process.settings, policy=policy))

    def settle(self, *processes: Process) -> None:
        """Let replicas tick until nothing changes, the slow one first."""
        self.world.settle(processes or (self.slow, self.fast))
        self.world.check()

    def next_date(self) -> None:
        """Move to the next date of either replica, or by a resync."""
        later = [date - self.world.now for date in self.world.deadlines() if date > self.world.now]
        self.world.advance(min([self.policy.resync, *later]))

    def next_deadline(self) -> None:
        """Move to the next date of either replica, however far it is."""
        later = [date - self.world.now for date in self.world.deadlines() if date > self.world.now]
        self.world.advance(min(later, default=self.policy.resync))

    def run(self, duration: timedelta, *, prompt: bool = False) -> None:
        """Let everything happen for a while; with `prompt`, nothing may be late."""
        start = self.world.now
        while self.world.now < start + duration:
            self.settle()
            if prompt:
                self.judge(self.world.now - start)
            self.next_date()
        self.settle()

    def until(self, reached: Callable[[], bool], within: timedelta = _LONG) -> None:
        """Let everything happen until something is reached."""
        start = self.world.now
        self.settle()
        while not reached():
            if self.world.now > start + within:
                raise Broken("what had to happen does not happen")
            self.next_date()
            self.settle()

    def signs(self, number: int, within: timedelta = _LONG) -> None:
        """Let everything happen until so many keys have been active."""
        seen: set[str] = set()

        def reached() -> bool:
            if active := self.world.ring.active:
                seen.add(active.kid)
            return len(seen) >= number

        self.until(reached, within)

    def judge(self, healthy_for: timedelta) -> None:
        """Everything must be on time, in a world in which nothing is wrong."""
        world, policy = self.world, self.policy
        slack = policy.resync + 2 * policy.clock_skew + seconds(1)
        late = overdue(world.ring, policy, world.now, healthy_for=healthy_for, slack=slack)
        active = world.ring.active
        if active is not None and active.activated_at is not None:
            due = active.activated_at + policy.rotate_every + slack
            if world.now > due:
                late.append(f"{active.kid} should have been replaced at {due}")
        if late:
            world.promise.broken("; ".join(late))

    def at_every_passage(
        self, process: Process, meanwhile: Callable[[], None], number: int
    ) -> bool:
        """Let a tick stand still after `number` passages, do something, and let it go on.

        Returns:
            False when the tick had ended before.
        """
        process.begin(tick, number)
        if process.work is None:
            return False
        meanwhile()
        process.go_on()
        return True


def stage(
    policy: RotationPolicy | None = None,
    *,
    jwks: int = 1,
    signing: int = 1,
    conditional: bool = True,
    follower: bool = False,
    probe: bool = False,
    kind: str = "",
    asked_every: timedelta | None = None,
) -> Stage:
    """Build a stage.

    Args:
        jwks: how many publications (HMAC: verification documents), `signing` how many signing targets.
        conditional: whether places compare before they write.
        follower: a server elsewhere that nobody looks at.
        probe: the first publication is looked at through a CDN, too.
        asked_every: an issuer reads the first signing target `signer_lag` late, and is asked for tokens.
        kind: of the secrets manager; that of `over` when it is not said.
    """
    policy = tight_policy() if policy is None else policy
    world = World(policy, kind=kind or _over[-1])
    announces = DocumentKind.VERIFICATION if policy.kind.symmetric else DocumentKind.JWKS
    announcing = [
        world.place(f"{announces}-{n}", announces, conditional=conditional) for n in range(jwks)
    ]
    places = [
        world.place(f"signing-{n}", DocumentKind.SIGNING, conditional=conditional)
        for n in range(signing)
    ]
    if follower:
        world.follower("elsewhere")
    probes: tuple[str, ...] = ()
    if probe:
        announcing[0].true = world.true
        probes = (announcing[0].name,)
    signers: tuple[str, ...] = ()
    if asked_every is not None:
        issuer = world.issuer(places[0], lag=policy.signer_lag, every=asked_every)
        signers = (issuer.place.name,)
    settings = Settings(policy, tuple(p.name for p in (*announcing, *places)), probes, signers)
    half = policy.clock_skew / 2
    slow = world.process("slow", settings, offset=-half)
    fast = world.process("fast", settings, offset=half)
    return Stage(world, policy, slow, fast, announcing, places)
