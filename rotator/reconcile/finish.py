"""Everything after the step: write what differs at the targets, remember, tell."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.errors import (
    RotatorError,
    TargetFailing,
)
from rotator.reconcile import asking, telling
from rotator.reconcile.look import Seen, look_at
from rotator.reconcile.mend import Mender
from rotator.reconcile.site import Outcome
from rotator.reconcile.view import View
from rotator.step import Step


def finish(view: View, step: Step, failures: Mapping[str, RotatorError]) -> Outcome:
    """Write what differs at the targets, and say how the tick went."""
    site, memory, elapsed = view.site, view.site.memory, view.site.clock.elapsed()
    mender = Mender(
        view.ring,
        site.policy,
        site.material,
        site.keys,
        view.fence,
        view.in_time,
        lambda name: memory.deferred(name, elapsed),
        lambda item: look_at(item.target, view.ring, site.keys, site.clock),
        memory.wrote,
        memory.conflicts,
        site.spread,
        view.patience,
    )
    if view.ring.revision:
        mender.mend(view.seen)
    if mender.unfit:
        from rotator.reconcile.steps import discard_unfit

        discard_unfit(view, mender.unfit)
    looks = _failing_targets(view.seen)
    unproven = memory.unproven(item.target for item in mender.written)
    writes = {**unproven, **mender.failures}
    retry_at = memory.remember(looks, writes, elapsed, site.policy.resync)
    observed, ring = view.observed, view.ring
    held = [(name, observed.sightings[name]) for name in observed.holding]
    found = {**failures, **looks, **writes, **asking.silent(site, ring, view.now, held)}
    telling.writes(site, view.ring, mender.written)
    watched = asking.silent(site, ring, view.now, observed.watched.items())
    telling.failures(site, {**found, **watched})
    changed = view.swapped or bool(mender.written) or mender.outrun
    return Outcome(
        ring=view.ring,
        step=step,
        changed=changed,
        written=tuple(mender.written),
        failures=found,
        retry_at=retry_at,
        observed=view.observed,
        now=view.now,
    )


def _failing_targets(seen: tuple[Seen, ...]) -> dict[str, RotatorError]:
    found: dict[str, RotatorError] = {}
    for item in seen:
        name, sighting = item.target.name, item.sighting
        if not sighting.answered:
            found[name] = TargetFailing(f"no answer from {name}: {sighting.error}")
            found[name].exit_code = sighting.exit_code if sighting.exit_code in (77, 78) else 75
        elif sighting.foreign and not item.target.writable:
            found[name] = TargetFailing(
                f"{name} serves another key set", hint="correct its address under `probes:`"
            )
        elif sighting.foreign:
            found[name] = TargetFailing(
                f"{name} is filled by something that this key set did not write",
                hint=f"clear it, or take it over with `rotator recover --take-over {name}`",
            )
    return found
