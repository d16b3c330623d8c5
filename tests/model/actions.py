"""Everything that may happen in the model. Each takes a scene and a small source of chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from rotator.errors import RotatorError
from rotator.observed import DocumentKind
from rotator.policy import ZERO
from rotator.reconcile.settle import settle
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.tick import tick
from rotator.rehearsal.ringwatch import overdue
from rotator.rehearsal.walls import Fault, Place
from rotator.rehearsal.world import Process
from rotator.ring import Phase
from rotator.secret import Secret
from tests.model.scene import Scene, seconds

Action = Callable[[Scene, random.Random], None]
_MOST_PASSAGES = 60
_FAULTS = (Fault.SILENT, Fault.DENIED, Fault.READ_ONLY, Fault.LATE_ERROR, Fault.LIES)


def ticks(scene: Scene, rng: random.Random) -> None:
    """A process ticks once, or until nothing changes."""
    if free := scene.free():
        process = rng.choice(free)
        for _ in range(rng.choice((1, 1, 2, 20))):
            outcome = process.run(tick)
            if not isinstance(outcome, Outcome) or not outcome.changed:
                break


def begins(scene: Scene, rng: random.Random) -> None:
    """A process begins a tick and stands still in the midst of it."""
    if free := scene.free():
        rng.choice(free).begin(tick, rng.randrange(_MOST_PASSAGES))


def goes_on(scene: Scene, rng: random.Random) -> None:
    """A process that stands still goes on, a little or to the end."""
    if standing := scene.standing():
        rng.choice(standing).go_on(rng.choice((None, None, rng.randrange(_MOST_PASSAGES))))


def dies(scene: Scene, rng: random.Random) -> None:
    """A process dies where it stands, or in the midst of a tick."""
    if standing := [p for p in scene.standing() if p.name not in scene.jumped]:
        rng.choice(standing).die()
    elif free := [p for p in scene.free() if p.name not in scene.jumped]:
        rng.choice(free).run(tick, crash_at=rng.randrange(1, _MOST_PASSAGES))


def one_shot(scene: Scene, rng: random.Random) -> None:
    """Cron runs `rotator rotate` on a host with a good clock."""
    if steady := scene.steady():
        host = rng.choice(steady)
        shot = Process("shot", scene.world, host.host, host.settings)
        crash_at = rng.choice((None, None, rng.randrange(1, 3 * _MOST_PASSAGES)))
        shot.run(lambda site: settle(site, scene.world.advance), crash_at=crash_at)


def time_passes(scene: Scene, rng: random.Random) -> None:
    """Any time passes."""
    scale = rng.choice((1, 10, 60, 600, 6000))
    scene.world.advance(seconds(rng.random() * scale))


def to_an_edge(scene: Scene, rng: random.Random) -> None:
    """Time moves to an edge, or a second before or after it."""
    edges = [edge for edge in _edges(scene) if edge > scene.world.now]
    if edges:
        edge = rng.choice(sorted(edges)[:4]) + seconds(rng.choice((-1, 0, 0, 1)))
        scene.world.advance(max(edge - scene.world.now, ZERO))


def to_the_next_date(scene: Scene, _rng: random.Random) -> None:
    """Time moves to the next date that a process waits for, or by a resync."""
    world = scene.world
    later = [date for date in world.deadlines(scene.steady()) if date > world.now]
    resync = scene.wanted.policy.resync
    world.advance(min([date - world.now for date in later], default=resync))


def breaks(scene: Scene, rng: random.Random) -> None:
    """A store or a place stops working in some way."""
    if rng.random() < 0.2:
        scene.world.store.fault = rng.choice(scene.world.store.faults)
    elif rng.random() < 0.1:
        scene.world.mirror.fault = rng.choice((Fault.SILENT, Fault.DENIED, Fault.READ_ONLY))
    else:
        rng.choice(list(scene.world.places.values())).fault = rng.choice(_FAULTS)


def heals(scene: Scene, rng: random.Random) -> None:
    """Everything works again, or one thing does."""
    if rng.random() < 0.6:
        scene.world.heal()
    else:
        rng.choice(list(scene.world.places.values())).fault = Fault.NONE
        scene.world.store.fault = scene.world.mirror.fault = Fault.NONE


def a_hand(scene: Scene, rng: random.Random) -> None:
    """Something that was at a place before comes back, and somebody looks before anything else happens."""
    places = [p for p in scene.places(*DocumentKind) if p.past and p.fault is not Fault.SILENT]
    lookers = [p for p in scene.free() if p.name not in scene.jumped]
    if not places or not lookers:
        return
    place, looker, world = rng.choice(places), rng.choice(lookers), scene.world
    ready = place.name in looker.settings.targets and world.store.fault is Fault.NONE
    if not ready or place.fault is Fault.DENIED or scene.joining:
        return
    if place.kind is DocumentKind.SIGNING and not _answers_all(scene):
        return  # nobody can look at every one, so nobody would notice in time
    old = rng.choice([*place.past, None]) if rng.random() < 0.5 else place.past[-1]
    if old is not None and place.document is not None:
        old = replace(old, max_age=place.document.max_age, stale=place.document.stale)
    world.hand(place, old)
    looker.run(tick)


def damages_material(scene: Scene, rng: random.Random) -> None:
    """The material of a key that never signed is lost, or another's is there instead."""
    shelf = scene.world.store.shelf(scene.world.key_set).material
    pending = scene.world.ring.in_phase(Phase.PENDING)
    if not pending or rng.random() < 0.7:
        return
    key = rng.choice(pending)
    if key.locator is not None and key.locator in shelf:
        scene.world.watch.sabotaged.add(key.kid)
        other = scene.world.keys.make(key.kind).material
        shelf[key.locator] = (key.kid, rng.choice((other, Secret(b""), Secret(b"{}"))))


def clocks_are_set(scene: Scene, rng: random.Random) -> None:
    """A clock is stepped within what is allowed, leaps by far, or is set right again."""
    process = rng.choice(scene.world.processes)
    half = scene.skew / 2
    fine = half * rng.uniform(-1, 1)
    known = scene.world.store.witness or process.site.memory.base is not None
    if rng.random() < 0.5 or not known:
        process.host.offset = fine
        scene.jumped.discard(process.name)
        return
    far = rng.choice((3 * scene.skew + seconds(10), seconds(3600), seconds(86400), seconds(4e7)))
    process.host.offset = rng.choice((-1, 1)) * far
    scene.jumped.add(process.name)


def a_quiet_time(scene: Scene, rng: random.Random) -> None:
    """Everything is healthy for a while: what is due happens, and nothing stays longer than it should."""
    world = scene.world
    for process in scene.standing():
        process.go_on()
    world.heal()
    _set_clocks(scene)
    for process in world.processes:
        process.configure(scene.wanted)
    for name in list(scene.removed):
        forget(scene, name)
    began, policy = world.now, scene.wanted.policy
    slack = policy.resync + 2 * scene.skew + seconds(1)
    lags = {name: issuer.lag for name, issuer in world.issuers.items()}
    for issuer in world.issuers.values():
        issuer.lag, issuer.due, slack = ZERO, None, slack + issuer.every  # none is on its way still
        issuer.begin_anew()
    longest = world.ring.in_force(policy).propagation_wait
    damaged = {key.kid for key in world.ring.published} & world.watch.sabotaged
    for _ in range(rng.choice((3, 10, 40))):
        later = [date - world.now for date in world.deadlines(scene.steady()) if date > world.now]
        world.advance(min([policy.resync, *later]))
        world.settle()
        _join(scene)
        if world.ring.in_force(policy).overlap > policy.max_keys:
            # A grace that is being lowered needs more places than the new configuration counts with.
            longest = seconds(10**8)
        late = overdue(
            world.ring,
            policy,
            world.now,
            healthy_for=world.now - began - policy.resync,
            slack=slack,
            longest_wait=2 * longest if damaged else longest,
            damaged=damaged,
        )
        if late:
            world.promise.broken("; ".join(late))
    for name, lag in lags.items():
        world.issuers[name].lag = lag


def forget(scene: Scene, name: str) -> None:
    """The signers of a removed target are gone, and the operator says so."""
    from rotator import operations

    scene.world.promise.readers_left(name)
    scene.world.places[name].changed = lambda _place: None
    answer = command(scene, lambda site: operations.forget(site, name))
    if not isinstance(answer, RotatorError):
        scene.removed.remove(name)


def command(scene: Scene, act: Callable[[Site], Any], rng: random.Random | None = None) -> Any:
    """An operator's command: a process of its own on a host with a good clock."""
    steady = scene.steady()
    if not steady:
        return None
    host = rng.choice(steady) if rng else steady[0]
    console = Process("console", scene.world, host.host, host.settings)
    crash_at = rng.randrange(1, 2 * _MOST_PASSAGES) if rng and rng.random() < 0.15 else None
    return console.run(act, crash_at=crash_at)


def _edges(scene: Scene) -> list[datetime]:
    world = scene.world
    found = [world.promise.visible_until(item) for item in world.promise.shown]
    found += [world.promise.tokens_until(use) for use in world.promise.used]
    found += world.deadlines(scene.steady())
    for key in world.ring.keys:
        policy = world.ring.in_force(scene.wanted.policy)
        found += [date + policy.propagation_wait for date in key.announced.values()]
        found += [key.superseded_at + policy.grace_wait] if key.superseded_at else []
    return found


def _answers_all(scene: Scene) -> bool:
    deaf = (Fault.SILENT, Fault.DENIED)
    return all(place.fault not in deaf for place in scene.places(*DocumentKind))


def _set_clocks(scene: Scene) -> None:
    for process in scene.world.processes:
        if process.name in scene.jumped:
            process.host.offset = ZERO
    scene.jumped.clear()


def _join(scene: Scene) -> None:
    """Verifiers begin to read a new place once every process writes it and it is filled."""
    from rotator.rehearsal.promise import published_keys

    for name in list(scene.joining):
        place: Place = scene.world.places[name]
        everywhere = all(name in p.settings.targets for p in scene.world.processes)
        kids = {kid for kid, _ in published_keys(place)}
        if everywhere and kids and kids >= {key.kid for key in scene.world.ring.published}:
            scene.joining.remove(name)
            place.changed = scene.world.promise.place_changed
            scene.world.promise.place_changed(place)


def after_each(scene: Scene) -> None:
    """What follows every action: checks, and what was waited for."""
    world = scene.world
    world.check()
    _join(scene)
    policies = [process.settings.policy for process in world.processes]
    for name, value in list(scene.raising.items()):
        item = world.ring.protection.get(name)
        if item and item.value >= value and all(getattr(p, name) >= value for p in policies):
            world.reality[name].set(world.now, value)
            del scene.raising[name]
