"""Every operator command, as actions of the model."""

from __future__ import annotations

import random

from rotator import operations
from rotator.errors import RotatorError
from rotator.observed import DocumentKind
from rotator.policy import ZERO
from rotator.reconcile.tick import tick
from rotator.rehearsal.pauses import Crash
from rotator.rehearsal.walls import Fault
from rotator.rehearsal.world import Process
from rotator.ring import Phase
from rotator.ring_document import read_ring
from tests.model.actions import command
from tests.model.scene import Scene


def some_kid(scene: Scene, rng: random.Random, *phases: Phase) -> str | None:
    """Return the kid of some key of the ring, None when there is none."""
    keys = scene.world.ring.in_phase(*(phases or (Phase.PENDING, Phase.ACTIVE, Phase.RETIRING)))
    return rng.choice(keys).kid if keys else None


def holds(scene: Scene, rng: random.Random) -> None:
    """`rotator hold`."""
    command(scene, lambda site: operations.hold(site, "model"), rng)


def releases(scene: Scene, rng: random.Random) -> None:
    """`rotator release`."""
    command(scene, operations.release, rng)


def pins(scene: Scene, rng: random.Random) -> None:
    """`rotator pin`."""
    if kid := some_kid(scene, rng):
        command(scene, lambda site: operations.pin(site, kid, "model"), rng)


def unpins(scene: Scene, rng: random.Random) -> None:
    """`rotator unpin`."""
    pinned = sorted(scene.world.ring.pins)
    if pinned:
        kid = rng.choice(pinned)
        command(scene, lambda site: operations.unpin(site, kid), rng)


def rotates_now(scene: Scene, rng: random.Random) -> None:
    """`rotator rotate --now`, of the current key or of one that was."""
    kid = some_kid(scene, rng) if rng.random() < 0.3 else None
    command(scene, lambda site: operations.order_promotion(site, kid, "model"), rng)


def revokes(scene: Scene, rng: random.Random) -> None:
    """`rotator revoke`, of one key or two."""
    kids = {kid for _ in range(rng.choice((1, 1, 2))) if (kid := some_kid(scene, rng))}
    if kids:
        scene.world.watch.urgent = True
        command(scene, lambda site: operations.revoke(site, sorted(kids), "model"), rng)
        scene.world.watch.urgent = False


def an_emergency(scene: Scene, rng: random.Random) -> None:
    """`rotator rotate --emergency`.

    Without a ring there is nothing to record its key in before the material is put; when it dies just
    then, the material stays behind.
    """
    watch = scene.world.watch
    watch.lossy = watch.lossy or not watch.ring.revision
    watch.urgent = True
    watch.restoring = not watch.ring.published  # with nothing to revoke, its key comes from nowhere
    try:
        answer = command(scene, lambda site: operations.emergency(site, "model"), rng)
        # The same when the ring that lagging reads show is older than the targets: it cannot be trusted.
        stale = scene.world.store.fault is Fault.STALE
        watch.lossy = watch.lossy or (stale and isinstance(answer, Crash))
    finally:
        watch.restoring = watch.urgent = False


def rolls_back(scene: Scene, rng: random.Random) -> None:
    """`rotator rollback`."""
    command(scene, lambda site: operations.roll_back(site, "model"), rng)


def confirms_clocks(scene: Scene, rng: random.Random) -> None:
    """`rotator recover --clock`, given when every clock is right, and heard before any is wrong again.

    A process that hears it late cannot tell a leap from before the word, which it settles, from one
    after it.
    """
    if not scene.jumped and not scene.standing():
        command(scene, operations.confirm_clock, rng)
        for process in scene.free():
            process.run(tick)
            if process.site.memory.confirmed_at != scene.world.ring.clock_confirmed_at:
                process.restart()


def a_backup_is_taken(scene: Scene, _rng: random.Random) -> None:
    """Somebody saves the ring."""
    ring = scene.world.store.shelf(scene.world.key_set).ring
    if ring is not None:
        scene.old_rings = [*scene.old_rings[-5:], ring]


def a_backup_is_made_the_truth(scene: Scene, rng: random.Random) -> None:
    """The ring is lost, or an older one is there, and `rotator recover --ring` ends this."""
    world = scene.world
    if not scene.old_rings or scene.standing() or world.store.numbered or scene.jumped:
        return
    if scene.wanted.policy.kind.symmetric:
        return  # a symmetric key that the backup does not know cannot be taken from a document
    if world.store.fault is not Fault.NONE:
        return
    names = {name for process in world.processes for name in process.settings.targets}
    if not names <= set(scene.steady()[0].settings.targets):
        return  # docs/backup.md: with a configuration that names every target that anybody writes
    backup, before = rng.choice(scene.old_rings), world.store.shelf(world.key_set).ring
    left = rng.choice((before, backup, None))
    if left != before and _alone_knew_longer(scene, backup):
        return  # docs/backup.md: then the operator waits until that has passed
    world.store.put_back(world.key_set, left)
    world.watch.restoring = True
    try:
        answer = command(scene, lambda site: operations.restore(site, backup, ()))
    finally:
        world.watch.restoring = False
    if isinstance(answer, RotatorError) or answer is None:
        if world.store.shelf(world.key_set).ring != left:
            world.promise.broken("a refused restore changed the ring")
        world.store.put_back(world.key_set, before)
    else:
        scene.old_rings = []
        gone = [name for name in world.ring.holders if name not in scene.wanted.targets]
        scene.removed = sorted({*scene.removed, *gone} & set(world.places))
        world.watch.lossy = True
        for process in world.processes:
            process.restart()


def _alone_knew_longer(scene: Scene, backup: bytes) -> bool:
    """The ring knows of longer durations than its backup and the configurations: if it is lost, nobody does."""
    ring = scene.world.ring
    saved = read_ring(backup, key_set=ring.key_set).protection
    for name, item in ring.protection.items():
        known = [saved[name].value] if name in saved else []
        known += [getattr(p.settings.policy, name, None) or ZERO for p in scene.world.processes]
        if item.value > max(known):
            return True
    return False


def the_ring_is_lost(scene: Scene, rng: random.Random) -> None:
    """The ring is gone, or an old one is back, and nobody knows: a new process must stop."""
    world, steady = scene.world, scene.steady()
    ring = world.ring
    shown = [place.document for place in scene.places(*DocumentKind)]
    highest = max([document.revision or 0 for document in shown if document], default=0)
    old = [b for b in scene.old_rings if read_ring(b, key_set=ring.key_set).revision < highest]
    if not highest or scene.standing() or not steady or world.store.fault is not Fault.NONE:
        return
    if any(place.fault in (Fault.SILENT, Fault.DENIED) for place in scene.places(*DocumentKind)):
        return
    before, left = world.store.shelf(world.key_set).ring, rng.choice((None, *old))
    host = rng.choice(steady)
    world.store.put_back(world.key_set, left)
    answer = Process("new", world, host.host, scene.wanted).run(tick)
    if world.store.shelf(world.key_set).ring != left or not isinstance(answer, RotatorError):
        world.promise.broken(f"a lost ring was made up for: {answer}")
    if [place.document for place in scene.places(*DocumentKind)] != shown:
        world.promise.broken("with the ring lost, documents were changed")
    world.store.put_back(world.key_set, before)
