"""What `rotator check` looks at: one key set, with everything that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rotator.assemble import Assembly
from rotator.calendar import remembered
from rotator.cli.absent import lost_ring, word_needed
from rotator.cli.amiss import (
    lacking,
    nobody_rotates,
    says_why,
    unserved,
    with_lateness,
)
from rotator.cli.inspecting_places import fault
from rotator.cli.reading import kinds_of, ring_of, suspicion
from rotator.cli.signing import left_findings, signer_findings
from rotator.errors import RotatorError, StoreError
from rotator.inspection import Finding
from rotator.observed import DocumentKind, Sighting
from rotator.plan import waiting_for
from rotator.policy import format_duration
from rotator.profiles import advice
from rotator.reconcile import asking
from rotator.reconcile.gather import refuse_misfit
from rotator.reconcile.look import Seen, look_at
from rotator.reconcile.site import Site
from rotator.ring import Key, KeyRing, Phase
from rotator.stores import Target

_TESTED: Final = (Phase.PENDING, Phase.ACTIVE)


def inspect_key_set(assembly: Assembly, name: str) -> Iterator[Finding]:
    """Read a key set's ring, look at its targets, and test the material of its keys."""
    configured = assembly.settings.key_sets[name]
    for note in advice(configured.verifiers):
        yield Finding("advice", note)
    try:
        site = assembly.site(name, reading=True)
        yield from _rotatable(assembly, name)
        ring = ring_of(site)
        looks, signers, faults = _looks(site, ring)
        if asking.doubtful(ring, signers):
            # Whoever signs with another key may have it from a later ring, which is there by now.
            newer = ring_of(site)
            if newer.revision != ring.revision:
                ring = newer
                looks, signers, faults = _looks(site, ring)
    except RotatorError as error:
        yield fault(error)
        return
    lost = lost_ring(site, looks) if ring.revision == 0 else None
    yield from _ring(site, ring) if lost is None else [fault(lost)]
    yield from _neglect(site, ring)
    yield from faults
    for seen in looks:
        # One cause, one fault: what a lost ring left behind was named with it.
        if lost is None or not (seen.sighting.filled and seen.sighting.ours):
            yield from _target(site, ring, seen)
    yield from signer_findings(site, ring, looks, signers)
    yield from left_findings(site, ring)
    for key in ring.in_phase(*_TESTED):
        yield _material(site, key)


def _looks(site: Site, ring: KeyRing) -> tuple[list[Seen], list[Seen], list[Finding]]:
    """Look at every target and ask every signer; return both, and what could not be looked at."""
    looks: list[Seen] = []
    signers: list[Seen] = []
    faults = []
    places: list[tuple[Target, list[Seen]]] = [(target, looks) for target in site.targets]
    places += [(check, signers) for check in site.signers]
    for target, found in places:
        try:
            found.append(look_at(target, ring, site.keys, site.clock))
        except RotatorError as error:
            # A fault of the configuration: a store without documents, an SDK that is not there.
            faults.append(fault(error))
    return looks, signers, faults


def _rotatable(assembly: Assembly, name: str) -> Iterator[Finding]:
    """Say what `rotator run` may do with a key set and the other commands refuse."""
    try:
        assembly.site(name)
    except RotatorError as error:
        if assembly.settings.server is None:
            raise
        yield Finding("advice", error.message, hint=error.hint)


def _ring(site: Site, ring: KeyRing) -> Iterator[Finding]:
    if ring.revision == 0:
        yield Finding("ok", f"no ring yet at {site.place}")
        needed = word_needed(site)
        if needed:
            hint = f"`rotator rotate {site.key_set} --first-run`, if there never was a ring"
            yield Finding("advice", f"the first key takes an operator's word: {needed}", hint=hint)
        return
    yield Finding("ok", f"ring of revision {ring.revision} at {site.place}")
    suspicious = suspicion(site, ring)
    if suspicious:
        yield Finding("fault", suspicious, exit_code=75)
    try:
        refuse_misfit(ring, site)
    except RotatorError as error:
        yield fault(error)
    for key in ring.in_phase(Phase.RETIRING):
        if key.kid in ring.pins:
            yield Finding("advice", f"{key.kid} is pinned and never retires until `rotator unpin`")
    if ring.hold is not None:
        yield Finding("advice", "held: nothing rotates until `rotator release`")


def _neglect(site: Site, ring: KeyRing) -> Iterator[Finding]:
    """Say when something has been due for long, and nobody does it: a dead cron has no other voice."""
    now = site.clock.now()
    observed = replace(remembered(ring, kinds_of(site)), suspicious=suspicion(site, ring))
    steps = waiting_for(ring, site.policy, now, observed)
    neglect = nobody_rotates(with_lateness(steps, ring, site.policy, now), ring, site.policy)
    if neglect:
        hint = says_why(site.key_set)
        yield Finding("fault", f"overdue: {neglect}", hint=hint, exit_code=75)


def _way_out(site: Site, ring: KeyRing, seen: Seen) -> str:
    """Return what to do about a document that somebody else wrote: keys in use are never cleared away."""
    take_over = f"`rotator recover {site.key_set} --take-over {seen.target.name}`"
    in_use = _holds_keys(seen)
    if ring.revision and not in_use:
        return f"clear it, or {take_over}"
    if ring.revision:
        carried = seen.target.kind is DocumentKind.JWKS and seen.sighting.strangers
        return take_over + (
            ", which publishes its keys until their grace has passed" if carried else ""
        )
    first = f"`rotator rotate {site.key_set} --first-run`"
    if in_use:
        adopt = f"`rotator adopt {site.key_set} --from PLACE`"
        return f"{adopt} takes in the key that signs; if none of its keys does, {first} first and then {take_over}"
    return f"clear it; or, if there never was a ring, {first} first and then {take_over}"


def _holds_keys(seen: Seen) -> bool:
    """True also for keys without a kid, and for a JWKS that is not one to the letter."""
    body = seen.document.body if seen.document is not None else b""
    return bool(seen.sighting.strangers) or b'"kty"' in body


def _target(site: Site, ring: KeyRing, seen: Seen) -> Iterator[Finding]:
    name, sighting = seen.target.name, seen.sighting
    if not sighting.answered:
        code = sighting.exit_code if sighting.exit_code in (77, 78) else 75
        yield Finding("fault", f"no answer from {name}: {sighting.error}", exit_code=code)
        return
    if sighting.foreign:
        yield Finding(
            "fault",
            f"{name} is filled by something that this key set did not write",
            hint=_way_out(site, ring, seen),
            exit_code=75,
        )
        return
    if sighting.ours and (sighting.revision or 0) > ring.revision:
        yield Finding(
            "fault",
            f"{name} has revision {sighting.revision}, above the ring's {ring.revision}",
            hint=f"the ring is an old or lost one: `rotator recover {site.key_set} --ring FILE`",
            exit_code=65,
        )
        return
    wrong = dict(lacking(ring, [(name, sighting)])) if seen.target.writable else {}
    for text in wrong.values():
        hint = f"`rotator rotate {site.key_set}` mends it"
        yield Finding("fault", text, hint=hint, exit_code=75)
    elsewhere = [] if seen.target.writable else list(unserved(ring, [(name, sighting)]))
    for _, text in elsewhere:
        yield Finding(
            "fault", text, hint="see who serves it, and any cache before it", exit_code=75
        )
    if not wrong and not elsewhere:
        held = ", ".join(sighting.kids) or "nothing"
        yield Finding("ok", f"{name} answers with {held}")
    yield from _remarks(site, name, sighting)
    if seen.witness is not None and not seen.witness.agrees(site.policy.clock_skew):
        apart = format_duration(seen.witness.apart())
        yield Finding(
            "fault", f"this host's clock is {apart} away from that of {name}", exit_code=75
        )


def _remarks(site: Site, name: str, sighting: Sighting) -> Iterator[Finding]:
    if sighting.strangers:
        kids = ", ".join(sighting.strangers)
        yield Finding("advice", f"{name} has keys that the ring does not know: {kids}")
    if sighting.note:
        yield Finding("advice", f"{name}: {sighting.note}")
    cached = site.policy.jwks_max_age + site.policy.jwks_stale
    if sighting.cache is not None and sighting.cache > cached:
        yield Finding(
            "advice",
            f"{name} may be cached for {format_duration(sighting.cache)}, longer than the "
            f"{format_duration(cached)} of jwks_max_age + jwks_stale; promotion waits for it",
        )


def _material(site: Site, key: Key) -> Finding:
    try:
        found = site.material.get(key.locator, key.kid) if key.locator else None
    except StoreError as error:
        return fault(error)
    if found is not None and site.keys.proves(key, found):
        return Finding("ok", f"the material of {key.kid} ({key.phase}) signs")
    return Finding(
        "fault",
        f"the material of {key.kid} ({key.phase}) is {'missing' if found is None else 'not its own'}",
        hint=f"restore it, or `rotator revoke {site.key_set} {key.kid} --reason lost`",
        exit_code=65,
    )
