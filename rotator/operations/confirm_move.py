"""Confirming a move: what the key set left behind in the old store is destroyed."""

from __future__ import annotations

from dataclasses import replace

from rotator.errors import StoreCorrupt, TargetFailing, UsageError
from rotator.observed import DocumentKind
from rotator.operations.done import again_on_conflict
from rotator.operations.move_sides import Carried, Move, Side
from rotator.reconcile.gather import look_around
from rotator.reconcile.site import Site
from rotator.reconcile.steps import self_test
from rotator.reconcile.view import View
from rotator.ring import ENDED, KeyRing
from rotator.ring_moved import Moved, State, write_moved


def confirm_move(site: Site, source: Side, goal: Side, *, dry_run: bool = False) -> Carried:
    """Destroy the material in the old store, once the ring in the new one is seen in use; the tombstone stays.

    Args:
        site: the key set over the ring and the material of `goal`, with its targets.

    Raises:
        UsageError: the key set was not moved between these stores, or the move is not done.
        StoreCorrupt: material in the new store is not good, or the ring there cannot be trusted.
        TargetFailing: a target does not answer, or holds another key than the ring's; or it is too early.
        StoreUnavailable, StoreDenied: as the stores have it; the same command again goes on.
    """
    way = Move(site, source, goal)
    return again_on_conflict(lambda: _once(way, dry_run=dry_run))


def _once(way: Move, *, dry_run: bool) -> Carried:
    site, source, goal = way.site, way.source, way.goal
    here, there = way.read(source), way.read(goal)
    left = here.content
    moved = isinstance(left, Moved) and left.state is State.LEFT and left.store == goal.name
    if not isinstance(left, Moved) or not moved or not isinstance(there.content, KeyRing):
        raise UsageError(
            f"key set {site.key_set} is not moved from store {source.name} to store {goal.name}",
            hint="without `--confirm` the same command moves it, or finishes a move",
        )
    if left.destroyed:
        done = f"key set {site.key_set}: the move to store {goal.name} is confirmed already"
        return Carried((done,), there.content.revision, changed=False)
    view = look_around(site)
    _refuse_unused(view, left, goal)
    material = [key for key in left.ring.keys if key.locator is not None]
    said = (
        f"key set {site.key_set}: the ring in store {goal.name} (revision {view.loaded.revision}) is in use",
        f"destroyed in store {source.name}: {', '.join(key.kid for key in material) or 'nothing'}",
        "the tombstone stays there, so that no old replica takes the place for an empty one",
    )
    if dry_run:
        return Carried(said, view.loaded.revision, changed=False)
    for key in material:
        source.material.destroy(str(key.locator), key.kid)
        way.report("material.destroyed", source, kid=key.kid)
    source.rings.save(write_moved(replace(left, destroyed=True)), replacing=here.version)
    return Carried(said, view.loaded.revision, changed=True)


def _refuse_unused(view: View, left: Moved, goal: Side) -> None:
    """Refuse unless everything that the old store could still be needed for was seen to come from the new one."""
    site, ring = view.site, view.loaded
    silent = [item.target.name for item in view.seen if not item.sighting.answered]
    if silent:
        raise TargetFailing(
            f"nothing is destroyed: no answer from {', '.join(silent)}",
            hint="mend it, then confirm",
        )
    active = ring.active
    unlike = [
        item.target.name
        for item in view.seen
        if item.target.kind is DocumentKind.SIGNING
        and (active is None or active.kid not in item.sighting.kids)
    ]
    if unlike:
        raise TargetFailing(
            f"nothing is destroyed: {', '.join(unlike)} does not hold the current key of store {goal.name}",
            hint=f"`rotator rotate {site.key_set}` delivers it",
        )
    window = ring.in_force(site.policy).write_window
    late = [key.destroy_after for key in left.ring.keys if key.destroy_after is not None]
    ready = max([left.at, *late]) + window
    if view.now < ready:
        raise TargetFailing(
            "nothing is destroyed: a process that stood still may yet write into the old store",
            hint=f"confirm after {ready:%Y-%m-%dT%H:%M:%SZ}",
        )
    for key in ring.keys:
        if key.locator is not None and key.phase not in ENDED and not self_test(view, key):
            raise StoreCorrupt(
                f"nothing is destroyed: the material of key {key.kid} in store {goal.name} is missing or not good",
                hint="look at that store with `rotator check`",
            )
