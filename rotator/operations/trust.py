"""Who may still trust a revoked key, and for how long: derived from the policy in force, looks and profiles. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.objects import Purged
from rotator.observed import DocumentKind, Sighting
from rotator.operations.aftermath import Known, Place, Revocation, is_revoked, kids_at
from rotator.policy import RotationPolicy
from rotator.profiles import FOREVER, find_profile

_PURGE_PATH: Final = "purge it at every CDN and cache in front of it"
_PURGE_OTHERS: Final = "purge it at every other CDN and cache in front of it"
_SERVER: Final = "where another process runs one"
_PURGE_READERS: Final = "restart the verifiers, or make them read it again"

Terms = tuple[tuple[str, timedelta], ...]
"""What a bound is the sum of: each summand with its name."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may still trust a revoked key, and for how long.

    Attributes:
        place: the name of a target, or of a verifier profile.
        kind: `publication`, `verification`, `probe`, `server` or `verifier`.
        carries: revoked kids that were seen there last; None when it gave no answer, or is not looked at.
        longest: how long at most from now on; None when no duration covers it.
        terms: what that is the sum of.
        note: what the number does not say.
        purge: what ends it sooner, by hand.
    """

    place: str
    kind: str
    carries: tuple[str, ...] | None
    longest: timedelta | None
    terms: Terms
    note: str
    purge: str

    def until(self, now: datetime) -> datetime | None:
        """Return the date of the end, None when no duration covers it."""
        return None if self.longest is None else now + self.longest


def trusts(about: Revocation, known: Known) -> tuple[Trust, ...]:
    """Return per publication, probe and verifier profile who may still trust a revoked key, and how long."""
    return (*_places(about, known), *_elsewhere(about), *_verifiers(about))


def _places(about: Revocation, known: Known) -> Iterator[Trust]:
    for place in about.places:
        if place.kind is DocumentKind.SIGNING:
            continue
        held = kids_at(known, place.name)
        carries = None if held is None else tuple(k for k in held if is_revoked(k, about, known))
        seen = known.observed.sightings.get(place.name)
        terms = (*_on_the_way(about.policy, seen), ("verifier_cache", about.policy.verifier_cache))
        longest: timedelta | None = sum((value for _, value in terms), timedelta())
        note = ""
        if place.writable and carries != ():
            longest = None
            failure = known.failures.get(place.name)
            said = f": {failure.message}" if failure is not None else ""
            note = f"for as long as it may carry the key{said}; then for as long as the others"
        elif carries is None:
            note = "it did not answer: what it serves is not known"
        elif carries:
            note = "it still serves the key; a cache may"
        told = known.purged.get(place.name)
        if told is not None:
            note = f"{note}; {told.text}" if note else told.text
        yield Trust(place.name, _kind_of(place), carries, longest, terms, note, _way(place, told))


def _elsewhere(about: Revocation) -> Iterator[Trust]:
    """Yield the servers that other processes run, which nobody but these looks at: they follow the ring."""
    policy = about.policy
    if policy.kind.symmetric:
        return
    terms = (("resync", policy.resync), *_on_the_way(policy, None))
    terms = (*terms, ("verifier_cache", policy.verifier_cache))
    longest = sum((value for _, value in terms), timedelta())
    yield Trust("rotator's own server", "server", None, longest, terms, _SERVER, _PURGE_PATH)


def _way(place: Place, told: Purged | None) -> str:
    """Return what ends it sooner, by hand: what rotator has done itself is left out."""
    if place.kind is DocumentKind.VERIFICATION:
        return _PURGE_READERS
    if told is None:
        return _PURGE_PATH
    return _PURGE_OTHERS if told.done else told.hint or _PURGE_PATH


def _kind_of(place: Place) -> str:
    if place.kind is DocumentKind.VERIFICATION:
        return "verification"
    return "publication" if place.writable else "probe"


def _on_the_way(policy: RotationPolicy, seen: Sighting | None) -> Terms:
    """Return how long caches between a JWKS and its verifiers may keep it: as configured, or as seen there."""
    if policy.kind.symmetric:
        return ()
    configured = policy.jwks_max_age + policy.jwks_stale
    observed = seen.cache if seen is not None and seen.cache is not None else timedelta()
    longest = max(observed, policy.observed_cache)
    if longest > configured:
        return (("cache lifetime seen", longest),)
    return (("jwks_max_age", policy.jwks_max_age), ("jwks_stale", policy.jwks_stale))


def _verifiers(about: Revocation) -> Iterator[Trust]:
    policy = about.policy
    path = _on_the_way(policy, None)
    for name in dict.fromkeys(about.verifiers):
        profile = find_profile(name)
        note = "and, while it cannot fetch, for as long as that lasts" if profile.frozen else ""
        terms, longest = path, None
        if profile.keeps == FOREVER:
            terms = ()
            unknown = "until it meets a kid that it does not know, which a fresh key will be"
            note = f"{unknown}; {note}" if note else unknown
        else:
            terms = (*path, ("kept by default", profile.keeps))
            longest = sum((value for _, value in terms), timedelta())
        yield Trust(name, "verifier", None, longest, terms, note, profile.purge)
