"""Carrying a key set to another store: its ring and its material, verified, and never alive in two places.

    record of the arrival → material, each read back → tombstone in the old store → ring in the new one

Each of the three ring writes is a compare-and-set. Up to the tombstone the old ring is the only one and
everybody goes on with it; from the tombstone on nobody has a ring until the new one is saved, which is the
next write. A crash anywhere is finished by the same command again (docs/decisions/0014-moving.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from rotator.errors import Conflict, RingMoved, StoreCorrupt, TargetFailing
from rotator.operations.done import again_on_conflict
from rotator.operations.move_sides import Carried, Move, Side, There
from rotator.reconcile.gather import look_around
from rotator.reconcile.mend import Stalled
from rotator.reconcile.site import Site
from rotator.reconcile.view import View
from rotator.ring import ENDED, Entry, Key, KeyRing, Phase
from rotator.ring_document import write_bounded
from rotator.ring_moved import Moved, State, write_moved
from rotator.secret import Secret
from rotator.stores import Version

Fence = Callable[[], None]
"""Raises when this process stood still for so long that its write may come too late."""


def move(site: Site, source: Side, goal: Side, *, dry_run: bool = False) -> Carried:
    """Carry a key set from one store to another; what lies in the old one stays until it is confirmed.

    Kids, dates, orders and documents stay as they are; the revision goes up. Asked again, it goes on where
    it was stopped.

    Args:
        site: the key set over the ring and the material of `source`.

    Raises:
        StoreCorrupt: there is no ring to move, one in both stores, or material that is not good.
        UsageError: it was moved elsewhere, or another move of it is not done.
        TargetFailing: a key is just being created, or adopted.
        StoreUnavailable, StoreDenied: as the stores have it; the same command again goes on.
    """
    way = Move(site, source, goal)
    return again_on_conflict(lambda: _once(way, dry_run=dry_run))


@dataclass(frozen=True, slots=True)
class _Departure:
    """The ring that is to be carried, and what is needed to leave its place.

    Attributes:
        left: the tombstone, if it is there already.
        version: what the tombstone replaces, while it is not.
    """

    ring: KeyRing
    at: datetime
    fence: Fence
    left: Moved | None = None
    version: Version | None = None


def _once(way: Move, *, dry_run: bool) -> Carried:
    here, there = way.read(way.source), way.read(way.goal)
    if isinstance(here.content, Moved):
        way.refuse_elsewhere(here.content)
        if isinstance(there.content, KeyRing):
            done = f"key set {way.site.key_set}: moved to store {way.goal.name} already"
            return Carried((done, _next_word(way)), there.content.revision, changed=False)
        way.refuse_lost(here.content, there.content)
        ring, at = here.content.ring, here.content.at
        leaving = _Departure(ring, at, _own_fence(way.site, ring), here.content)
    else:
        view = _living(way, here)
        leaving = _Departure(view.loaded, view.date(), view.fence, version=view.version)
    way.refuse_occupied(there.content)
    arrival = _arrival(way, leaving, there.content)
    said = _statement(way, leaving, arrival)
    if dry_run:
        for key in leaving.ring.keys:
            if _has_material(key):
                _good(way, leaving.ring, key)
        return Carried(said, leaving.ring.revision + 2, changed=False)
    version = _record(way, there, arrival)
    for key in arrival.ring.keys:
        if _has_material(key):
            _carry(way, leaving, key)
    left = leaving.left or _leave(way, leaving)
    entry = Entry(left.at, "order.move", "", f"from store {way.source.name} to {way.goal.name}")
    living, document = write_bounded(
        replace(arrival.ring, revision=left.revision + 1).noting(entry)
    )
    way.goal.rings.save(document, replacing=version)
    way.report("ring.arrived", way.goal, revision=living.revision)
    return Carried((*said, _next_word(way)), living.revision, changed=True)


def _living(way: Move, here: There) -> View:
    """Look at a ring that is to leave, as everybody does who swaps one (rule 4)."""
    site, source = way.site, way.source
    if here.content is None:
        raise StoreCorrupt(
            f"store {source.name} has no ring of key set {site.key_set} ({source.place})",
            hint="name the store that has it with `--from`; `rotator status` reads the configured one",
        )
    try:
        view = look_around(site)
    except RingMoved as error:
        raise Conflict("somebody else moved the key set in between") from error
    creating = view.loaded.in_phase(Phase.CREATING)
    if creating:
        raise TargetFailing(
            f"key {creating[0].kid} of key set {site.key_set} is just being created or adopted: "
            "it is not moved half done",
            hint="`rotator status` says what it waits for; ask again after that",
        )
    return view


def _own_fence(site: Site, ring: KeyRing) -> Fence:
    """Return a fence that counts from now: after the tombstone no tick gives one."""
    since, window = site.clock.elapsed(), ring.in_force(site.policy).write_window

    def fence() -> None:
        if site.clock.elapsed() - since > window:
            raise Stalled(f"this process stood still while key set {site.key_set} was moved")

    return fence


def _has_material(key: Key) -> bool:
    return key.locator is not None and key.phase not in ENDED


def _arrival(way: Move, leaving: _Departure, there: KeyRing | Moved | None) -> Moved:
    """Return the ring as it will be in the new store: the same but for the locators.

    Ended keys have no material there: theirs is destroyed in the old store when the move is confirmed.
    """
    begun = there if isinstance(there, Moved) and there.state is State.ARRIVING else None
    before = {key.kid: key.locator for key in begun.ring.keys} if begun is not None else {}
    taken = frozenset(locator for locator in before.values() if locator is not None)
    keys = []
    for key in leaving.ring.keys:
        locator = None
        if _has_material(key):
            locator = before.get(key.kid) or way.goal.material.allocate(key.kid, taken)
            taken |= {locator}
        keys.append(replace(key, locator=locator))
    since = begun.at if begun is not None else leaving.at
    ring = replace(leaving.ring, keys=tuple(keys))
    return Moved(State.ARRIVING, way.source.name, since, ring)


def _record(way: Move, there: There, arrival: Moved) -> Version:
    """Record the arrival with its locators; material of an earlier try that nobody wants any more goes first."""
    if there.content == arrival and there.version is not None:
        return there.version
    if isinstance(there.content, Moved) and there.content.state is State.ARRIVING:
        wanted = arrival.ring.locators
        for key in there.content.ring.keys:
            if key.locator is not None and key.locator not in wanted:
                way.goal.material.destroy(key.locator, key.kid)
    return way.goal.rings.save(write_moved(arrival), replacing=there.version)


def _carry(way: Move, leaving: _Departure, key: Key) -> None:
    """Copy the material of one key, and read it back."""
    locator, goal = str(key.locator), way.goal
    secret = _good(way, leaving.ring, key)
    present = goal.material.get(locator, key.kid)
    if present is None:
        leaving.fence()
        goal.material.put(locator, key.kid, secret)
        present = goal.material.get(locator, key.kid)
    if present != secret or not way.site.keys.proves(key, present):
        raise StoreCorrupt(
            f"the material of key {key.kid} does not read back from store {goal.name} as it was written",
            hint="nothing was switched; look at that store with `rotator check`",
        )
    way.report("material.carried", goal, kid=key.kid)


def _leave(way: Move, leaving: _Departure) -> Moved:
    """Replace the old ring by its tombstone, if it is still the one whose material was carried."""
    left = Moved(State.LEFT, way.goal.name, leaving.at, leaving.ring)
    leaving.fence()
    way.source.rings.save(write_moved(left), replacing=leaving.version)
    way.report("ring.left", way.source, revision=left.revision)
    return left


def _good(way: Move, ring: KeyRing, key: Key) -> Secret:
    """Return the material of a key from the old store, proven against the ring's half."""
    old = ring.find(key.kid)
    locator = str(old.locator if old is not None else key.locator)
    secret = way.source.material.get(locator, key.kid)
    if secret is None or not way.site.keys.proves(key, secret):
        name, what = way.site.key_set, "is missing" if secret is None else "is not good"
        raise StoreCorrupt(
            f"the material of key {key.kid} of key set {name} {what} in store {way.source.name}",
            hint=f"`rotator revoke {name} {key.kid} --reason lost` first; nothing was switched",
        )
    return secret


def _statement(way: Move, leaving: _Departure, arrival: Moved) -> tuple[str, ...]:
    name, ring = way.site.key_set, leaving.ring
    carried = [key.kid for key in arrival.ring.keys if _has_material(key)]
    verb = "finishing the move" if leaving.left is not None else "moving"
    said = [
        (
            f"key set {name}: {verb} from store {way.source.name} to store {way.goal.name} "
            f"({way.goal.place})"
        ),
        f"material to carry, and to read back there: {', '.join(carried) or 'none'}",
        f"the ring of revision {ring.revision} is revision {ring.revision + 2} there, and leaves a tombstone",
    ]
    ended = [key.kid for key in ring.in_phase(*ENDED) if key.locator is not None]
    if ended:
        said.append(f"{', '.join(ended)} ended: not carried, destroyed with `--confirm`")
    return tuple(said)


def _next_word(way: Move) -> str:
    return (
        f"now say `store: {way.goal.name}` under `key_sets.{way.site.key_set}` wherever rotator runs, and "
        f"restart; then `{way.command} --confirm` destroys what is left in store {way.source.name}"
    )
