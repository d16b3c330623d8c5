"""What `status` and `check` find wrong beside what a tick says: nobody ticks, targets lack keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from rotator.cli.views import moment
from rotator.observed import DocumentKind, Sighting
from rotator.policy import RotationPolicy
from rotator.ring import KeyRing
from rotator.step import Do, Step
from rotator.stores import Target
from rotator.words import shorten

_DONE_IN_TIME: Final = frozenset({Do.CREATE, Do.PROMOTE, Do.RETIRE, Do.DESTROY})


def with_lateness(
    steps: Iterable[Step], ring: KeyRing, policy: RotationPolicy, now: datetime
) -> tuple[Step, ...]:
    """Mark as overdue what has been due for longer than twice `resync` and nobody did.

    A ring that changed lately is in somebody's hands: from its latest date on they have as long again.
    """
    patience = 2 * ring.in_force(policy).resync
    latest = ring.latest

    def late(step: Step) -> bool:
        if step.do not in _DONE_IN_TIME or step.due_at is None or latest is None:
            return False
        return now - max(step.due_at, latest) > patience

    return tuple(replace(step, blocked=True) if late(step) else step for step in steps)


def nobody_rotates(steps: Iterable[Step], ring: KeyRing, policy: RotationPolicy) -> str:
    """Say of steps marked by `with_lateness` that nobody does them; empty when none is late.

    Whoever changed the ring after a destruction was due had tried that first, for nothing comes before it.
    """
    late = [step for step in steps if step.blocked and step.do is not Do.WAIT]
    if not late or ring.latest is None:
        return ""
    patience = 2 * ring.in_force(policy).resync
    tried = [
        f"{step.do.value} {shorten(step.kid)} fails: due since {moment(step.due_at)}"
        for step in late
        if step.do is Do.DESTROY and step.due_at and ring.latest - step.due_at > patience
    ]
    if tried:
        return f"{'; '.join(tried)}, and the ring was changed at {moment(ring.latest)}"
    since = f"nobody has rotated since {moment(ring.latest)}, or rotating fails"
    return f"{since}; is cron / the daemon running?"


def says_why(key_set: str) -> str:
    """Return the command that tells what `nobody_rotates` can only suppose."""
    return f"`rotator rotate {key_set}` does it, or says why not"


def amiss_of(
    targets: Iterable[Target], ring: KeyRing, sightings: Mapping[str, Sighting]
) -> tuple[tuple[str, bool], ...]:
    """Return what is wrong at targets, each with whether the next `rotate` mends it."""
    ours = [target.name for target in targets if target.writable]
    others = [target.name for target in targets if not target.writable]
    mended = dict(lacking(ring, [(name, sightings[name]) for name in ours if name in sightings]))
    served = [(name, sightings[name]) for name in others if name in sightings]
    return (
        *((text, True) for text in mended.values()),
        *((text, False) for _, text in unserved(ring, served)),
    )


def unserved(ring: KeyRing, sightings: Iterable[tuple[str, Sighting]]) -> Iterator[tuple[str, str]]:
    """Yield each probe that answers without the key that signs: whoever verifies there rejects its tokens.

    It was there before it was promoted, so somebody took it away, or serves something older.
    """
    active = ring.active
    for name, seen in sightings:
        if active is not None and seen.answered and active.kid not in seen.kids:
            yield name, f"{name} serves no JWKS with {active.kid}, which signs"


def lacking(ring: KeyRing, sightings: Iterable[tuple[str, Sighting]]) -> Iterator[tuple[str, str]]:
    """Yield each target that does not hold what this ring says it should, and what is wrong with it.

    Args:
        sightings: of writable targets only; what others serve is not ours to mend.
    """
    for name, seen in sightings:
        # A document of a later revision means that the ring is old, which is said elsewhere.
        if not seen.answered or seen.foreign or (seen.revision or 0) > ring.revision:
            continue
        if seen.kind is DocumentKind.SIGNING:
            wanted = {ring.active.kid} if ring.active is not None else set()
        else:
            wanted = {key.kid for key in ring.published}
        missing = sorted(wanted - set(seen.kids))
        if wanted and (missing or wanted != set(seen.kids) or seen.strangers or seen.drifted):
            what = f": {', '.join(missing)} missing" if missing else ""
            yield name, f"{name} does not hold what it should{what}"
