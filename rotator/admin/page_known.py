"""What the status page is made of: the last tick of each key set, kept whole for as many as are ever drawn."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rotator.errors import RotatorError
from rotator.observed import Observed
from rotator.policy import RotationPolicy, format_duration
from rotator.reconcile.site import Outcome, Site
from rotator.ring import KeyRing, Order, Phase
from rotator.step import Do
from rotator.stores import DocumentKind

KEPT: Final = 200
"""Key sets of which everything is kept that a picture needs, so that a fleet does not cost a ring each."""

_LINES: Final = 40  # of a ring's history: two rotations a line would be a lot
_FAULT: Final = "unexpected {}; this is a fault of the program"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that fails: what, why, and what to do."""

    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """What is kept of every key set.

    Attributes:
        current: the kid that signs; empty when none does.
        hold: the operator's hold, None without one.
        error: why the last tick could not be made, None when it could.
        suspicious: why the clock is not trusted; empty when it is.
    """

    current: str = ""
    hold: Order | None = None
    error: Fault | None = None
    suspicious: str = ""


@dataclass(frozen=True, slots=True)
class Portrait:
    """All that a picture of a key set needs, as of its last tick that came to its end.

    Attributes:
        place: where the ring lies.
        faults: the targets that fail, and why.
        left: what is to be said of targets that left the configuration.
        asked: there is a signer check.
    """

    place: str
    policy: RotationPolicy
    ring: KeyRing
    observed: Observed
    targets: Mapping[str, DocumentKind]
    at: datetime
    faults: tuple[Fault, ...] = ()
    left: tuple[str, ...] = ()
    asked: bool = False

    @property
    def well(self) -> bool:
        """True when nothing but its keys is to be told of it."""
        return not self.faults and not self.observed.suspicious and self.ring.hold is None


class Known:
    """Told of every tick, from any thread; implements `rotator.daemon.state.Observer`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._briefs: dict[str, Brief] = {}
        self._portraits: dict[str, Portrait] = {}

    def ticked(self, site: Site, outcome: Outcome) -> None:
        """Take what a tick that came to its end found and did."""
        ring = outcome.ring
        active, suspicious = ring.active, outcome.observed.suspicious
        brief = Brief(active.kid if active is not None else "", ring.hold, None, suspicious)
        blocked = outcome.step.do is Do.WAIT and outcome.step.blocked
        with self._lock:
            self._briefs[site.key_set] = brief
            wanted = self._has_place(site.key_set, troubled=bool(outcome.failures) or blocked)
        if not wanted:
            return
        portrait = _portrait(site, outcome)
        with self._lock:
            self._portraits[site.key_set] = portrait

    def failed(self, site: Site, error: Exception) -> None:
        """Take why a tick could not be made; what was known of the keys stays."""
        with self._lock:
            before = self._briefs.get(site.key_set, Brief())
            self._briefs[site.key_set] = replace(before, error=_fault("", error))

    def dropped(self, key_set: str) -> None:
        """Forget a key set that left the configuration."""
        with self._lock:
            self._briefs.pop(key_set, None)
            self._portraits.pop(key_set, None)

    def read(self) -> tuple[dict[str, Brief], dict[str, Portrait]]:
        """Return what is known, by key set, as of now."""
        with self._lock:
            return dict(self._briefs), dict(self._portraits)

    def _has_place(self, key_set: str, *, troubled: bool) -> bool:
        """Tell whether a key set is kept whole; one that is in trouble takes the place of one that is well."""
        if key_set in self._portraits or len(self._portraits) < KEPT:
            return True
        if not troubled:
            return False
        well = next((name for name, item in self._portraits.items() if item.well), None)
        if well is not None:
            del self._portraits[well]
        return well is not None


def _portrait(site: Site, outcome: Outcome) -> Portrait:
    ring = outcome.ring
    lives = [entry for entry in ring.history if entry.event.startswith("key.")]
    return Portrait(
        site.place,
        site.policy,
        replace(ring, history=tuple(lives[-_LINES:])),
        outcome.observed,
        {target.name: target.kind for target in site.targets},
        outcome.now,
        tuple(_fault(name, error) for name, error in sorted(outcome.failures.items())),
        tuple(left.words(site.key_set) for left in site.left_behind(ring)),
        bool(site.signers),
    )


def _fault(what: str, error: Exception) -> Fault:
    if isinstance(error, RotatorError):
        return Fault(what, error.message, error.hint)
    # Nobody knows what is in the text of such an error: it may quote what it read.
    return Fault(what, _FAULT.format(type(error).__name__), "the log has more of it")


def policy_in_words(portrait: Portrait) -> str:
    """Return the durations in force that a person wants to know."""
    policy = portrait.ring.in_force(portrait.policy)
    return (
        f"A key is replaced every {format_duration(policy.rotate_every)}, has to be announced for "
        f"{format_duration(policy.propagation_wait)} before it signs, and stays published for "
        f"{format_duration(policy.grace_wait)} once no signer uses it."
    )


def called(phase: Phase) -> str:
    """Return what people call a key in a phase."""
    names = {Phase.PENDING: "next", Phase.ACTIVE: "current", Phase.RETIRING: "previous"}
    return f"{phase.value} ({names[phase]})" if phase in names else phase.value
