"""Everything before the plan: load, look, judge what is doubtful, and absorb what was seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from rotator.clock import Verdict, judge
from rotator.errors import (
    ClockSuspicious,
    ConfigError,
    StoreCorrupt,
    TargetFailing,
)
from rotator.evidence import absorb
from rotator.observed import Observed
from rotator.policy import format_duration
from rotator.reconcile import asking, telling
from rotator.reconcile.look import witness_of
from rotator.reconcile.site import Site
from rotator.reconcile.view import View
from rotator.ring import KeyRing, Phase

_LOADS: Final = 3


def look_around(site: Site, *, patience: timedelta | None = None) -> View:
    """Load the ring, look at every target, and absorb what was seen: everything before the plan.

    Args:
        patience: see `View`; what a target says later than that is no answer.

    Raises: as `tick`; nothing was written.
    """
    view = View(site, patience=patience)
    for _ in range(_LOADS):
        view.look()
        if not _doubtful(view):
            break
        # Judged only after a second load: the ring may have moved on while we looked (rule 4).
        version = view.version
        view.load()
        if view.version == version:
            break
    _refuse_stale(view)
    view.read_clock()
    verdict = judge_clock(view)
    view.observed = observe(view, verdict)
    if view.loaded.revision == 0:
        _refuse_doubtful_first_run(view)
    site.memory.revision = max(site.memory.revision, view.loaded.revision)
    view.ring = absorb(view.loaded, site.policy, view.now, view.observed)
    telling.looks(site, view.ring, view.seen, verdict)
    telling.signers(site, view.ring, view.now, view.observed)
    return view


def refuse_misfit(ring: KeyRing, site: Site) -> None:
    """Refuse a kind of key that this ring cannot change to (rule 10).

    Raises:
        ConfigError: between symmetric and asymmetric, or to another `kty` without `allow_mixed_kty`.
    """
    active, wanted = ring.active, site.policy.kind
    if active is None or active.kind.kty == wanted.kty:
        return
    where = f"key set {site.key_set} signs with {active.algorithm} and is configured for {wanted}"
    if active.kind.symmetric or wanted.symmetric:
        raise ConfigError(
            f"{where}: only a new key set leads from one to the other",
            hint="configure a key set of another name, move signers and verifiers to it, then remove this one",
        )
    if not site.policy.allow_mixed_kty:
        raise ConfigError(
            f"{where}: the JWKS would mix key types, which breaks several verifiers",
            hint="use a new key set, or set `allow_mixed_kty: true` once every verifier is known to bear it",
        )


def _doubtful(view: View) -> bool:
    """True when a target is ahead of the ring, or filled while there is none."""
    if view.site.memory.revision > view.loaded.revision:
        return True
    if view.loaded.revision == 0:
        return any(item.sighting.filled for item in view.seen)
    return bool(_ahead(view)) or asking.doubtful(view.loaded, view.asked)


def _ahead(view: View) -> list[str]:
    return [
        f"{item.target.name} has revision {item.sighting.revision}"
        for item in view.seen
        if item.sighting.ours and (item.sighting.revision or 0) > view.loaded.revision
    ]


def _refuse_stale(view: View) -> None:
    site, revision = view.site, view.loaded.revision
    if revision == 0:
        return  # judged as a first run
    ahead = _ahead(view)
    if site.memory.revision > revision:
        ahead.append(f"this process has seen revision {site.memory.revision}")
    if ahead:
        raise StoreCorrupt(
            f"the ring of key set {site.key_set} has revision {revision}, but {'; '.join(ahead)}: "
            "it is an old or restored one",
            hint=f"nothing was changed; `rotator recover {site.key_set} --ring FILE` makes a "
            "restored ring the truth",
        )


def judge_clock(view: View) -> Verdict:
    """Judge this host's clock by the ring, the process, and whoever was heard in the looks."""
    site, memory, ring = view.site, view.site.memory, view.loaded
    elapsed, (heard_at, heard_elapsed) = view.read_at, view.heard_at
    drift = memory.drift(view.now, elapsed)
    stored = view.stored.server_time if view.stored else None
    witnesses = [item.witness for item in view.seen if item.witness is not None]
    said = witness_of(f"the store of key set {site.key_set}", stored, heard_at)
    if said is not None:
        witnesses.append(said)
    policy = ring.in_force(site.policy)
    leap = (view.now - heard_at) - (elapsed - heard_elapsed)
    if abs(leap) > policy.clock_skew:
        # Whoever was heard in this tick may have been heard before the leap.
        return Verdict(f"the clock was moved by {format_duration(leap)} during one look around")
    confirmed = memory.operator_confirmed(ring, view.now, elapsed, policy.clock_skew)
    verdict = judge(
        ring, policy, view.now, drift=drift, witnesses=witnesses, operator_confirmed=confirmed
    )
    if verdict.confirmed:
        memory.base = (view.now, elapsed)
    return verdict


def observe(view: View, verdict: Verdict) -> Observed:
    """Put together what was observed, and since when others' creations stand still."""
    memory, elapsed = view.site.memory, view.site.clock.elapsed()
    creating = {key.kid for key in view.loaded.in_phase(Phase.CREATING)}
    memory.creating = {kid: memory.creating.get(kid, elapsed) for kid in creating}
    memory.put &= creating
    observed = Observed(
        sightings={item.target.name: item.sighting for item in view.seen},
        suspicious=verdict.suspicious,
        confirmed=verdict.confirmed,
        creating_idle={kid: elapsed - since for kid, since in memory.creating.items()},
    )
    return asking.told(view.site, observed)


def _refuse_doubtful_first_run(view: View) -> None:
    """A missing ring is a first run only when that is proven, or an operator says so (rule 4)."""
    site = view.site
    missing = f"there is no ring for key set {site.key_set}"
    filled = [item for item in view.seen if item.sighting.filled]
    ours = [item.target.name for item in filled if item.sighting.ours]
    silent = [
        f"{item.target.name} ({item.sighting.error})"
        for item in view.seen
        if not item.sighting.answered
    ]
    recover = (
        f"nothing was changed; restore it with `rotator recover {site.key_set} --ring FILE`, or give "
        f"up its keys with `rotator rotate {site.key_set} --emergency`"
    )
    if site.memory.revision:
        raise StoreCorrupt(f"{missing} any more, and this process has seen it", hint=recover)
    if ours:
        raise StoreCorrupt(f"{missing}, but keys of it are at {', '.join(ours)}", hint=recover)
    if view.observed.suspicious:
        raise ClockSuspicious(f"{missing}, and {view.observed.suspicious}")
    if site.first_run:
        return
    by_hand = f"if this is a first run, say so with `rotator rotate {site.key_set} --first-run`"
    signing = list(asking.in_use(view.observed))
    if signing:
        raise StoreCorrupt(
            f"{missing}, but {'; '.join(signing)}",
            hint=f"a key that signs already is taken in with `rotator adopt {site.key_set} --from FILE`, "
            f"a lost ring restored with `rotator recover {site.key_set} --ring FILE`; {by_hand}",
        )
    if filled:
        raise StoreCorrupt(
            f"{missing}, but {filled[0].target.name} is filled by something else",
            hint=f"a key that signs already is taken in with `rotator adopt {site.key_set} --from FILE`; "
            f"{by_hand}, then take it over with `rotator recover --take-over`",
        )
    if silent:
        raise TargetFailing(
            f"{missing}, and no answer from {', '.join(silent)}: whether keys are in use cannot be told",
            hint=f"mend that, and try again; or, {by_hand}",
        )
    if site.policy.first_run != "auto":
        raise TargetFailing(f"{missing}, and `first_run: operator` is configured", hint=by_hand)
    if not any(item.sighting.independent for item in view.seen):
        raise TargetFailing(f"{missing}, and nothing but its own store was asked", hint=by_hand)
