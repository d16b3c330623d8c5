"""A live key held against the JWKS that its verifiers read today: its kid, its algorithm, its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rotator.errors import UsageError
from rotator.keys import thumbprint
from rotator.observed import DocumentKind
from rotator.operations.found import keys_at, not_carried
from rotator.operations.live_key import LiveKey
from rotator.reconcile.look import jwks_in
from rotator.reconcile.view import View
from rotator.ring import Key

Jwks = Mapping[str, Mapping[str, Any]]
"""The JWKs of one JWKS by their kids."""

THUMBPRINT: Final = "thumbprint"
"""Said instead of a kid: the RFC 7638 thumbprint is the kid that tokens carry."""

_LONGEST_KID: Final = 200


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be adopted, as the operator said it.

    Attributes:
        kid: what tokens carry; `THUMBPRINT`; or None for the key's own, or the one in the live JWKS.
        algorithm: what tokens carry in `alg`, None for the key's own, or the one in the live JWKS.
        since: when it began to sign, if due dates are to count from then.
    """

    live: LiveKey
    kid: str | None = None
    algorithm: str | None = None
    since: datetime | None = None


def live_jwks(view: View) -> dict[str, Jwks]:
    """Return the JWKS that verifiers read today, by target or probe.

    Raises:
        UsageError: somebody else's document at another kind of target, or at an address of another key set.
    """
    found = {}
    for item in view.seen:
        if item.document is None:
            continue
        name, jwks = item.target.name, item.target.kind is DocumentKind.JWKS
        owner = item.document.key_set
        if jwks and owner in (None, view.site.key_set):
            found[name] = jwks_in(item.target.kind, item.document.body)
        elif owner != view.site.key_set:
            whose = f"key set {owner}" if owner is not None else "something else"
            raise UsageError(
                f"{name} is filled by {whose}: it is not replaced unseen",
                hint="configure an empty place of this key set's own, and let its readers move there",
            )
    return found


def kid_of(wish: Wish, lives: Mapping[str, Jwks], key_set: str) -> str:
    """Return what tokens carry as `kid`. A kid is never guessed: it would be in no token.

    Raises:
        UsageError: nothing says it, or verifiers know the key by another.
    """
    live, kid = wish.live, wish.kid or wish.live.kid
    shown = {k for jwks in lives.values() for k, jwk in jwks.items() if live.same_public_half(jwk)}
    if wish.kid == THUMBPRINT:
        if live.public is None:
            raise UsageError(
                "an HMAC secret has no thumbprint as its kid: that would tell something of the secret",
                hint="name the kid that the tokens carry",
            )
        kid = thumbprint(live.public)
    if kid is None and len(shown) == 1:
        (kid,) = shown
    if kid is None:
        several = f"; the live JWKS has it as {', '.join(sorted(shown))}" if shown else ""
        raise UsageError(
            f"which kid do the tokens of this key carry? the key does not say it{several}",
            hint=f"look into the header of a token of {key_set} and name it with `--kid KID` "
            f"(`--kid {THUMBPRINT}` if it is the RFC 7638 thumbprint)",
        )
    if not kid.isprintable() or len(kid) > _LONGEST_KID:
        raise UsageError(f"the kid is longer than {_LONGEST_KID} characters, or cannot be printed")
    if shown and kid not in shown:
        raise UsageError(
            f"verifiers know this key as {', '.join(sorted(shown))}, not as {kid}",
            hint=f"adopt it with `--kid {min(shown)}`: a kid that verifiers do not know fails every token",
        )
    return kid


def algorithm_of(wish: Wish, kid: str, lives: Mapping[str, Jwks], wanted: str) -> str:
    """Return what tokens carry as `alg`.

    Raises:
        UsageError: nothing says it, or the live JWKS says otherwise.
    """
    published = {str(jwks[kid]["alg"]) for jwks in lives.values() if "alg" in jwks.get(kid, {})}
    live = wish.live
    said = wish.algorithm or live.algorithm or next(iter(sorted(published)), None)
    found = said or (wanted if live.fits(wanted) else live.only_algorithm)
    if found is None:
        raise UsageError(
            f"which algorithm signs with this key? it is {live.described}, and the key set wants {wanted}",
            hint="name what the tokens carry in `alg` with `--algorithm`",
        )
    if published - {found}:
        raise UsageError(
            f"verifiers were told that {kid} signs by {', '.join(sorted(published))}, not by {found}",
            hint="leave `--algorithm` out, or correct the live JWKS first",
        )
    return found


def others_at(view: View, key: Key) -> dict[str, Key]:
    """Return the other keys of the live JWKS: they stay published, public half only.

    Raises:
        UsageError: one of them could not be: it has no kid, or is of a kind that is not published.
    """
    # An RSA key that does not say its algorithm is taken for one like its neighbours.
    kinds = (key.kind, view.site.policy.kind)
    named = next((kind.algorithm for kind in kinds if kind.kty == "RSA"), None)
    found: dict[str, Key] = {}
    for item in view.seen:
        if item.target.kind is not DocumentKind.JWKS or item.document is None:
            continue
        lost = not_carried(item, named)
        if lost:
            raise UsageError(
                f"{item.target.name} cannot be carried on as it is: {'; '.join(lost)}",
                hint="whoever needs those keys would lose them: take them out there first, or publish at a new address",
            )
        found |= keys_at(item, view.loaded, view.now, named)
    found.pop(key.kid, None)
    return {kid: other for kid, other in found.items() if view.loaded.find(kid) is None}
