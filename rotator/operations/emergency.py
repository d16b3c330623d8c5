"""Revocation, and the leak of a whole store (rule 6)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from rotator import transitions
from rotator.errors import (
    RotatorError,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from rotator.fence import writing
from rotator.keys import NewKey
from rotator.operations import statement
from rotator.operations.aftermath import Known, Place, Revocation
from rotator.operations.done import (
    Done,
    again_on_conflict,
    carry_on,
    existing,
    need,
)
from rotator.reconcile.gather import judge_clock, look_around, observe
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.steps import begin_creation, self_test
from rotator.reconcile.view import View, update
from rotator.ring import ENDED, Key, KeyRing, Phase
from rotator.step import Reason

_PLACES: Final = 64
PATIENCE: Final = timedelta(seconds=5)
"""How long an emergency waits for all targets together, at each look and in each phase of writing.

A target that takes longer is the business of the next tick.
"""
_REVOCABLE: Final = (Phase.CREATING, Phase.PENDING, Phase.ACTIVE, Phase.RETIRING)


def revoke(site: Site, kids: Sequence[str], why: str, *, dry_run: bool = False) -> Done:
    """Take keys out at once, all named ones in one swap, with a successor if the active is among them.

    Nothing delays it: no hold, pin, limit, dead target, nor a suspicious clock.

    Raises:
        UsageError: an unknown or ended kid; nothing is changed.
        StoreUnavailable, StoreDenied: the ring could not be saved.
    """
    return again_on_conflict(lambda: _revoke_once(site, kids, why, dry_run=dry_run))


def _revoke_once(site: Site, kids: Sequence[str], why: str, *, dry_run: bool) -> Done:
    view = existing(site, patience=PATIENCE)
    for kid in kids:
        need(view.ring, kid)
    active = view.ring.active
    wanted = active is not None and active.kid in kids
    successor = next(_candidates(view, kids), None) if wanted else None
    about = _about(view, kids, why)
    said = statement.of_revocation(about, _known(view), successor, active=wanted)
    if dry_run:
        return Done(said)
    chosen = None
    if wanted:
        chosen = next((key.kid for key in _candidates(view, kids) if _good(view, key)), None)
        chosen = chosen or _new_key(view)
    _revoke_now(view, kids, why, chosen)
    return Done(said, _carried_out(view), about)


def emergency(site: Site, why: str, *, dry_run: bool = False) -> Done:
    """The store leaked: revoke every key and make a new one. Works on a stopped key set too.

    Raises:
        StoreUnavailable, StoreDenied: the ring or the new material could not be saved.
    """
    return again_on_conflict(lambda: _emergency_once(site, why, dry_run=dry_run))


def _emergency_once(site: Site, why: str, *, dry_run: bool) -> Done:
    view = _any_view(site)
    kids = [key.kid for key in view.ring.in_phase(*_REVOCABLE)]
    about = _about(view, kids, why)
    said = statement.of_emergency(about, _known(view))
    if dry_run:
        return Done(said)
    new = _new_key(view)
    try:
        _revoke_now(view, kids, why, new)
    except RotatorError:
        _take_back(view, new)
        raise
    return Done(said, _carried_out(view), about)


def _carried_out(view: View) -> Outcome:
    """Write what follows. Signers are asked anew after that: what they said before is no word on the revoked keys."""
    outcome = carry_on(view)
    view.site.memory.asked.clear()
    return outcome


def _about(view: View, kids: Sequence[str], why: str) -> Revocation:
    site = view.site
    return Revocation(
        before=view.ring,
        kids=tuple(kids),
        why=why,
        policy=view.ring.in_force(site.policy),
        places=tuple(Place(item.name, item.kind, item.writable) for item in site.targets),
        verifiers=site.verifiers,
        at=view.date(),
        trusted=view.trusting,
    )


def _known(view: View) -> Known:
    return Known(view.ring, view.observed, view.now)


def _take_back(view: View, kid: str) -> None:
    """Destroy material that no ring knows of, for the ring that would have did not get saved."""
    key = view.ring.find(kid)
    unrecorded = view.loaded.find(kid) is None
    if unrecorded and key is not None and key.locator is not None:
        with contextlib.suppress(StoreError):
            view.site.material.destroy(key.locator, kid)


def _candidates(view: View, kids: Sequence[str]) -> Iterator[Key]:
    """Yield who may succeed, the safest first; a new key is what is left when all are passed over."""
    ring, required = view.ring, [name for name, _ in view.observed.announcing()]
    wait = ring.in_force(view.site.policy).propagation_wait
    pending = [key for key in ring.in_phase(Phase.PENDING) if key.kid not in kids]
    ready = []
    for key in pending:
        since = key.announced_at(required)
        if since is not None and not view.observed.suspicious and view.now >= since + wait:
            ready.append(key)
    yield from ready
    retiring = [k for k in ring.in_phase(Phase.RETIRING) if k.kid not in kids and k.locator]
    yield from sorted(retiring, key=lambda key: key.retiring_at or key.created_at, reverse=True)
    yield from (key for key in pending if key not in ready)


def _good(view: View, key: Key) -> bool:
    """One bounded try: a candidate that cannot be read now is passed over like one that fails."""
    try:
        return self_test(view, key)
    except StoreError:
        return False


def _new_key(view: View) -> str:
    """Make a key that signs at once, without the wait after discards."""
    site = view.site
    if view.loaded.revision == 0 or not view.trusting:
        return _new_key_unrecorded(view)
    new = begin_creation(view, Reason.REVOCATION)
    key = view.ring.find(new.kid)
    if key is None or key.locator is None:
        raise StoreCorrupt(f"key set {site.key_set} lost the key that was just created")
    # Others give the key up only later than this after the swap; looks at dead targets do not count here.
    swapped_at, window = site.clock.elapsed(), view.policy_window
    with writing(lambda: site.clock.elapsed() - swapped_at <= window):
        site.material.put(key.locator, key.kid, new.material)
    _must_read_back(view, key)
    return new.kid


def _new_key_unrecorded(view: View) -> str:
    """The same when no trusted ring is there to record it in first: it enters with the revocation."""
    site, kind = view.site, view.site.policy.kind
    new = site.keys.make(kind)
    locator = _put_somewhere(view, new)
    at = view.date()
    key = Key(new.kid, kind.algorithm, kind.size, Phase.PENDING, locator, at, new.public, new.check)
    key = replace(key, pending_at=at)
    try:
        _must_read_back(view, key)
    except StoreError:
        with contextlib.suppress(StoreError):
            site.material.destroy(locator, new.kid)  # no ring knows of it
        raise
    view.ring = view.ring.with_key(key)
    return new.kid


def _must_read_back(view: View, key: Key) -> None:
    """Test the material that was just put.

    Raises:
        StoreUnavailable: it is not to be seen yet; nothing was revoked.
        StoreCorrupt: it is not what was put.
    """
    if self_test(view, key):
        return
    what = f"the material of a new key of key set {view.site.key_set}"
    if key.locator is None or view.site.material.get(key.locator, key.kid) is None:
        raise StoreUnavailable(
            f"{what} is not to be found right after it was put",
            hint="nothing was revoked yet; give the same command again",
        )
    raise StoreCorrupt(
        f"{what} does not read back as written",
        hint="the store cannot be relied on; nothing was revoked yet",
    )


def _put_somewhere(view: View, new: NewKey) -> str:
    """Write material where nothing of a lost ring lies: no ring is there to say which places are taken."""
    material, taken = view.site.material, view.ring.locators
    for _ in range(_PLACES):
        locator = material.allocate(new.kid, taken)
        try:
            material.put(locator, new.kid, new.material)
        except StoreCorrupt:
            taken |= {locator}
        else:
            return locator
    raise StoreCorrupt(
        f"the store has no place for a new key of key set {view.site.key_set}",
        hint="delete the material of its old keys there first",
    )


def _revoke_now(view: View, kids: Sequence[str], why: str, successor: str | None) -> None:
    window = view.ring.in_force(view.site.policy).write_window

    def change(ring: KeyRing) -> KeyRing | None:
        left = [kid for kid in kids if (key := ring.find(kid)) and key.phase not in ENDED]
        if not left and successor is None:
            return None
        # A candidate may be gone since it was tested; the next run chooses another.
        heir = ring.find(successor) if successor else None
        if heir is not None and heir.phase is Phase.CREATING:
            ring = transitions.created(ring, heir.kid, view.date())
        return transitions.revoke(
            ring,
            left,
            view.date(),
            why,
            successor=successor,
            write_window=window,
            fresh=not view.trusting,
        )

    if view.trusting:
        update(view, change)
        return
    # What the store holds is no ring to go on from after a conflict: begin anew.
    view.ring = change(view.ring) or view.ring
    view.swap()


def _any_view(site: Site) -> View:
    """Look at a key set even if it is stopped; its next revision is above every one seen."""
    try:
        return look_around(site, patience=PATIENCE)
    except RotatorError:
        view = View(site, trusting=False, patience=PATIENCE)
        view.look()
        seen = [item.sighting.revision or 0 for item in view.seen if item.sighting.ours]
        highest = max([view.loaded.revision, site.memory.revision, *seen])
        view.loaded = replace(view.loaded, revision=highest)
        view.ring = view.loaded
        view.observed = observe(view, judge_clock(view))
        return view
