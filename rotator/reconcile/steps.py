"""Carrying out a step: self-tests, material, and the swap, in DESIGN's writing order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from rotator import transitions
from rotator.errors import RotatorError, StoreCorrupt, StoreError, StoreUnavailable
from rotator.fence import writing
from rotator.keys import NewKey
from rotator.reconcile.mend import Stalled
from rotator.reconcile.view import View, update
from rotator.ring import ENDED, Key, KeyRing, Phase
from rotator.step import Do, Reason, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SELF_TEST_FAILED = "self-test failed"


def execute(view: View, step: Step) -> dict[str, RotatorError]:
    """Carry out one step; return what failed without harm (an unreadable store only waits).

    Raises:
        Conflict, StoreUnavailable, StoreDenied: the swap was not made.
    """
    acts: dict[Do, Callable[[View, Step], dict[str, RotatorError]]] = {
        Do.CREATE: _create,
        Do.TAKE_OVER: _take_over,
        Do.PROMOTE: _promote,
        Do.RETIRE: _retire,
        Do.DISCARD: _discard,
        Do.DESTROY: _destroy,
    }
    return acts[step.do](view, step)


def begin_creation(view: View, why: Reason) -> NewKey:
    """Make a key and enter it into the ring as `creating`, before its material is written anywhere.

    A key that was made but came too late for its write window is kept for the next try, so that slow
    generation cannot starve a key set of short durations. Once the ring was on its way to the store the
    key is never tried again: after a lost answer nobody knows whether that ring had it, and by the time
    of the next try it may have ended and left even the history.
    """
    site, kind = view.site, view.site.policy.kind
    new, site.memory.spare = site.memory.spare, None
    if new is None or new.kind != kind:
        new = site.keys.make(kind)
    if view.ring.find(new.kid) is not None or any(e.kid == new.kid for e in view.ring.history):
        raise StoreCorrupt(
            f"a new key of key set {site.key_set} has the kid of an earlier one",
            hint="the random source of this host repeats itself (a restored snapshot?); nothing was written",
        )
    try:
        locator = site.material.allocate(new.kid, view.ring.locators)
    except StoreError:
        site.memory.spare = new
        raise
    at = view.date()
    key = Key(
        new.kid, kind.algorithm, kind.size, Phase.CREATING, locator, at, new.public, new.check
    )
    view.ring = transitions.add_creating(view.ring, key, at, why)
    try:
        view.swap()
    except Stalled:
        site.memory.spare = new
        raise
    return new


def self_test(view: View, key: Key) -> bool:
    """Read a key's material back, sign, and verify with the ring's half (rule 3).

    Raises:
        StoreUnavailable, StoreDenied: the material could not be read, which says nothing about it.
    """
    if key.locator is None:
        return False
    material = view.site.material.get(key.locator, key.kid)
    return material is not None and view.site.keys.proves(key, material)


def _has_material(view: View, key: Key) -> bool:
    return key.locator is not None and view.site.material.get(key.locator, key.kid) is not None


def _young(view: View, since: datetime) -> bool:
    """True as long as a creation may take, after material was put."""
    return view.date() - since < view.ring.in_force(view.site.policy).create_timeout


def discard_unfit(view: View, kids: Iterable[str]) -> None:
    """Discard pending keys whose material turned out not to be theirs (rule 3)."""
    for kid in dict.fromkeys(kids):

        def change(ring: KeyRing, kid: str = kid) -> KeyRing | None:
            found = ring.find(kid)
            if found is None or found.phase is not Phase.PENDING:
                return None
            if _young(view, found.pending_at or found.created_at):
                return None  # the store may only be slow to show it
            return _discarded(view, ring, kid, SELF_TEST_FAILED)

        update(view, change)


def _create(view: View, step: Step) -> dict[str, RotatorError]:
    before = view.ring
    try:
        new = begin_creation(view, step.reason)
    except StoreError as error:
        if view.ring is not before:
            raise
        _stuck(view, (step.do, step.kid))  # the store has no place for its material
        return {"material": error}
    key = view.ring.find(new.kid)
    if key is None or key.locator is None:
        return {}
    try:
        view.fence()
        with writing(view.in_time):
            view.site.material.put(key.locator, key.kid, new.material)
        view.site.memory.put.add(key.kid)
        _settle(view, key, _test(view, key, key.created_at), SELF_TEST_FAILED)
    except StoreError as error:
        # The ring says `creating`; whoever comes next takes it over or discards it.
        return {"material": error}
    return {}


def _take_over(view: View, step: Step) -> dict[str, RotatorError]:
    key, put = view.ring.find(step.kid), view.site.memory.put
    if key is None:
        return {}
    try:
        tested = _test(view, key)
    except StoreError as error:
        _stuck(view, (step.do, step.kid))
        return {"material": error}
    # Where this process put the material itself, and it is not there, the store has failed.
    _settle(view, key, tested, SELF_TEST_FAILED if key.kid in put else step.reason.value)
    put.discard(key.kid)
    return {}


def _test(view: View, key: Key, since: datetime | None = None) -> tuple[bool, bool]:
    """Return whether a key's material proves good, and whether there is any.

    Args:
        since: when it was put. A store may take a moment to show what it took, so for as long as a creation
            may take "not there" is no answer.

    Raises:
        StoreUnavailable: it is not to be seen yet; and as `self_test`.
    """
    good = self_test(view, key)
    there = good or _has_material(view, key)
    if not there and since is not None and _young(view, since):
        raise StoreUnavailable(
            f"the material of key {key.kid} of key set {view.site.key_set} is not to be found yet",
            hint="it was put a moment ago; a store that is slow to show it does so by the next tick",
        )
    return good, there


def _settle(view: View, key: Key, tested: tuple[bool, bool], absent: str) -> None:
    """A `creating` key becomes `pending` if its material proved good, else it is discarded.

    Args:
        absent: why it is discarded when there is no material at all. Where its creator died before
            writing any, nothing has failed, and the next creation need not wait (rule 3).
    """
    good, there = tested
    why = SELF_TEST_FAILED if there else absent

    def change(ring: KeyRing) -> KeyRing | None:
        found = ring.find(key.kid)
        if found is None or found.phase is not Phase.CREATING:
            return None
        if good:
            return transitions.created(ring, key.kid, view.date())
        return _discarded(view, ring, key.kid, why)

    if update(view, change) and not good:
        _destroy_early(view, key)


def _promote(view: View, step: Step) -> dict[str, RotatorError]:
    key = view.ring.find(step.kid)
    if key is None:
        return {}
    try:
        good, _ = _test(view, key, key.pending_at)
    except StoreError as error:
        # An unreadable store only waits; what was seen is still worth recording.
        if view.ring != view.loaded:
            view.swap()
        return {"material": error}
    if good:
        view.ring = transitions.promote(view.ring, key.kid, view.date(), step.reason.value)
    else:
        view.ring = _discarded(view, view.ring, key.kid, SELF_TEST_FAILED)
    view.swap()
    return {}


def _retire(view: View, step: Step) -> dict[str, RotatorError]:
    view.ring = transitions.retire(view.ring, step.kid, view.date())
    view.swap()
    return {}


def _discard(view: View, step: Step) -> dict[str, RotatorError]:
    view.ring = _discarded(view, view.ring, step.kid, step.reason.value)
    view.swap()
    return {}


def _destroy(view: View, step: Step) -> dict[str, RotatorError]:
    key = view.ring.find(step.kid)
    if key is None:
        return {}
    try:
        view.fence()
        if key.locator is not None:
            view.site.material.destroy(key.locator, key.kid)
    except Stalled:
        raise
    except StoreUnavailable as error:
        # It is not asked for the others either: each of them would take as long to fail.
        _stuck(view, *((Do.DESTROY, item.kid) for item in view.ring.in_phase(*ENDED)))
        return {"material": error}
    except StoreError as error:
        _stuck(view, (Do.DESTROY, key.kid))
        return {"material": error}
    view.ring = transitions.destroyed(view.ring, key.kid, view.date())
    view.swap()
    return {}


def _stuck(view: View, *steps: tuple[str, str]) -> None:
    """Note steps, by what they do and their kids, that failed without any effect: the tick goes on."""
    view.observed = replace(view.observed, stuck=view.observed.stuck.union(steps))


def _discarded(view: View, ring: KeyRing, kid: str, why: str) -> KeyRing:
    window = ring.in_force(view.site.policy).write_window
    return transitions.discard(ring, kid, view.date(), why, write_window=window)


def _destroy_early(view: View, key: Key) -> None:
    """Destroy what may be there at once; the final destruction comes when no writer can be left."""
    if key.locator is None:
        return
    try:
        view.fence()
        view.site.material.destroy(key.locator, key.kid)
    except StoreError as error:
        view.site.emit(
            "debug", "key.destroy_later", key_set=view.site.key_set, kid=key.kid, reason=str(error)
        )
