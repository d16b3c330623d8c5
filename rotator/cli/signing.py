"""What `status` says of signers, seen or assumed, and of targets that left the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rotator.cli.views import moment, when
from rotator.observed import Observed, Sighting
from rotator.policy import format_duration
from rotator.reconcile.site import Site
from rotator.ring import KeyRing


def signers_view(site: Site, ring: KeyRing, observed: Observed, now: datetime) -> dict[str, Any]:
    """Return whether signers are seen or assumed to follow, and what each signer check saw."""
    from rotator.signers.judge import drifts

    policy = ring.in_force(site.policy)
    wrong = {drift.name: drift.reason for drift in drifts(ring, policy, now, observed)}
    seen = dict(observed.signers())
    return {
        "assumed": not site.signers,
        "lag_seconds": policy.signer_lag.total_seconds(),
        "checks": [
            _check_view(check.name, check.holds, seen.get(check.name), wrong.get(check.name))
            for check in site.signers
        ],
    }


def left_behind_view(site: Site, ring: KeyRing) -> list[dict[str, Any]]:
    """Return the targets that left the configuration."""
    return [
        {"target": left.name, "kids": list(left.kids), "command": left.command or None}
        for left in site.left_behind(ring)
    ]


def signer_rows(
    site: Site, ring: KeyRing, observed: Observed, now: datetime
) -> Iterator[tuple[str, str]]:
    """Yield the same as rows of a table."""
    if ring.active is None:
        return
    if not site.signers:
        lag = format_duration(ring.in_force(site.policy).signer_lag)
        yield "signers", f"assumed to follow within signer_lag ({lag}): no signer check asks them"
    view = signers_view(site, ring, observed, now)
    sightings = dict(observed.signers())
    for check in view["checks"]:
        name, seen = check["target"], sightings.get(check["target"])
        yield "signer", _words(name, seen, check["drift"], now)


def left_rows(site: Site, ring: KeyRing) -> Iterator[tuple[str, str]]:
    """Yield the targets that left the configuration as rows of a table."""
    for left in site.left_behind(ring):
        yield "left", left.words(site.key_set)


def unanswered(site: Site, ring: KeyRing, observed: Observed, now: datetime) -> set[str]:
    """Return the signer checks whose silence is no fault: those that only warn, or are asked too early."""
    from rotator.signers.judge import expected

    if expected(ring, ring.in_force(site.policy), now):
        return set()
    return set(observed.holding)


def _check_view(name: str, holds: bool, seen: Sighting | None, drift: str | None) -> dict[str, Any]:
    return {
        "target": name,
        "hold": holds,
        "answered": None if seen is None else seen.answered,
        "kids": [] if seen is None else [*seen.kids, *seen.strangers],
        "seen_at": None if seen is None else moment(seen.at),
        "drift": drift,
        "error": (seen.error or None) if seen is not None else None,
        "note": (seen.note or None) if seen is not None else None,
    }


def _words(name: str, seen: Sighting | None, drift: str | None, now: datetime) -> str:
    if seen is None:
        return f"{name} can be asked; --live shows what its signer signs with"
    if not seen.answered:
        return f"{name} does not answer: {seen.error}"
    at = f", seen {when(seen.at, now)}" if seen.at is not None else ""
    if drift:
        return f"{name}: drift, {drift}{at}"
    held = ", ".join((*seen.kids, *seen.strangers)) or "an unknown key"
    return f"{name} signs with {held}{at}{'; ' * bool(seen.note)}{seen.note}"
