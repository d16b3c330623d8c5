"""What is said before keys are revoked: which tokens break, who signs instead, who may trust the key how long. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.operations.aftermath import Known, Revocation, broken
from rotator.operations.trust import Trust, trusts
from rotator.policy import format_duration
from rotator.ring import Key, Phase


def of_revocation(
    about: Revocation, known: Known, successor: Key | None, *, active: bool
) -> tuple[str, ...]:
    """Return the statement of `revoke`.

    Args:
        known: as it is before.
        successor: who is to sign instead; None for a new key.
        active: whether the active key is among those revoked.
    """
    name, listed = about.before.key_set, ", ".join(about.kids)
    if not any(item.used for item in broken(about)):
        return (f"key set {name}: revoking {listed}: never active, so no token breaks",)
    said = [f"key set {name}: revoking {listed}: tokens signed with it stop verifying"]
    if active and successor is not None:
        was = "the next key" if successor.phase is Phase.PENDING else "the previous key"
        said.append(f"{successor.kid} ({was}) is to sign instead, at once")
        if successor.phase is Phase.PENDING:
            wait = format_duration(about.policy.propagation_wait)
            said.append(
                f"verifiers that have not fetched it yet reject its tokens for up to {wait} after it was announced"
            )
    elif active:
        said.append(
            "a new key is made and signs at once; verifiers reject its tokens until they fetch the JWKS"
        )
    return (*said, *_trust(about, known))


def of_emergency(about: Revocation, known: Known) -> tuple[str, ...]:
    """Return the statement of `rotate --emergency`."""
    listed = ", ".join(about.kids) or "none is known"
    said = (
        f"key set {about.before.key_set}: revoking every key ({listed}); a new one signs at once",
        "every token signed so far stops verifying, as each verifier fetches the new JWKS",
        "tokens of the new key are rejected by verifiers until they fetch the new JWKS",
        *_trust(about, known),
    )
    if about.trusted:
        return said
    return (
        *said,
        (
            "the ring that was there cannot be trusted and is replaced: material that only it knew of stays "
            "in the store until you delete it there"
        ),
    )


def _trust(about: Revocation, known: Known) -> Iterator[str]:
    found = trusts(about, known)
    # Before it is done every place carries the key: what counts is how long after it no longer does.
    policy = about.policy
    cached = format_duration(policy.cached + policy.verifier_cache)
    others, again = format_duration(policy.resync), format_duration(policy.propagation_wait)
    yield (
        f"caches and verifiers may still trust a revoked key for up to {cached} after the JWKS changed "
        f"(a server run by another process follows within {others})"
    )
    yield from (_profile(item) for item in found if item.kind == "verifier")
    yield (
        "verifiers that fetch again only when they meet a kid they do not know may trust it until a fresh "
        f"key signs: one is made now and promoted in about {again}"
    )


def _profile(item: Trust) -> str:
    if item.longest is None:
        return f"{item.place} may trust it {item.note}"
    note = f", {item.note}" if item.note else ""
    return f"{item.place} may trust it for up to {format_duration(item.longest)}{note}"
