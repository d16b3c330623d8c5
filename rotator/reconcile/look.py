"""Looking at targets: what is there, held against the ring. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from rotator.algorithms import PUBLIC_MEMBERS
from rotator.clock import Witness
from rotator.documents import SIGNING_FORMAT, VERIFICATION_FORMAT, read_json
from rotator.errors import StoreError
from rotator.jwks import read_jwks, same_public_half
from rotator.keys import KeyMaker
from rotator.observed import DocumentKind, Sighting
from rotator.ring import Key, KeyRing
from rotator.secret import Secret
from rotator.stores import Document, ServerTime, Sight, Target


class Clock(Protocol):
    """The two clocks of a host. Only the edge of the program has a real one."""

    def now(self) -> datetime:
        """Return the wall clock, UTC."""
        ...

    def elapsed(self) -> timedelta:
        """Return CLOCK_BOOTTIME: it is never set, and goes on through a suspend."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the target, what it taught, the document as it lies there, and a witness of our clock."""

    target: Target
    sighting: Sighting
    document: Document | None = None
    witness: Witness | None = None


def look_at(target: Target, ring: KeyRing, keys: KeyMaker, clock: Clock) -> Seen:
    """Look at one target. No answer is a fact like any other: nothing is raised for it."""
    try:
        sight = target.look()
    except StoreError as error:
        return no_answer(target, error)
    ours = clock.now()
    witness = witness_of(target.name, sight.server_time, ours)
    sighting = replace(_hold_against(sight, target, ring, keys), at=ours, answers=sight.answers)
    return Seen(target, sighting, sight.document, witness)


def no_answer(target: Target, error: StoreError) -> Seen:
    """Return the look at a target that did not answer, or not in time."""
    silent = Sighting(
        target.kind,
        answered=False,
        independent=target.independent,
        error=str(error),
        exit_code=error.exit_code,
    )
    return Seen(target, silent)


def witness_of(name: str, said: ServerTime | None, ours: datetime) -> Witness | None:
    """Return what a server's date says of our clock, None when it said nothing."""
    return None if said is None else Witness(name, said.date, ours, said.round_trip)


def _hold_against(sight: Sight, target: Target, ring: KeyRing, keys: KeyMaker) -> Sighting:
    document = sight.document
    if sight.token is not None:
        return _signed_by(sight.token, target, ring, keys)
    if document is None:
        return Sighting(
            target.kind,
            answered=True,
            independent=target.independent,
            cache=sight.cache,
            note=sight.note,
        )
    known, strangers = _kids(target.kind, document, ring, keys)
    # A probe need not say whose document it is; what we write always does.
    ours = document.key_set == ring.key_set or (not target.writable and document.key_set is None)
    return Sighting(
        target.kind,
        answered=True,
        filled=True,
        ours=ours,
        revision=document.revision,
        kids=tuple(known) if ours else (),
        strangers=tuple(strangers) if ours else tuple(sorted({*known, *strangers})),
        independent=target.independent,
        cache=_cache(sight, document),
        note=sight.note,
    )


def _signed_by(token: Secret, target: Target, ring: KeyRing, keys: KeyMaker) -> Sighting:
    from rotator.signers.judge import whose

    found = whose(token, ring, keys)
    return Sighting(
        target.kind,
        answered=True,
        filled=True,
        ours=True,
        kids=found.kids,
        strangers=found.strangers,
        independent=target.independent,
        note=found.note,
    )


def _cache(sight: Sight, document: Document) -> timedelta | None:
    """Return how long caches may keep what was seen: what it was written with counts as well.

    A target that cannot be written goes on sending the lifetimes of before, however long ago they
    were lowered in the configuration.
    """
    if document.max_age is None and document.stale is None:
        return sight.cache
    written = timedelta(seconds=(document.max_age or 0) + (document.stale or 0))
    return written if sight.cache is None else max(sight.cache, written)


def _kids(
    kind: DocumentKind, document: Document, ring: KeyRing, keys: KeyMaker
) -> tuple[list[str], list[str]]:
    """Return the kids there that are the ring's, public half and all, and those that are not."""
    known: list[str] = []
    strangers: list[str] = []
    for kid, jwk in jwks_in(kind, document.body).items():
        key = ring.find(kid)
        same = key is not None and _same(kind, key, jwk, keys)
        (known if same else strangers).append(kid)
    return known, strangers


def jwks_in(kind: DocumentKind, body: bytes) -> Mapping[str, Mapping[str, Any]]:
    """Return the JWKs of a derived document by kid; empty when it is not what it should be."""
    if kind is DocumentKind.JWKS:
        return read_jwks(body) or {}
    document = read_json(body) or {}
    if kind is DocumentKind.VERIFICATION:
        return read_jwks(body) or {} if document.get("format") == VERIFICATION_FORMAT else {}
    jwk, kid = document.get("jwk"), document.get("kid")
    if document.get("format") != SIGNING_FORMAT or not isinstance(kid, str):
        return {}
    return {kid: jwk if isinstance(jwk, dict) else {}}


def _same(kind: DocumentKind, key: Key, jwk: Mapping[str, Any], keys: KeyMaker) -> bool:
    if key.kind.symmetric:
        return keys.matches(key, dict(jwk)) and jwk.get("alg") == key.algorithm
    if kind is DocumentKind.JWKS:
        return same_public_half(key, jwk)
    public, members = key.public or {}, PUBLIC_MEMBERS[key.kind.kty]
    return jwk.get("alg") == key.algorithm and all(jwk.get(n) == public.get(n) for n in members)
