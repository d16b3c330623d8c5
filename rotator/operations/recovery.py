"""The ways out of a stopped key set: forget, take over, confirm the clock, restore a ring (rules 2 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from rotator import transitions
from rotator.errors import ConfigError, StoreCorrupt, StoreDenied, TargetFailing, UsageError
from rotator.evidence import longest
from rotator.observed import DocumentKind
from rotator.operations.done import Done, apply, carry_on, existing
from rotator.operations.found import keys_at
from rotator.reconcile.gather import judge_clock, observe
from rotator.reconcile.look import Seen
from rotator.reconcile.site import Site
from rotator.reconcile.steps import self_test
from rotator.reconcile.view import View
from rotator.ring import ENDED, Entry, Key, KeyRing, Phase
from rotator.ring_document import read_ring

_PLACES: Final = 16
"""How many places are looked at for the material of a key: more than a ring has keys."""


def forget(site: Site, target: str, *, dry_run: bool = False) -> Done:
    """Stop counting a target that is gone for good, whatever it may hold.

    Raises:
        UsageError: the ring does not know the target, or it answers.
    """

    def change(view: View) -> KeyRing:
        terms = {name for key in view.ring.keys for name in key.announced}
        known = sorted({*view.ring.holders, *terms})
        if target not in known:
            raise UsageError(
                f"key set {site.key_set} knows no target {target}",
                hint=f"it knows {', '.join(known) or 'none'}",
            )
        sighting = view.observed.sightings.get(target)
        if sighting is not None and sighting.answered:
            raise UsageError(
                f"{target} answers, there is nothing to forget",
                hint="take it out of the configuration first if it is to go",
            )
        return transitions.forget(view.ring, target, view.date())

    site.forgetting = target
    said = (
        (
            f"key set {site.key_set}: {target} no longer counts, and holds no key back; if a signer still "
            "reads it, its tokens will be rejected, and a verifier that does will miss new keys"
        ),
    )
    return apply(site, change, said, dry_run=dry_run)


def take_over(site: Site, target: str, *, dry_run: bool = False) -> Done:
    """Make a target ours that is filled by something else; keys found there stay published.

    Raises:
        UsageError: not a configured target that can be written, or filled by nobody else.
        TargetFailing: it does not answer.
    """
    view = existing(site)
    item = next((item for item in view.seen if item.target.name == target), None)
    if item is None or not item.target.writable:
        names = ", ".join(seen.target.name for seen in view.seen if seen.target.writable)
        raise UsageError(f"no target {target} to write to", hint=f"configured are {names}")
    if not item.sighting.answered:
        raise TargetFailing(f"no answer from {target}: {item.sighting.error}")
    if not item.sighting.foreign:
        raise UsageError(f"{target} is not filled by anything else; nothing to take over")
    kind = site.policy.kind
    rsa = kind.algorithm if kind.kty == "RSA" else None
    found = keys_at(item, view.ring, site.clock.now(), rsa)
    said = (
        f"key set {site.key_set}: what is at {target} is replaced",
        f"keys found there stay published until their grace has passed: {', '.join(found) or 'none'}",
    )
    if dry_run:
        return Done(said)
    view.ring = transitions.take_over(view.ring, found, target, view.date())
    view.swap()
    ours = replace(item.sighting, ours=True, strangers=(), kids=())
    view.seen = tuple(replace(seen, sighting=ours) if seen is item else seen for seen in view.seen)
    return Done(said, carry_on(view))


def confirm_clock(site: Site, *, dry_run: bool = False) -> Done:
    """The operator says that the clocks are right; dates from the future are cleared.

    Raises:
        UsageError: a server elsewhere says that this host's clock is wrong.
    """

    def change(view: View) -> KeyRing:
        now, skew = site.clock.now(), site.policy.clock_skew
        for item in view.seen:
            if item.witness is not None and not item.witness.agrees(skew):
                raise UsageError(
                    f"the clock of {item.witness.name} says {item.witness.date:%Y-%m-%dT%H:%M:%SZ}, "
                    f"this host's {item.witness.ours:%Y-%m-%dT%H:%M:%SZ}",
                    hint="set this host's clock right, then ask again",
                )
        site.memory.base = (now, site.clock.elapsed())
        return transitions.confirm_clock(view.ring, now)

    now = site.clock.now()
    said = (f"key set {site.key_set}: {now:%Y-%m-%dT%H:%M:%SZ} is right; later dates are cleared",)
    return apply(site, change, said, dry_run=dry_run)


def restore(
    site: Site, document: bytes, forget: tuple[str, ...] = (), *, dry_run: bool = False
) -> Done:
    """Make a ring from a backup the truth, with a revision above every one seen (rule 4).

    The key that the signing targets hold becomes active, other published keys `retiring`; every
    announced and superseded term starts anew, and so does whatever is to be lowered; no key comes back that
    no publication carries any more.

    Args:
        document: the bytes of the backup.
        forget: names of targets that need not answer.

    Raises:
        StoreCorrupt: the backup is no ring of this key set, or signers hold a key whose material is
            not there; the hint names the way left.
        TargetFailing: a target does not answer.
    """
    backup = read_ring(document, key_set=site.key_set, place="the file given")
    view = View(site, trusting=False)
    present = view.loaded
    highest = max(view.loaded.revision, backup.revision, site.memory.revision)
    version, view.loaded = view.version, backup
    view.look()
    _need_answers(view, forget)
    revisions = [item.sighting.revision or 0 for item in view.seen if item.sighting.ours]
    view.loaded = view.ring = replace(backup, revision=max([highest, *revisions]))
    view.version = version
    view.loaded = view.ring = _located(view)
    view.read_clock()
    view.observed = observe(view, judge_clock(view))
    signing = _held_by_signers(view)
    ring = _rebuilt(view, signing, view.date(), forget)
    ring = replace(ring, protection=longest(backup.protection, present.protection))
    view.ring = ring
    said: tuple[str, ...] = (
        (
            f"key set {site.key_set}: the ring of revision {backup.revision} comes back as revision "
            f"{view.loaded.revision + 1}"
        ),
        (
            f"{signing.kid if signing else 'no key'} signs; "
            f"{', '.join(key.kid for key in ring.in_phase(Phase.RETIRING)) or 'no other key'} only verifies"
        ),
    )
    if present.revision:
        said += (
            f"the ring in place, of revision {present.revision}, can be read: it is replaced all the same",
        )
    if dry_run:
        return Done(said)
    view.swap()
    return Done(said, carry_on(view))


def _need_answers(view: View, forget: tuple[str, ...]) -> None:
    silent = [i.target.name for i in view.seen if not i.sighting.answered]
    missing = [name for name in silent if name not in forget]
    if missing:
        raise TargetFailing(
            f"the ring of key set {view.site.key_set} is not restored: no answer from {', '.join(missing)}",
            hint="mend it, or add `--forget TARGET` if it is gone for good",
        )


def _held_by_signers(view: View) -> Key | None:
    """Return the key that is to be active: what signers hold, at the highest revision, and can use."""
    signing = [
        item
        for item in view.seen
        if item.target.kind is DocumentKind.SIGNING and item.sighting.filled and item.sighting.ours
    ]
    if not signing:
        active = view.loaded.active
        return active if active is not None and self_test(view, active) else None
    newest = max(signing, key=lambda item: item.sighting.revision or 0)
    for item in signing:
        _refuse_unusable(view, item)
    kid = newest.sighting.kids[0]
    return view.loaded.find(kid)


def _refuse_unusable(view: View, item: Seen) -> None:
    kids = item.sighting.kids
    key = view.loaded.find(kids[0]) if kids and not item.sighting.strangers else None
    if key is not None and key.phase not in ENDED and self_test(view, key):
        return
    held = ", ".join((*kids, *item.sighting.strangers)) or "an unknown key"
    if key is None or key.phase in ENDED:
        raise StoreCorrupt(
            f"signers hold {held} at {item.target.name}, which the backup does not know as a key in use",
            hint="take a newer backup of this key set; without one the way left is `rotator rotate "
            f"{view.site.key_set} --emergency`",
        )
    raise StoreCorrupt(
        f"signers hold {held} at {item.target.name}, whose material is not there or not good",
        hint=f"the way left is `rotator rotate {view.site.key_set} --emergency`",
    )


def _rebuilt(view: View, signing: Key | None, at: datetime, forget: tuple[str, ...]) -> KeyRing:
    carried: dict[str, Key] = {}
    for item in view.seen:
        if item.target.kind is not DocumentKind.SIGNING:
            carried.update(keys_at(item, view.loaded, at))
    # A target that left the configuration still counts, and may have been given any of these since.
    since = {*carried, *([signing.kid] if signing is not None else [])}
    holders = {
        name: tuple(sorted({*kids, *since}))
        for name, kids in view.loaded.holders.items()
        if name not in forget
    }
    ring = replace(view.loaded, promote=None, holders=holders, discards=0, discarded_at=None)
    for key in view.loaded.keys:
        ring = _as_found(ring, key, signing, carried, at)
    for kid, key in carried.items():
        if ring.find(kid) is None:
            located = replace(key, locator=_locate(view, key))
            ring = ring.with_key(
                replace(located, phase=Phase.RETIRING, created_at=at, retiring_at=at)
            )
    return ring.noting(Entry(at, "order.restore", signing.kid if signing else "", "from a backup"))


def _located(view: View) -> KeyRing:
    """Return the ring with the places where the material really lies.

    A backup may be from another store, or from before a move: locators are each store's own.
    """
    found: dict[str, str] = {}
    for key in view.loaded.keys:
        if key.phase not in ENDED and key.locator is not None:
            here = key.locator if _lies_at(view, key, key.locator) else _locate(view, key)
            if here is not None:
                found[key.kid] = here
    taken = set(found.values())
    keys = []
    for key in view.loaded.keys:
        # What was not found keeps its locator, unless another key's material lies there.
        kept = None if key.locator in taken else key.locator
        keys.append(replace(key, locator=found.get(key.kid, kept)))
    return replace(view.loaded, keys=tuple(keys))


def _lies_at(view: View, key: Key, locator: str) -> bool:
    try:
        found = view.site.material.get(locator, key.kid)
    except (StoreCorrupt, StoreDenied, ConfigError):
        return False  # another key's; or no place that this store could have
    return found is not None and view.site.keys.proves(key, found)


def _locate(view: View, key: Key) -> str | None:
    """Return where the material of a key lies, None when it is not found.

    A store that names material by its kid gives it away; one that numbers it is searched.
    """
    tried: frozenset[str] = frozenset()
    for _ in range(_PLACES):
        locator = view.site.material.allocate(key.kid, tried)
        if _lies_at(view, key, locator):
            return locator
        tried |= {locator}
    return None


def _as_found(
    ring: KeyRing, key: Key, signing: Key | None, carried: Mapping[str, Key], at: datetime
) -> KeyRing:
    if key.phase in ENDED:
        return ring
    anew = replace(key, announced={}, superseded_at=None)
    if signing is not None and key.kid == signing.kid:
        active = replace(anew, phase=Phase.ACTIVE, activated_at=at, retiring_at=None)
        return ring.with_key(active)
    if key.kid in carried:
        return ring.with_key(replace(anew, phase=Phase.RETIRING, retiring_at=at))
    ended = replace(anew, phase=Phase.DISCARDED, ended_at=at, reason="not published any more")
    return ring.with_key(ended)
