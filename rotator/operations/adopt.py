"""Adopting a live key: a key that signs already enters a new ring without a verifier noticing.

The ring says `creating` before the material is written, and the key is active in the same swap in which
the other keys of the live JWKS enter it. A crash leaves nothing that anybody else goes on with: the same
command again finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rotator import transitions
from rotator.errors import ClockSuspicious, StoreCorrupt, TargetFailing, UsageError
from rotator.evidence import absorb
from rotator.observed import DocumentKind
from rotator.operations.done import Done, again_on_conflict, carry_on
from rotator.operations.live_jwks import Wish, algorithm_of, kid_of, live_jwks, others_at
from rotator.operations.live_key import kind_of_live
from rotator.policy import format_duration
from rotator.reconcile.gather import judge_clock, look_around, observe, refuse_misfit
from rotator.reconcile.look import Seen, jwks_in
from rotator.reconcile.site import Site
from rotator.reconcile.steps import self_test
from rotator.reconcile.view import View
from rotator.ring import ADOPTION, Key, KeyRing, Phase
from rotator.words import moment


def adopt(site: Site, wish: Wish, *, dry_run: bool = False) -> Done:
    """Take a live key into a new ring, as the current key.

    Nothing changes for verifiers: the JWKS that is live at a target stays, with its other keys as
    `retiring`, and what is added is the next key, which waits for its propagation like any other.

    Raises:
        UsageError: the key set has a ring, or the key, its kid and the live JWKS do not go together.
        ConfigError: the key set is configured for another type of key.
        TargetFailing: a target or probe does not answer: what verifiers have there cannot be told.
        StoreCorrupt: documents of this key set are about, so that its ring was lost; or the material does
            not read back as it was written.
        ClockSuspicious: a suspicious clock begins nothing.
    """
    return again_on_conflict(lambda: _once(site, wish, dry_run=dry_run))


def _once(site: Site, wish: Wish, *, dry_run: bool) -> Done:
    view = _view(site)
    lives = live_jwks(view)
    kid = kid_of(wish, lives, site.key_set)
    kind = kind_of_live(wish.live, algorithm_of(wish, kid, lives, site.policy.kind.algorithm))
    key = Key(
        kid,
        kind.algorithm,
        kind.size,
        Phase.CREATING,
        None,
        view.date(),
        wish.live.public,
        site.keys.check(kid, wish.live.material),
    )
    known = _known(view, key)
    others = others_at(view, key)
    _refuse_unfit(view, wish, key, others)
    foreign = [item for item in view.seen if item.target.writable and item.sighting.foreign]
    said = _statement(view, wish, key, others, foreign)
    if known is not None and known.phase is Phase.ACTIVE:
        if not foreign:
            return Done((f"key set {site.key_set}: {kid} is adopted already; nothing to do",))
    elif not dry_run:
        _store(view, wish, known or key)
    if dry_run:
        return Done(said)
    _enter(view, wish, kid, lives)
    for item in foreign:
        found = {name: held for name, held in others.items() if name in lives[item.target.name]}
        view.ring = transitions.take_over(view.ring, found, item.target.name, view.date())
    for name, other in others.items():
        if view.ring.find(name) is None:  # only a probe showed it
            where = next(target for target, jwks in lives.items() if name in jwks)
            view.ring = transitions.take_over(view.ring, {name: other}, where, view.date())
    view.swap()
    view.seen = tuple(_ours(item) if item in foreign else item for item in view.seen)
    return Done(said, carry_on(view))


def _view(site: Site) -> View:
    """Load and look. A missing ring is what an adoption begins with, unless the ring was lost (rule 4)."""
    site.memory.failing.clear()
    view = View(site)
    if view.loaded.revision:
        view = look_around(site)
    else:
        view.look()
        view.read_clock()
        view.observed = observe(view, judge_clock(view))
        ours = [
            i.target.name for i in view.seen if i.document and i.document.key_set == site.key_set
        ]
        if ours or site.memory.revision:
            raise StoreCorrupt(
                f"key set {site.key_set} had a ring: its documents are at {', '.join(ours) or 'targets'}",
                hint=f"bring the ring back with `rotator recover {site.key_set} --ring FILE` instead",
            )
        view.ring = absorb(view.loaded, site.policy, view.now, view.observed)
    if view.observed.suspicious:
        raise ClockSuspicious(f"no adoption: {view.observed.suspicious}")
    silent = [f"{i.target.name} ({i.sighting.error})" for i in view.seen if not i.sighting.answered]
    if silent:
        raise TargetFailing(
            f"no answer from {', '.join(silent)}: what verifiers or signers have there cannot be told",
            hint="mend it, or take it out of the configuration, then adopt",
        )
    return view


def _known(view: View, key: Key) -> Key | None:
    """Return the key as the ring has it, None when there is no ring.

    Raises:
        UsageError: the ring is not one that this adoption began.
    """
    ring = view.loaded
    if not ring.revision:
        return None
    known = ring.find(key.kid)
    same = known is not None and (known.public, known.check) == (key.public, key.check)
    if known is not None and same:
        begun = known.phase is Phase.CREATING and known.reason == ADOPTION
        if begun or known.phase is Phase.ACTIVE:
            return known
    raise UsageError(
        f"key set {ring.key_set} has a ring already: a live key is adopted into a new one only",
        hint="configure a key set of another name for this key; or, if the ring has nothing in use, "
        "revoke its keys and delete it from the store",
    )


def _refuse_unfit(view: View, wish: Wish, key: Key, others: Mapping[str, Key]) -> None:
    site = view.site
    for item in view.seen:
        jwks = item.target.kind is DocumentKind.JWKS and item.document is not None
        held = jwks_in(item.target.kind, item.document.body) if jwks and item.document else None
        if held is not None and not wish.live.same_public_half(held.get(key.kid, {})):
            what = "another key under that kid" if key.kid in held else "no such key"
            raise UsageError(
                f"{item.target.name} has {what}: verifiers there reject the tokens of {key.kid}",
                hint="is this the key that signs now? is that the JWKS that its verifiers read?",
            )
    if wish.since is not None and wish.since > view.now:
        raise UsageError(
            f"{moment(wish.since)} is in the future",
            hint="`--since` is the day on which the key began to sign",
        )
    refuse_misfit(KeyRing(site.key_set, keys=(replace(key, phase=Phase.ACTIVE),)), site)
    mixed = {other.kind.kty for other in others.values()} - {key.kind.kty}
    if mixed and not site.policy.allow_mixed_kty:
        raise UsageError(
            f"the live JWKS has keys of type {', '.join(sorted(mixed))} beside {key.kind.kty}",
            hint="its verifiers bear that: say `allow_mixed_kty: true`, or take those keys out there first",
        )
    if not site.keys.proves(key, wish.live.material):
        raise UsageError(
            f"what is signed with this key does not verify with its own public half by {key.algorithm}",
            hint="export it again from where it is in use",
        )


def _store(view: View, wish: Wish, key: Key) -> None:
    """Enter the key as `creating`, write its material, and read it back."""
    site = view.site
    if key.locator is None:
        located = replace(key, locator=site.material.allocate(key.kid, view.ring.locators))
        view.ring = transitions.begin_adoption(view.ring, located, view.date())
        view.swap()
        key = view.ring.find(key.kid) or located
    view.fence()
    site.material.put(str(key.locator), key.kid, wish.live.material)
    if not self_test(view, key):
        raise StoreCorrupt(
            f"the material of {key.kid} does not read back from the store of key set {site.key_set} as written",
            hint="nothing was published or delivered; look at the store with `rotator check`, then adopt again",
        )


def _enter(view: View, wish: Wish, kid: str, lives: Mapping[str, Any]) -> None:
    key = view.ring.find(kid)
    if key is not None and key.phase is Phase.CREATING:
        where = (
            f"verifiers have it at {', '.join(sorted(lives))}" if lives else "nothing shows it yet"
        )
        view.ring = transitions.adopt(view.ring, kid, view.date(), wish.since, where)


def _ours(item: Seen) -> Seen:
    return replace(item, sighting=replace(item.sighting, ours=True, strangers=(), kids=()))


def _statement(
    view: View, wish: Wish, key: Key, others: Mapping[str, Key], foreign: list[Seen]
) -> tuple[str, ...]:
    site, policy = view.site, view.ring.in_force(view.site.policy)
    ready = view.now + policy.propagation_wait
    due = max((wish.since or view.now) + policy.rotate_every, ready)
    said = [f"key set {site.key_set}: adopting {key.kid} ({key.kind}): it is the current key"]
    shown = [i.target.name for i in view.seen if i.target.kind is DocumentKind.JWKS and i.document]
    if shown:
        said.append(f"verifiers have it: it is at {', '.join(shown)}")
    elif not key.kind.symmetric:
        said.append(
            "no target or probe shows it yet: let verifiers read here before the old JWKS goes"
        )
    said += [f"{i.target.name} is taken over, and goes on with every key in it" for i in foreign]
    if others:
        grace = format_duration(policy.grace_wait)
        said.append(
            f"its other keys ({', '.join(others)}) stay published until their grace of {grace} has passed; "
            "`rotator pin` those that somebody else signs with"
        )
    if key.kind != policy.kind:
        due = ready
        said.append(f"{policy.kind} is configured: the next key is of that kind")
    signing = ", ".join(i.target.name for i in view.seen if i.target.kind is DocumentKind.SIGNING)
    said.append(
        f"signers may go on with their copy until {moment(due)}; by then each must read its key from "
        f"{signing}, or `rotator hold` the key set"
    )
    return (*said, wish.live.note) if wish.live.note else tuple(said)
