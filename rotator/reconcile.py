"""One tick of one key set: the only place where the plan meets I/O.

    load → look → plan → swap → publish what is new → deliver → publish what is gone

A tick does at most one step, and says whether another should follow at once: that one begins with the
look that proves what this one wrote. A crash anywhere is finished by the next tick of anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator import telling
from rotator.clock import Verdict, judge
from rotator.errors import (
    ClockSuspicious,
    ConfigError,
    Conflict,
    RotatorError,
    StoreCorrupt,
    TargetFailing,
)
from rotator.evidence import absorb, stamp
from rotator.keyset import Outcome, Site
from rotator.look import Seen, look_at, witness_of
from rotator.mend import Mender, Stalled
from rotator.observed import Observed
from rotator.plan import Do, Step, next_step
from rotator.policy import format_duration
from rotator.ring import KeyRing, Phase
from rotator.ring_document import MAX_BYTES, read_ring, write_ring
from rotator.stores import Stored

Change = Callable[[KeyRing], KeyRing | None]
_LOADS: Final = 3
_SWAPS: Final = 5
_READS: Final = 5
_TOGETHER: Final = timedelta(milliseconds=100)


class View:
    """What one tick knows: the ring as loaded, everything seen since, and the right to write.

    Attributes:
        loaded: the ring as the store holds it; revision 0 when there is none.
        ring: the same with the evidence absorbed and changes made; saved by `swap`.
        now: the wall clock, read after the looks, and `read_at` what CLOCK_BOOTTIME said just then.
    """

    def __init__(self, site: Site, *, trusting: bool = True) -> None:
        self.site = site
        self.trusting = trusting
        self.seen: tuple[Seen, ...] = ()
        self.observed = Observed()
        self.swapped = False
        self.load()

    def load(self) -> None:
        """Load the ring, and begin a new write window.

        Raises:
            StoreCorrupt, StoreUnavailable, StoreDenied: as the store and the ring have it.
        """
        site = self.site
        self.loaded_at = site.clock.elapsed()
        self.stored: Stored | None = site.rings.load()
        if self.stored is None:
            self.loaded = KeyRing(site.key_set)
        else:
            self.loaded = self._read(self.stored)
        self.ring = self.loaded
        self.version = self.stored.version if self.stored else None
        self.read_clock()
        self.heard_at = (self.now, self.read_at)

    def read_clock(self) -> None:
        """Read both clocks together: a process that stood still in between would think its clock moved."""
        clock = self.site.clock
        for _ in range(_READS):
            self.read_at = clock.elapsed()
            self.now = clock.now()
            if clock.elapsed() - self.read_at <= _TOGETHER:
                break

    def _read(self, stored: Stored) -> KeyRing:
        try:
            return read_ring(stored.document, key_set=self.site.key_set, place=self.site.place)
        except StoreCorrupt:
            if self.trusting:
                raise
            # Only an operator's recovery or emergency goes on from here, and replaces these bytes.
            return KeyRing(self.site.key_set)

    def look(self) -> None:
        """Look at every target, and hold what is there against the ring."""
        site = self.site
        self.seen = tuple(
            site.spread(lambda t: look_at(t, self.loaded, site.keys, site.clock), site.targets)
        )

    @property
    def policy_window(self) -> timedelta:
        """How long after its load this tick may still start a write."""
        return self.ring.in_force(self.site.policy).write_window

    def fence(self) -> None:
        """Refuse a write that comes too late after the load: a stalled writer knows old things.

        Raises:
            Stalled: the write window has passed.
        """
        if self.site.clock.elapsed() - self.loaded_at > self.policy_window:
            raise Stalled(
                f"this process stood still between loading the ring of key set {self.site.key_set} "
                "and a write",
                hint="nothing more was written; the next tick begins anew",
            )

    def date(self) -> datetime:
        """Return the date for what happens now: read after the evidence, never before the ring's latest.

        With a suspicious clock, the latest date in the ring: such a clock sets none of its own.
        """
        latest = self.ring.latest
        if self.observed.suspicious and latest is not None:
            return latest
        # Evidence may have cleared the latest date itself: what was loaded counts as well.
        # The wall clock was judged in this tick; from there on CLOCK_BOOTTIME tells the time, for a
        # leap in between would put a date into the ring that stops every other replica.
        now = self.now + (self.site.clock.elapsed() - self.read_at)
        return max(stamp(self.ring, now), stamp(self.loaded, now))

    def swap(self) -> None:
        """Save the ring, one revision up, if nobody else did since it was loaded.

        Raises:
            Conflict: somebody did, or this process stood still.
            StoreUnavailable, StoreDenied: the store did not take it.
        """
        self.fence()
        ring = replace(self.ring, revision=self.loaded.revision + 1)
        document = write_ring(ring)
        while len(document) > MAX_BYTES and ring.history:
            ring = replace(ring, history=ring.history[len(ring.history) // 2 + 1 :])
            document = write_ring(ring)
        self.version = self.site.rings.save(document, replacing=self.version)
        self.site.memory.revision = max(self.site.memory.revision, ring.revision)
        before, self.loaded, self.ring, self.swapped = self.loaded, ring, ring, True
        telling.changes(self.site, before, ring)

    def finish(self, step: Step, failures: Mapping[str, RotatorError]) -> Outcome:
        """Write what differs at the targets, and say how the tick went."""
        site, memory, elapsed = self.site, self.site.memory, self.site.clock.elapsed()
        mender = Mender(
            self.ring,
            site.policy,
            site.material,
            site.keys,
            self.fence,
            lambda name: memory.deferred(name, elapsed),
            lambda item: look_at(item.target, self.ring, site.keys, site.clock),
            memory.wrote,
            memory.conflicts,
        )
        if self.ring.revision:
            mender.mend(self.seen)
        if mender.unfit:
            from rotator.steps import discard_unfit

            discard_unfit(self, mender.unfit)
        looks = _failing_targets(self.seen)
        unproven = memory.unproven(item.target for item in mender.written)
        writes = {**unproven, **mender.failures}
        retry_at = memory.remember(looks, writes, elapsed, site.policy.resync)
        found = {**failures, **looks, **writes}
        telling.writes(site, self.ring, mender.written)
        telling.failures(site, found)
        changed = self.swapped or bool(mender.written) or mender.outrun
        return Outcome(
            ring=self.ring,
            step=step,
            changed=changed,
            written=tuple(mender.written),
            failures=found,
            retry_at=retry_at,
            observed=self.observed,
            now=self.now,
        )


def tick(site: Site) -> Outcome:
    """Bring a key set one step closer to what it should be.

    Raises:
        StoreCorrupt: the ring cannot be read, parsed or trusted, or is older than what is published;
            nothing was changed (rule 4).
        StoreUnavailable, StoreDenied: the ring could not be loaded or saved.
        TargetFailing, ClockSuspicious: there is no ring, and whether this is a first run cannot be told.
        ConfigError: the configured kind of key does not fit this ring.
        Conflict: somebody else was faster, or this process stood still: tick again.
    """
    view = look_around(site)
    refuse_misfit(view.ring, site)
    step = next_step(view.ring, site.policy, view.now, view.observed)
    failures: dict[str, RotatorError] = {}
    if step.do is not Do.WAIT:
        from rotator.steps import execute  # a tick with nothing to do never needs it

        failures = execute(view, step)
    elif view.ring != view.loaded:
        view.swap()
    return view.finish(step, failures)


def look_around(site: Site) -> View:
    """Load the ring, look at every target, and absorb what was seen: everything before the plan.

    Raises: as `tick`; nothing was written.
    """
    view = View(site)
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


def update(view: View, change: Change) -> bool:
    """Swap a change that does not depend on what was seen at targets, loading again on a conflict.

    Args:
        change: returns the next ring, or None when it no longer applies.

    Returns:
        False when somebody else did it, or it no longer applies.
    """
    for attempt in range(_SWAPS):
        ring = change(view.ring)
        if ring is None:
            return False
        view.ring = ring
        try:
            view.swap()
        except Stalled:
            raise
        except Conflict:
            if attempt == _SWAPS - 1:
                raise
            view.load()
        else:
            return True
    return False


def _doubtful(view: View) -> bool:
    """True when a target is ahead of the ring, or filled while there is none."""
    if view.site.memory.revision > view.loaded.revision:
        return True
    if view.loaded.revision == 0:
        return any(item.sighting.filled for item in view.seen)
    return bool(_ahead(view))


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
    return Observed(
        sightings={item.target.name: item.sighting for item in view.seen},
        suspicious=verdict.suspicious,
        confirmed=verdict.confirmed,
        creating_idle={kid: elapsed - since for kid, since in memory.creating.items()},
    )


def _refuse_doubtful_first_run(view: View) -> None:
    """A missing ring is a first run only when that is proven, or an operator says so (rule 4)."""
    site = view.site
    missing = f"there is no ring for key set {site.key_set}"
    filled = [item for item in view.seen if item.sighting.filled]
    ours = [item.target.name for item in filled if item.sighting.ours]
    silent = [item.target.name for item in view.seen if not item.sighting.answered]
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
    if filled:
        raise StoreCorrupt(
            f"{missing}, but {filled[0].target.name} is filled by something else",
            hint=f"{by_hand}, then take it over with `rotator recover --take-over`",
        )
    if silent:
        raise TargetFailing(
            f"{missing}, and no answer from {', '.join(silent)}: whether keys are in use cannot be told",
            hint=by_hand,
        )
    if site.policy.first_run != "auto":
        raise TargetFailing(f"{missing}, and `first_run: operator` is configured", hint=by_hand)
    if not any(item.sighting.independent for item in view.seen):
        raise TargetFailing(f"{missing}, and nothing but its own store was asked", hint=by_hand)


def _failing_targets(seen: tuple[Seen, ...]) -> dict[str, RotatorError]:
    found: dict[str, RotatorError] = {}
    for item in seen:
        name, sighting = item.target.name, item.sighting
        if not sighting.answered:
            found[name] = TargetFailing(f"no answer from {name}: {sighting.error}")
            found[name].exit_code = sighting.exit_code if sighting.exit_code == 77 else 75
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
