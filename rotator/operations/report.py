"""The report of a revocation: as a JSON document, and the same in words. Pure; no key material can be in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from rotator.operations.aftermath import (
    Broken,
    Known,
    Revocation,
    broken,
    checked,
    fresh_key_at,
    revoked_at,
    signers,
)
from rotator.operations.trust import Trust, trusts
from rotator.policy import format_duration
from rotator.ring import KeyRing, Phase
from rotator.words import moment

FORMAT: Final = "rotator.revocation/1"

_WAS: Final = {
    Phase.CREATING: "half created",
    Phase.PENDING: "next",
    Phase.ACTIVE: "current",
    Phase.RETIRING: "previous",
}


def report_of(about: Revocation, known: Known) -> dict[str, Any]:
    """Return what a revocation broke and who may still trust the revoked keys, as programs read it.

    Dates are RFC 3339 in UTC, durations whole seconds; `until` counts from `at`.
    """
    active, fresh = known.ring.active, fresh_key_at(about, known)
    return {
        "key_set": about.before.key_set,
        "at": moment(known.now),
        "revoked_at": moment(revoked_at(about, known)),
        "reason": about.why,
        "every_key_known": about.trusted,
        "revoked": [_broken_view(item) for item in broken(about, known)],
        "signs": None
        if active is None
        else {"kid": active.kid, "was": was_of(about.before, active.kid)},
        "fresh_key_at": None if fresh is None else moment(fresh),
        "signers": [
            {
                "target": item.target,
                "holds": list(item.holds),
                "given": item.given,
                "why_not": item.why_not or None,
                "follows_within_seconds": _seconds(about.policy.signer_lag) if item.given else None,
            }
            for item in signers(about, known)
        ],
        "signer_checks": [
            {
                "target": item.check,
                "revoked": list(item.revoked),
                "seen_at": None if item.seen_at is None else moment(item.seen_at),
            }
            for item in checked(about, known)
        ],
        "trust": [_trust_view(item, known) for item in trusts(about, known)],
    }


def was_of(before: KeyRing, kid: str) -> str:
    """Return what a key that signs now was before: `next`, `previous`, `current`, or `new`."""
    key = before.find(kid)
    return "new" if key is None else _WAS.get(key.phase, key.phase.value)


def _broken_view(item: Broken) -> dict[str, Any]:
    dates = {"signed_from": item.signed_from, "signed_to": item.signed_to}
    dates["latest_exp"] = item.latest_exp
    return {
        "kid": item.kid,
        "algorithm": item.algorithm,
        "was": _WAS.get(item.was, item.was.value),
        "signed": item.used,
        **{name: None if date is None else moment(date) for name, date in dates.items()},
        "material_destroyed": item.destroyed,
        "material_kept_because": item.kept_because or None,
    }


def _trust_view(item: Trust, known: Known) -> dict[str, Any]:
    until = item.until(known.now)
    if until is not None and until.microsecond:
        until += timedelta(seconds=1)
    return {
        "place": item.place,
        "kind": item.kind,
        "carries": None if item.carries is None else list(item.carries),
        "longest_seconds": None if item.longest is None else _seconds(item.longest),
        "until": None if until is None else moment(until),
        "terms": [{"name": name, "seconds": _seconds(value)} for name, value in item.terms],
        "note": item.note or None,
        "purge": item.purge,
    }


def _seconds(value: timedelta) -> int:
    return -(-value // timedelta(seconds=1))  # rounded up: a bound must not come out too short


def in_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a report in words, a line at a time."""
    why = f": {report['reason']}" if report["reason"] else ""
    yield f"key set {report['key_set']}: revoked at {report['revoked_at']}{why}"
    if not report["every_key_known"]:
        yield "  the ring before it could not be trusted: every key that ever signed is revoked, known here or not"
    for item in report["revoked"]:
        yield f"  {item['kid']} ({item['algorithm']}, was {item['was']}): {_tokens(item)}"
        kept = item["material_kept_because"]
        yield (
            "    its material is destroyed"
            if not kept
            else f"    its material is not destroyed: {kept}"
        )
    signs = report["signs"]
    if signs is not None:
        was = "a new key" if signs["was"] == "new" else f"was {signs['was']}"
        yield f"  {signs['kid']} ({was}) signs now"
    for item in report["signers"]:
        yield f"    {_signer(item)}"
    for item in report["signer_checks"]:
        yield f"    {_signer_check(item)}"
    if report["fresh_key_at"]:
        yield (
            f"  a key that no cache knows is to sign at {report['fresh_key_at']}: verifiers that fetch only "
            "when they meet an unknown kid drop revoked keys then"
        )
    yield f"  who may still trust a revoked key, at most, from {report['at']} on:"
    for item in report["trust"]:
        yield from _trusting(item)


def _tokens(item: Mapping[str, Any]) -> str:
    if not item["signed"]:
        return "never signed, so no token breaks"
    since = item["signed_from"] or "an unknown date"
    return (
        f"its tokens stop verifying, signed from {since} to {item['signed_to']} at the latest; "
        f"the last would have expired at {item['latest_exp']}"
    )


def _signer(item: Mapping[str, Any]) -> str:
    if item["given"]:
        lag = format_duration(timedelta(seconds=item["follows_within_seconds"]))
        return f"{item['target']} holds it; signers follow within {lag}"
    return (
        f"{item['target']} was not given it ({item['why_not']}): until it is, tokens of its signers "
        "do not verify"
    )


def _signer_check(item: Mapping[str, Any]) -> str:
    if item["seen_at"] is None:
        return f"{item['target']} has given no token since: `rotator status --live` asks it again"
    if not item["revoked"]:
        return f"{item['target']} was seen at {item['seen_at']} not to sign with a revoked key"
    return (
        f"{item['target']} still signs with {', '.join(item['revoked'])}, seen at {item['seen_at']}: "
        "these tokens do not verify; restart that signer if it goes on"
    )


def _trusting(item: Mapping[str, Any]) -> Iterator[str]:
    what = f"{item['place']} ({item['kind']})"
    if item["longest_seconds"] is None:
        yield f"    {what}: {item['note']}"
    else:
        longest = format_duration(timedelta(seconds=item["longest_seconds"]))
        terms = " + ".join(
            f"{term['name']} {format_duration(timedelta(seconds=term['seconds']))}"
            for term in item["terms"]
        )
        note = f"; {item['note']}" if item["note"] else ""
        yield f"    {what}: {longest}, until {item['until']} ({terms}){note}"
    yield f"      sooner: {item['purge']}"
