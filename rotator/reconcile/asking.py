"""Asking signers: who is asked in a tick, what is remembered in between, what a look there teaches.

A check is asked as often as its `every` allows, for it costs its issuer a token. What it said before is used
meanwhile, but for two cases: once another key signs than then, it says nothing any more; and before a key is
retired every signer is looked at once more (rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rotator.errors import RotatorError, TargetFailing
from rotator.observed import Observed, Sighting
from rotator.reconcile.site import Asked, Site
from rotator.ring import KeyRing, Phase

if TYPE_CHECKING:
    from rotator.reconcile.look import Seen
    from rotator.signers.wall import SignerCheck

_JITTER: Final = 0.75
"""`every` is jittered downwards as `resync` is: else a look would be due just after every other tick."""


def due(site: Site, ring: KeyRing, now: datetime) -> tuple[SignerCheck, ...]:
    """Return the signer checks that are to be asked now.

    Args:
        ring: as loaded.
        now: to tell whether a key is to be retired.
    """
    if not site.signers:
        return ()
    last_look = _to_be_retired(ring, site, now)
    elapsed, signs = site.clock.elapsed(), _signs(ring)

    def is_due(check: SignerCheck) -> bool:
        before = site.memory.asked.get(check.name)
        if before is None or before.signs != signs or (last_look and check.holds):
            return True
        return elapsed - before.at >= check.every * _JITTER

    return tuple(check for check in site.signers if is_due(check))


def remember(site: Site, ring: KeyRing, looks: Iterable[Seen]) -> None:
    """Take down what signers said just now."""
    elapsed, signs = site.clock.elapsed(), _signs(ring)
    for seen in looks:
        site.memory.asked[seen.target.name] = Asked(elapsed, signs, seen.sighting)


def doubtful(ring: KeyRing, looks: Iterable[Seen]) -> bool:
    """True when a signer was just seen with a key that may sign once the ring is loaded again."""
    for seen in looks:
        kids = (*seen.sighting.kids, *seen.sighting.strangers)
        found = [ring.find(kid) for kid in kids]
        if any(key is None or key.phase in (Phase.CREATING, Phase.PENDING) for key in found):
            return True
    return False


def told(site: Site, observed: Observed) -> Observed:
    """Return what was observed with what signers said, lately or before."""
    if not site.signers:
        return observed
    asked = site.memory.asked
    known = [(check, asked[check.name].seen) for check in site.signers if check.name in asked]
    holding = {check.name: seen for check, seen in known if check.holds}
    return replace(
        observed,
        sightings={**observed.sightings, **holding},
        holding=frozenset(holding),
        watched={check.name: seen for check, seen in known if not check.holds},
    )


def in_use(observed: Observed) -> Iterator[str]:
    """Yield what signers were seen to sign with, in words."""
    for name, seen in observed.signers():
        if seen.filled:
            yield f"{name} signs with {', '.join((*seen.kids, *seen.strangers)) or 'some key'}"


def silent(
    site: Site, ring: KeyRing, now: datetime, sightings: Iterable[tuple[str, Sighting]]
) -> dict[str, RotatorError]:
    """Return the signer checks among these that should answer by now and do not.

    Before its first key was delivered an issuer may well be down.
    """
    from rotator.signers.judge import expected

    if not expected(ring, ring.in_force(site.policy), now):
        return {}
    return {
        name: TargetFailing(f"{name} says nothing of what its signer signs with: {seen.error}")
        for name, seen in sightings
        if not seen.answered
    }


def _signs(ring: KeyRing) -> tuple[str, datetime | None]:
    active = ring.active
    return ("", None) if active is None else (active.kid, active.activated_at)


def _to_be_retired(ring: KeyRing, site: Site, now: datetime) -> bool:
    grace = ring.in_force(site.policy).grace_wait
    dates = [key.superseded_at for key in ring.in_phase(Phase.RETIRING) if key.kid not in ring.pins]
    return any(date is not None and now >= date + grace for date in dates)
