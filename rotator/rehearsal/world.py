"""A world: true time, hosts, processes, a store, places, and everybody who signs and verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rotator.documents import read_json
from rotator.errors import RotatorError
from rotator.observed import DocumentKind
from rotator.plan import next_deadline
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile.site import Outcome, Site
from rotator.rehearsal.clocks import Host, HostClock, TrueTime
from rotator.rehearsal.followers import Follower
from rotator.rehearsal.issuers import Issuer, MemoryCheck
from rotator.rehearsal.pauses import Crash, Gate, Work
from rotator.rehearsal.promise import Promise
from rotator.rehearsal.reality import Reality
from rotator.rehearsal.ringwatch import RingWatch, orphans
from rotator.rehearsal.toykeys import ToyKeys
from rotator.rehearsal.walls import KINDS, AnyStore, Fault, MemoryTarget, Place
from rotator.ring import KeyRing, Phase
from rotator.stores import Document


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration as one process has it: a policy and the names of targets, probes and issuers."""

    policy: RotationPolicy
    targets: tuple[str, ...]
    probes: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()


@dataclass(slots=True)
class Process:
    """One process of the program on a host.

    Attributes:
        work: a tick that stands still between two calls, if there is one.
    """

    name: str
    world: World
    host: Host
    settings: Settings
    gate: Gate = field(default_factory=Gate)
    work: Work | None = None
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew with an empty memory."""
        self.work = None
        self.gate = Gate()
        world = self.world
        store = world.store.login(self.gate)
        self.site = Site(
            key_set=world.key_set,
            policy=self.settings.policy,
            rings=store.rings(world.key_set),
            material=store.material(world.key_set),
            targets=(),
            keys=world.keys,
            clock=HostClock(self.host, self.gate),
            emit=world.emit,
        )
        self.configure(self.settings)

    def configure(self, settings: Settings) -> None:
        """Reload the configuration; what is under way goes on with the old one."""
        self.settings = settings
        places = self.world.places
        writers = [MemoryTarget(places[name], self.gate) for name in settings.targets]
        probes = [MemoryTarget(places[name], self.gate, writable=False) for name in settings.probes]
        asked = [self.world.issuers[name] for name in settings.signers]
        self.site = replace(
            self.site,
            policy=settings.policy,
            targets=(*writers, *probes),
            signers=tuple(MemoryCheck(item, self.gate, self.world.keys) for item in asked),
        )

    def run(self, act: Callable[[Site], Any], *, crash_at: int | None = None) -> Any:
        """Do something to its end, or until it dies at a passage; errors of the program are returned."""
        self.gate.arm(crash_at)
        try:
            return act(self.site)
        except RotatorError as error:
            return error
        except Crash as crash:
            self.restart()
            return crash
        finally:
            self.gate.arm(None)

    def begin(self, act: Callable[[Site], Any], passages: int) -> None:
        """Begin something and let it stand still after some passages."""
        site = self.site
        self.work = Work(self.gate, lambda: act(site))
        self.go_on(passages)

    def go_on(self, passages: int | None = None) -> None:
        """Let what stands still go on; errors of the program end it."""
        if self.work is None:
            return
        try:
            ended = self.work.go_on(passages)
        except RotatorError:
            ended = True
        if ended:
            self.work = None

    def die(self) -> None:
        """Die at once, and begin anew."""
        if self.work is not None:
            self.work.kill()
        self.restart()


class World:
    """Everything there is around one key set.

    Args:
        policy: what signers and verifiers really do; processes get theirs with `process`.
        seed: of the keys.
        kind: of the secrets manager, one of `walls.KINDS`.

    Attributes:
        mirror: a second secrets manager, which keeps documents only.
    """

    key_set = "orders"

    def __init__(self, policy: RotationPolicy, seed: int = 0, kind: str = "plain") -> None:
        self.true = TrueTime()
        self.store = KINDS[kind](self.true)
        self.mirror = KINDS["plain"](self.true)
        self.keys = ToyKeys(seed)
        self.reality = Reality(policy, self.true.now)
        self.promise = Promise(self.true, self.reality)
        self.watch = RingWatch(self.key_set, self.promise, policy)
        self.watch.max_keys = policy.max_keys
        self.store.saved = self._saved
        self.places: dict[str, Place] = {}
        self.followers: list[Follower] = []
        self.issuers: dict[str, Issuer] = {}
        self.processes: list[Process] = []
        self.events: list[tuple[datetime, str, dict[str, Any]]] = []

    @property
    def now(self) -> datetime:
        """True time."""
        return self.true.now

    @property
    def ring(self) -> KeyRing:
        """The ring as the store has it."""
        return self.watch.ring

    def emit(self, level: str, event: str, **fields: Any) -> None:
        """Keep the last events."""
        self.events = [*self.events[-200:], (self.true.now, event, {"level": level, **fields})]

    def place(
        self,
        name: str,
        kind: DocumentKind,
        *,
        conditional: bool = True,
        home: AnyStore | None = None,
    ) -> Place:
        """Make a place that everybody reads; what lies in the ring's own store proves no first run."""
        independent = home is not self.store
        place = Place(name, kind, conditional=conditional, independent=independent, home=home)
        place.changed = self.promise.place_changed
        self.places[name] = place
        return place

    def follower(self, name: str) -> Follower:
        """Make a server elsewhere that nobody of us looks at."""
        follower = Follower(self.place(name, DocumentKind.JWKS))
        self.followers.append(follower)
        return follower

    def issuer(self, source: Place, *, lag: timedelta, every: timedelta) -> Issuer:
        """Make a signer that reads a delivery and can be asked for a token."""
        place = self.place(f"issuer-{len(self.issuers)}", DocumentKind.SIGNING)
        self.promise.exact.add(place.name)
        self.issuers[place.name] = issuer = Issuer(place, source, lag, every)
        return issuer

    def process(self, name: str, settings: Settings, *, offset: timedelta = ZERO) -> Process:
        """Start a process on a host of its own."""
        process = Process(name, self, Host(name, self.true, offset), settings)
        self.processes.append(process)
        return process

    def advance(self, duration: timedelta) -> None:
        """Let time pass; servers elsewhere read the ring when their time comes."""
        end = self.true.now + max(duration, ZERO)
        readers: tuple[Follower | Issuer, ...] = (*self.followers, *self.issuers.values())
        while True:
            for issuer in self.issuers.values():
                issuer.notice(self.true.now)
            due = [item.due for item in readers if item.due and item.due <= end]
            if not due:
                break
            self.true.now = max(self.true.now, min(due))
            self._follow()
        self.true.now = end

    def deadlines(self, processes: Iterable[Process] | None = None) -> list[datetime]:
        """Return the dates at which processes want to look at the ring again, in true time."""
        if not self.ring.revision:
            return []
        found = []
        for process in self.processes if processes is None else processes:
            deadline = next_deadline(self.ring, process.settings.policy)
            if deadline is not None:
                found.append(process.host.reads(deadline))
        return found

    def check(self) -> None:
        """Ask what must hold at any moment: no material, in old versions either, that the ring does not know."""
        lost = orphans(self.ring, self.store.remains(self.key_set))
        if lost and not self.watch.lossy:
            self.promise.broken(f"material at {sorted(lost)} that the ring does not know")

    def settle(self, processes: Iterable[Process] | None = None, most: int = 40) -> list[Outcome]:
        """Let processes tick, in turn, until none of them changes anything; return their last outcomes."""
        from rotator.reconcile.tick import tick

        last: list[Outcome] = []
        for process in processes if processes is not None else list(self.processes):
            if process.work is not None:
                continue
            for _ in range(most):
                outcome = process.run(tick)
                if isinstance(outcome, Outcome):
                    last.append(outcome)
                    if outcome.changed:
                        continue
                break
        return last

    def heal(self) -> None:
        """Mend every store and place."""
        self.store.fault = self.mirror.fault = Fault.NONE
        for place in self.places.values():
            place.fault = Fault.NONE

    def hand(self, place: Place, document: Document | None) -> None:
        """Somebody's hand puts something at a place.

        Keys in use that it takes away from verifiers there are excused, and so are the tokens of a key
        that it gives to signers after its end.
        """
        if document is not None and place.kind is DocumentKind.SIGNING:
            given = str((read_json(document.body) or {}).get("kid"))
            known = self.ring.find(given)
            if known is None or not known.published:
                self.promise.excepted.add(given)
        in_use = {use.key[0] for use in self.promise.used}
        in_use |= {key.kid for key in self.ring.in_phase(Phase.ACTIVE, Phase.RETIRING)}
        place.changed = lambda there: self.promise.place_changed(there, frozenset(in_use))
        place.put(document)
        place.changed = self.promise.place_changed

    def _saved(self, key_set: str, before: bytes | None, after: bytes) -> None:
        self.watch.saved(key_set, before, after)
        for follower in self.followers:
            if follower.due is None:
                follower.due = self.true.now + self._resync
            if follower.place.document is None and self.ring.published:
                follower.due = self.true.now  # it has nothing, and asks again and again

    @property
    def _resync(self) -> timedelta:
        return min((p.settings.policy.resync for p in self.processes), default=ZERO)

    def _follow(self) -> None:
        for follower in self.followers:
            if follower.due is not None and follower.due <= self.true.now:
                follower.due = None
                # It is set up with the others: no server goes on sending what all have lowered.
                policies = [process.settings.policy for process in self.processes]
                follower.read(self.ring, policies)
        for issuer in self.issuers.values():
            issuer.read(self.true.now)
