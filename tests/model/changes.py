"""Changes of configuration, as actions of the model: durations, kinds, places."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from rotator.observed import DocumentKind
from rotator.policy import PROTECTIVE, ZERO, Standby, broken_clauses
from rotator.reconcile.tick import tick
from rotator.rehearsal.reality import REAL
from tests.model.scene import Scene, loose, make_room, seconds, some_home, tight


def rolls_out(scene: Scene, rng: random.Random) -> None:
    """A process reloads the configuration that is wanted."""
    behind = [p for p in scene.world.processes if p.settings != scene.wanted]
    if behind:
        rng.choice(behind).configure(scene.wanted)


def changes_policy(scene: Scene, rng: random.Random) -> None:
    """Durations are raised or lowered: configured first, or really first, as is safe."""
    if scene.raising or any(p.settings != scene.wanted for p in scene.world.processes):
        return
    old = scene.wanted.policy
    name = rng.choice([n for n in (*PROTECTIVE, "rotate_every") if n != "clock_skew"])
    if name in ("propagation", "grace", "rotate_every"):
        new = loose(rng, old)
    else:
        value = getattr(old, name) * rng.choice((0, 0.1, 0.5, 2, 5)) + seconds(rng.choice((0, 5)))
        value = timedelta(seconds=round(value.total_seconds()))
        new = tight(old.with_durations({name: value}))
        new = new if rng.random() < 0.5 else loose(rng, new)
    if rng.random() < 0.2:
        new = replace(new, standby=rng.choice(list(Standby)))
    new = replace(new, max_keys=max(new.max_keys, old.max_keys))
    if new == old or broken_clauses(new):
        return
    for real in REAL:
        if getattr(new, real) < getattr(old, real):
            scene.world.reality[real].set(scene.world.now, getattr(new, real))
        elif getattr(new, real) > getattr(old, real):
            scene.raising[real] = getattr(new, real)
    scene.wanted = replace(scene.wanted, policy=new)
    make_room(scene.world.store, new)
    scene.world.watch.max_keys = max(scene.world.watch.max_keys, new.max_keys)


def changes_kind(scene: Scene, rng: random.Random) -> None:
    """Another algorithm or size is wanted."""
    policy = replace(scene.wanted.policy, kind=rng.choice(scene.kinds))
    scene.wanted = replace(scene.wanted, policy=policy)


def adds_place(scene: Scene, rng: random.Random) -> None:
    """A new place is configured."""
    if len(scene.wanted.targets) > 5 or scene.joining:
        return
    scene.numbered += 1
    kind = rng.choice((scene.announcing_kind, DocumentKind.SIGNING))
    name = f"{kind}-new-{scene.numbered}"
    place = scene.world.place(name, kind, home=some_home(rng, scene.world))
    if kind is not DocumentKind.SIGNING:
        place.changed = lambda _place: None  # nobody reads it yet
        scene.joining.append(name)
    scene.wanted = replace(scene.wanted, targets=(*scene.wanted.targets, name))


def removes_place(scene: Scene, rng: random.Random) -> None:
    """A place leaves the configuration: verifiers left it before, signers may go on reading it."""
    kind = rng.choice((scene.announcing_kind, DocumentKind.SIGNING))
    places = [place for place in scene.places(kind) if place.name not in scene.joining]
    if len(places) < 2:
        return
    place = rng.choice(places)
    if kind is DocumentKind.SIGNING:
        scene.removed.append(place.name)
    else:
        scene.world.promise.readers_left(place.name)
        place.changed = lambda _place: None
    left = tuple(name for name in scene.wanted.targets if name != place.name)
    probes = tuple(name for name in scene.wanted.probes if name != place.name)
    scene.wanted = replace(scene.wanted, targets=left, probes=probes)
    other = next((item for item in scene.places(DocumentKind.SIGNING)), None)
    for issuer in scene.world.issuers.values():
        if issuer.source is place and other is not None:
            issuer.source = other


def a_signer_stays(scene: Scene, rng: random.Random) -> None:
    """A signer that is asked for tokens goes on with its key whatever is delivered, or follows again."""
    for issuer in scene.world.issuers.values():
        if rng.random() < 0.6:
            issuer.stays = True
        else:
            issuer.begin_anew()


def a_cdn_keeps_longer(scene: Scene, rng: random.Random) -> None:
    """A CDN in front of a probed place keeps answers for another time than we say."""
    probed = [p for p in scene.places(DocumentKind.JWKS) if p.name in scene.wanted.probes]
    everywhere = all(p.settings.probes == scene.wanted.probes for p in scene.world.processes)
    if not probed or not everywhere or scene.standing():
        return
    place = rng.choice(probed)
    place.longer_cache = seconds(rng.choice((0, 0, 400, 2000, 10000)))
    scene.world.promise.cache_changed(place)
    for process in scene.free():
        process.run(tick)
    kept = scene.world.ring.protection.get("observed_cache")
    if place.longer_cache > (kept.value if kept else ZERO) and place.document is not None:
        place.longer_cache = (
            ZERO  # nobody could look: what comes and goes unseen is a hand on the target
        )
        scene.world.promise.forget_cache(place)
