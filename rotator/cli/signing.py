"""What `status` and `check` say of signers, seen or assumed, and of targets that left the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from rotator.cli.reading import suspicion
from rotator.cli.views import moment, when
from rotator.inspection import Finding
from rotator.observed import Observed, Sighting
from rotator.plan import waiting_for
from rotator.policy import format_duration
from rotator.reconcile import asking
from rotator.reconcile.look import Seen
from rotator.reconcile.site import Site
from rotator.ring import KeyRing
from rotator.step import Reason

_ISSUER: Final = "look at the issuer: it caches the key, reads another copy, or was not restarted"
_HELD_BACK: Final = (Reason.NOT_SUPERSEDED, Reason.STILL_HELD)


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


def left_findings(site: Site, ring: KeyRing) -> Iterator[Finding]:
    """Yield the same as what `check` found: advice, for nothing fails that is still configured."""
    for left in site.left_behind(ring):
        yield Finding("advice", left.what, hint=left.way_out(site.key_set))


def signer_findings(
    site: Site, ring: KeyRing, targets: Iterable[Seen], looks: Iterable[Seen]
) -> Iterator[Finding]:
    """Yield what each signer check said as what `check` found.

    A fault is what makes `status --live` end with 75: a check with `hold` that does not answer when it should,
    or that keeps a key from being superseded or retired for too long. All else is advice.

    Args:
        targets: the looks at the targets of the same key set.
        looks: those of its signer checks, just now.
    """
    from rotator.signers.judge import drifts

    looks = tuple(looks)
    if not looks:
        return
    asking.remember(site, ring, looks)
    sightings = {seen.target.name: seen.sighting for seen in targets}
    observed = asking.told(site, Observed(sightings, suspicious=suspicion(site, ring)))
    if ring.revision == 0:
        yield from _without_ring(site, observed)
        return
    now, policy = site.clock.now(), ring.in_force(site.policy)
    early = unanswered(site, ring, observed, now)
    late = _late(site, ring, observed, now)
    wrong = {drift.name: drift.reason for drift in drifts(ring, policy, now, observed)}
    for name, seen in observed.signers():
        text = _words(name, replace(seen, at=None), wrong.get(name), now)
        if not seen.answered:
            grave = name in observed.holding and name not in early
            code = 75 if seen.exit_code == 69 else seen.exit_code
            hint = "" if grave else "it only warns, or its issuer may not have a key yet"
            yield Finding("fault" if grave else "advice", text, hint, code if grave else 0)
        elif name in late:
            yield Finding("fault", f"{text}; overdue: the old key cannot retire", _ISSUER, 75)
        elif name in wrong:
            yield Finding("advice", text, _ISSUER)
        else:
            yield Finding("ok", text)


def _without_ring(site: Site, observed: Observed) -> Iterator[Finding]:
    """A key that signs already is no first run (rule 4); silence is as it should be then."""
    missing = f"there is no ring for key set {site.key_set}"
    for text in asking.in_use(observed):
        hint = f"`rotator adopt {site.key_set} --from PLACE` takes in a key that signs already; if this is a first run, "
        hint += f"say so with `rotator rotate {site.key_set} --first-run`"
        yield Finding("fault", f"{missing}, but {text}", hint, exit_code=65)


def _late(site: Site, ring: KeyRing, observed: Observed, now: datetime) -> set[str]:
    """Return the targets and signers that hold a key back for longer than they may."""
    steps = waiting_for(ring, site.policy, now, observed)
    held = [step.kid for step in steps if step.blocked and step.reason in _HELD_BACK]
    return {name for kid in held for name in observed.may_hold(ring, kid)}


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
