"""Holding a token against the ring: whose key signed it, and whether that is as it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from rotator.keys import KeyMaker
from rotator.observed import DRIFT, Observed, Sighting
from rotator.policy import RotationPolicy, format_duration
from rotator.ring import Key, KeyRing, Phase
from rotator.secret import Secret
from rotator.signers.token import read_header, shown

KID_ONLY = "only its kid was compared: an HMAC signature cannot be checked without the secret"


class Found(NamedTuple):
    """Whose key signed a token: kids of the ring, kids that are not (or lie), and a remark."""

    kids: tuple[str, ...]
    strangers: tuple[str, ...] = ()
    note: str = ""


class Drift(NamedTuple):
    """A signer that does not sign with what it should: the check, what it signs with, and why that is wrong."""

    name: str
    kid: str
    reason: str


def whose(token: Secret, ring: KeyRing, keys: KeyMaker) -> Found:
    """Return whose key signed a token.

    A token whose kid is one key's and whose signature is another's counts as of both, and is drift: no
    verifier accepts it.
    """
    header = read_header(token)
    if header is None:
        return Found((), (), f"{DRIFT} a token whose header cannot be read")
    kid, key = shown(header.kid), ring.find(header.kid)
    if key is None:
        return Found((), (kid,))
    if header.alg != key.algorithm:
        what = f"a token with kid {kid} says alg {shown(header.alg)}, not {key.algorithm}"
        return Found((), (kid,), f"{DRIFT} {what}")
    if key.kind.symmetric:
        return Found((kid,), (), KID_ONLY)
    if keys.verifies(key, token):
        return Found((kid,))
    others = (k for k in ring.keys if k.algorithm == key.algorithm and k.kid != kid)
    real = next((other.kid for other in others if keys.verifies(other, token)), None)
    by = f"by {real}" if real else "by none of this ring's keys"
    strangers = (kid,) if real is None else (kid, real)
    return Found((), strangers, f"{DRIFT} a token with kid {kid} is signed {by}")


def drifts(
    ring: KeyRing, policy: RotationPolicy, now: datetime, observed: Observed
) -> Iterator[Drift]:
    """Yield every signer check that saw another key than the current one when it should not have.

    Within `signer_lag` of the promotion that replaced a key a signer may lawfully go on using it.

    Args:
        policy: with the durations in force.
        now: compared with the date of that promotion only; while the clock is suspicious nothing is late.
    """
    for name, seen in observed.signers():
        reason = _drift(ring, policy, None if observed.suspicious else now, seen)
        if reason:
            yield Drift(name, ", ".join((*seen.kids, *seen.strangers)[:1]), reason)


def expected(ring: KeyRing, policy: RotationPolicy, now: datetime) -> bool:
    """True once every signer must have a key: before that a check without an answer is no fault.

    An issuer may well be started after its first key was delivered.
    """
    first = ring.first_activated_at
    return first is not None and now >= first + policy.signer_lag


def _drift(ring: KeyRing, policy: RotationPolicy, now: datetime | None, seen: Sighting) -> str:
    active = ring.active
    if not seen.answered or active is None or seen.kids == (active.kid,):
        return ""
    if seen.drifted:
        return f"it gave {seen.note.removeprefix(DRIFT).strip()}"
    if seen.strangers:
        kid = seen.strangers[0]
        ended = any(entry.kid == kid for entry in ring.history)
        what = "has ended" if ended else "is not known"
        return f"it signs with {kid}, which {what} to key set {ring.key_set}"
    key = ring.find(seen.kids[0]) if seen.kids else None
    if key is None:
        return ""
    promoted = active.activated_at or active.created_at
    # Of two previous keys the older one was replaced before the current one was promoted.
    replaced = key.retiring_at or promoted
    if key.phase is Phase.RETIRING and (now is None or now < replaced + policy.signer_lag):
        return ""
    # The reason stays the same while the fault does, so that it is said once.
    since = f"promoted {promoted:%Y-%m-%dT%H:%M:%SZ}"
    if key.phase is Phase.RETIRING and replaced < promoted:
        since = f"replaced {replaced:%Y-%m-%dT%H:%M:%SZ}"
    late = f", {since}, and signer_lag is {format_duration(policy.signer_lag)}"
    return f"it signs with {key.kid} ({_called(key)}) instead of {active.kid}{late}"


def _called(key: Key) -> str:
    names = {Phase.RETIRING: "previous", Phase.PENDING: "next", Phase.CREATING: "next"}
    return names.get(key.phase, key.phase.value)
