"""What a revocation does to tokens, material and signers. Pure: rings and looks in, facts out.

The statement before a revocation and the report after it are made of the same facts (see also
`rotator.operations.trust`): nothing is reckoned twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from rotator.errors import RotatorError
from rotator.objects import Purged
from rotator.observed import DocumentKind, Observed
from rotator.policy import RotationPolicy
from rotator.ring import Key, KeyRing, Phase

_SIGNED: Final = frozenset({"key.promoted", "key.adopted"})


@dataclass(frozen=True, slots=True)
class Place:
    """A target as far as a revocation is concerned; `writable` is False for a probe."""

    name: str
    kind: DocumentKind
    writable: bool


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was, or is to be, revoked.

    Attributes:
        before: the ring as it was before; empty where it could not be trusted.
        kids: the keys revoked.
        policy: with the durations in force.
        verifiers: the profiles configured.
        at: when.
        trusted: False when the ring before could not be trusted, so that not every key is known.
    """

    before: KeyRing
    kids: tuple[str, ...]
    why: str
    policy: RotationPolicy
    places: tuple[Place, ...]
    verifiers: tuple[str, ...]
    at: datetime
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is known afterwards.

    Attributes:
        ring: as it is now.
        observed: the last looks.
        written: by target, the kids of a document written since the last look.
        failures: by target (or `material`), what went wrong.
        purged: by publication, what became of telling its caches.
        now: when the looks were taken.
    """

    ring: KeyRing
    observed: Observed
    now: datetime
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failures: Mapping[str, RotatorError] = field(default_factory=dict)
    purged: Mapping[str, Purged] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """One revoked key: the tokens that stop working, and its material.

    Attributes:
        was: its phase before.
        signed_from: when it first signed; None when it never did, or when that is not known.
        signed_to: until when signers may have used it, or may still use it: `signer_lag` is counted in.
        latest_exp: the latest `exp` that one of its tokens can have; None when there are none.
        used: False when it never signed, so that no token breaks.
        destroyed: whether its material is gone from the store.
        kept_because: why it is not gone yet.
    """

    kid: str
    algorithm: str
    was: Phase
    signed_from: datetime | None
    signed_to: datetime | None
    latest_exp: datetime | None
    used: bool
    destroyed: bool
    kept_because: str


@dataclass(frozen=True, slots=True)
class Signer:
    """One signing target: the kids that it holds now, and why that is not the key that signs."""

    target: str
    holds: tuple[str, ...]
    given: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One signer check: which revoked keys its signer was seen to sign with since, and when it was seen.

    Attributes:
        seen_at: None when it gave no token since the revocation.
    """

    check: str
    revoked: tuple[str, ...]
    seen_at: datetime | None


def broken(about: Revocation, known: Known | None = None) -> tuple[Broken, ...]:
    """Return what becomes of each revoked key; without `known`, as it is before the revocation."""
    keys = (about.before.find(kid) for kid in about.kids)
    return tuple(_broken(about, key, known) for key in keys if key is not None)


def _broken(about: Revocation, key: Key, known: Known | None) -> Broken:
    began, used = _began(about.before, key), _has_signed(key)
    ended = None
    if used:
        stopped = key.superseded_at if key.phase is Phase.RETIRING else None
        # Signers were given another key at some time before the last look.
        ended = (stopped or (known.now if known else about.at)) + about.policy.signer_lag
    destroyed, because = (False, "not revoked yet") if known is None else _material(key, known)
    return Broken(
        kid=key.kid,
        algorithm=key.algorithm,
        was=key.phase,
        signed_from=began,
        signed_to=ended,
        latest_exp=None if ended is None else ended + about.policy.token_ttl,
        used=used,
        destroyed=destroyed,
        kept_because=because,
    )


def revoked_at(about: Revocation, known: Known) -> datetime:
    """Return when the keys were revoked, by the ring's history."""
    dates = [
        entry.at
        for entry in known.ring.history
        if entry.event == "key.revoked" and entry.kid in about.kids and entry.at >= about.at
    ]
    return min(dates, default=about.at)


def _has_signed(key: Key) -> bool:
    # A key taken over from a target retires without a date of its activation.
    return key.activated_at is not None or key.phase in (Phase.ACTIVE, Phase.RETIRING)


def _began(ring: KeyRing, key: Key) -> datetime | None:
    """Return when a key first signed; a rolled back one has a term before that of its date."""
    dates = [e.at for e in ring.history if e.kid == key.kid and e.event in _SIGNED]
    if key.activated_at is not None:
        dates.append(key.activated_at)
    return min(dates, default=None)


def _material(key: Key, known: Known) -> tuple[bool, str]:
    if key.locator is None:
        return False, "it was never in the store: only its public half was known"
    now = known.ring.find(key.kid)
    if now is None:
        return True, ""
    failure = known.failures.get("material")
    if failure is not None:
        return False, failure.message
    if known.observed.suspicious and now.destroy_after is not None:
        return False, known.observed.suspicious
    if now.destroy_after is not None and now.destroy_after > known.now:
        return False, "whoever was creating it may still write it; it is destroyed after that"
    return False, "the next run destroys it"


def signers(about: Revocation, known: Known) -> tuple[Signer, ...]:
    """Return which signing targets hold the key that signs now, and which could not be given it."""
    active = known.ring.active
    wanted = (active.kid,) if active is not None else ()
    found = []
    for place in about.places:
        if place.kind is not DocumentKind.SIGNING or not place.writable:
            continue
        held = kids_at(known, place.name)
        failure = known.failures.get(place.name)
        why = failure.message if failure is not None else "it holds something else"
        given = held == wanted
        found.append(Signer(place.name, held or (), given, "" if given else why))
    return tuple(found)


def checked(about: Revocation, known: Known) -> tuple[Checked, ...]:
    """Return what each signer check saw since the revocation; what it saw before says nothing of it."""
    since, found = revoked_at(about, known), []
    for name, seen in known.observed.signers():
        lately = seen.answered and seen.at is not None and seen.at >= since
        # Once its material is destroyed, a revoked key is a stranger to the ring.
        kids = [kid for kid in (*seen.kids, *seen.strangers) if is_revoked(kid, about, known)]
        found.append(Checked(name, tuple(kids) if lately else (), seen.at if lately else None))
    return tuple(found)


def is_revoked(kid: str, about: Revocation, known: Known) -> bool:
    """True for a kid that was revoked; where the ring before was not trusted, for any that the new one lacks."""
    return kid in about.kids or (not about.trusted and known.ring.find(kid) is None)


def kids_at(known: Known, name: str) -> tuple[str, ...] | None:
    """Return the kids at a target, None when it gave no answer."""
    if name in known.written and name not in known.failures:
        return known.written[name]
    seen = known.observed.sightings.get(name)
    return None if seen is None or not seen.answered else seen.kids + seen.strangers


def fresh_key_at(about: Revocation, known: Known) -> datetime | None:
    """Return when a key that no cache knows yet is to sign, None when none is ordered.

    Verifiers that fetch again only when they meet a kid that they do not know may trust a revoked one until then.
    """
    order, active = known.ring.promote, known.ring.active
    if order is None or not order.urgent or active is None or order.replaces != active.kid:
        return None
    wait = about.policy.propagation_wait
    required = [name for name, _ in known.observed.announcing()]
    since = (key.announced_at(required) for key in known.ring.in_phase(Phase.PENDING))
    return min((date + wait for date in since if date is not None), default=known.now + wait)
