"""The events of a tick: one per step and per write, `noun.verb`. `docs/events.md` lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from rotator.clock import Verdict
from rotator.errors import RotatorError
from rotator.evidence import differences
from rotator.objects import Purged
from rotator.observed import DocumentKind, Observed
from rotator.policy import RotationPolicy
from rotator.reconcile.look import Seen
from rotator.reconcile.mend import Written
from rotator.reconcile.site import Site
from rotator.ring import Key, KeyRing, Phase
from rotator.ring_document import format_date

_WARNINGS: Final = frozenset(
    {"key.discarded", "key.revoked", "key.unannounced", "key.unsuperseded", "key.taken_over"}
)
_LEADS_TO: Final = {
    "key.creating": "creating",
    "key.created": "pending",
    "key.promoted": "active",
    "key.adopted": "active",
    "key.retired": "retired",
    "key.revoked": "revoked",
    "key.discarded": "discarded",
    "key.taken_over": "retiring",
}
"""The phase that an event leads to; the others change no phase."""

_LONGEST: Final = 600
"""So many characters are told of what probes saw; `status --live` has it all."""

_WRITES: Final = {
    DocumentKind.JWKS: "jwks.published",
    DocumentKind.VERIFICATION: "verification.published",
    DocumentKind.SIGNING: "key.delivered",
}


def changes(site: Site, before: KeyRing, after: KeyRing, observed: Observed) -> None:
    """Tell what a swap changed: one event per new line of the history.

    Args:
        observed: a promotion tells what its probes saw.
    """
    known = set(before.history)
    if after.clock_confirmed_at != before.clock_confirmed_at:
        # Confirming the clock moves earlier dates: the old lines are no news.
        known |= set(after.history[:-1])
    phases = {key.kid: key.phase.value for key in before.keys}
    for entry in after.history:
        if entry in known:
            continue
        fields = {"kid": entry.kid, "reason": entry.reason}
        if entry.event in _LEADS_TO:
            fields |= {"from": phases.get(entry.kid, ""), "to": _LEADS_TO[entry.event]}
            phases[entry.kid] = _LEADS_TO[entry.event]
        key = after.find(entry.kid)
        due = key_due(key, after.in_force(site.policy)) if key is not None else None
        fields["due_at"] = format_date(due) if due else ""
        if entry.event == "key.promoted":
            fields["probes"] = probes_in_words(observed)
        level = "warning" if entry.event in _WARNINGS else "info"
        shown = {name: value for name, value in fields.items() if value}
        site.emit(level, entry.event, key_set=site.key_set, revision=after.revision, **shown)


def probes_in_words(observed: Observed) -> str:
    """Return what each address behind each probe said, and when: on one line, and not a long one."""
    said = []
    for name, seen in observed.announcing():
        for item in seen.answers:
            revision = f" r{item.revision}" if item.revision is not None else ""
            age = f" Age {item.age.total_seconds():.0f} s" if item.age is not None else ""
            at = f" at {seen.at:%H:%M:%SZ}" if seen.at is not None else ""
            said.append(f"{name.partition(':')[2]} {item.address}{revision}{age}{at}")
    kept: list[str] = []
    for text in said:
        if sum(len(item) + 2 for item in kept) + len(text) > _LONGEST:
            return "; ".join([*kept, f"and {len(said) - len(kept)} more"])
        kept.append(text)
    return "; ".join(kept)


def key_due(key: Key, policy: RotationPolicy) -> datetime | None:
    """When the next thing in a key's life may happen, as far as the clock alone can tell."""
    if key.phase is Phase.PENDING and key.announced:
        return max(key.announced.values()) + policy.propagation_wait
    if key.phase is Phase.ACTIVE and key.activated_at is not None:
        return key.activated_at + policy.rotate_every
    if key.phase is Phase.RETIRING and key.superseded_at is not None:
        return key.superseded_at + policy.grace_wait
    return key.destroy_after


def writes(site: Site, ring: KeyRing, written: Iterable[Written]) -> None:
    """Tell which documents were written."""
    for item in written:
        site.emit(
            "info",
            _WRITES[item.kind],
            key_set=site.key_set,
            revision=ring.revision,
            target=item.target,
            kid=item.kids[0] if item.kind is DocumentKind.SIGNING else ",".join(item.kids),
        )
        if item.purged is not None:
            _purged(site, item.target, item.purged)


def _purged(site: Site, target: str, said: Purged) -> None:
    """Tell what became of the request that caches forget a document."""
    key_set, reason = site.key_set, said.text
    if said.done:
        site.emit("info", "cdn.invalidated", key_set=key_set, target=target, reason=reason)
    else:
        site.emit(
            "warning", "cdn.failed", key_set=key_set, target=target, reason=reason, hint=said.hint
        )


def failures(site: Site, found: Mapping[str, RotatorError]) -> None:
    """Tell which targets fail, once per reason, and which have healed."""
    said = site.memory.said
    for name, failure in found.items():
        _once(site, f"failing:{name}", str(failure), "warning", "target.failing", target=name)
    for key in [key for key in said if key.startswith("failing:")]:
        name = key.removeprefix("failing:")
        if name not in found:
            del said[key]
            site.emit("info", "target.healed", key_set=site.key_set, target=name)


def looks(site: Site, ring: KeyRing, seen: Sequence[Seen], verdict: Verdict) -> None:
    """Tell of a suspicious clock, of drift at targets, and of a configuration that differs."""
    if verdict.suspicious:
        _once(site, "clock", verdict.suspicious, "error", "clock.suspicious")
    elif site.memory.said.pop("clock", None) is not None:
        site.emit("info", "clock.trusted", key_set=site.key_set)
    known = {key.kid for key in ring.keys} | {entry.kid for entry in ring.history}
    for item in seen:
        strange = [kid for kid in item.sighting.strangers if kid not in known]
        what = _taken_back(site, item)
        if item.sighting.ours and (strange or item.sighting.drifted):
            what = item.sighting.note or f"unknown kid {', '.join(strange)}"
        if what:
            name = item.target.name
            site.emit("warning", "target.drift", key_set=site.key_set, target=name, reason=what)
    for left in site.left_behind(ring):
        if left.name == site.forgetting:
            continue
        reason = left.words(site.key_set)
        _once(site, f"left:{left.name}", reason, "warning", "target.left_behind", target=left.name)
    for name, what in differences(ring, site.policy).items():
        _once(site, f"differs:{name}", what, "warning", "config.differs", duration=name)


def _taken_back(site: Site, item: Seen) -> str:
    """Return what somebody took away from a target since this process last saw it; empty when nobody did.

    A probe's answers may come from caches of different age, and tell nothing of that.
    """
    name, seen, shown = item.target.name, item.sighting, site.memory.shown
    if not item.target.writable or not seen.answered or seen.foreign:
        return ""
    before = shown.pop(name, None)
    if not seen.filled:
        return "" if before is None else "it was emptied"
    shown[name] = seen.revision or 0
    if before is None or shown[name] >= before:
        return ""
    return f"it was set back from revision {before} to {shown[name]}"


def signers(site: Site, ring: KeyRing, now: datetime, observed: Observed) -> None:
    """Tell which signers do not sign with what they should, once per reason, and which do so again."""
    if not site.signers:
        return
    from rotator.signers.judge import drifts

    said, found = site.memory.said, set()
    for name, kid, reason in drifts(ring, ring.in_force(site.policy), now, observed):
        found.add(name)
        _once(site, f"drift:{name}", reason, "warning", "signer.drift", target=name, kid=kid)
    for name, seen in observed.signers():
        if seen.answered and name not in found and said.pop(f"drift:{name}", None) is not None:
            kid = ", ".join(seen.kids)
            site.emit("info", "signer.healed", key_set=site.key_set, target=name, kid=kid)


def _once(site: Site, topic: str, reason: str, level: str, event: str, **fields: str) -> None:
    """Emit an event only when there is something new to say."""
    if site.memory.said.get(topic) == reason:
        return
    site.memory.said[topic] = reason
    site.emit(level, event, key_set=site.key_set, reason=reason, **fields)
