"""One tick of one key set: the only place where the plan meets I/O.

    load → look → plan → swap → publish what is new → deliver → publish what is gone

A tick does at most one step, and says whether another should follow at once: that one begins with the
look that proves what this one wrote. A crash anywhere is finished by the next tick of anyone.
"""

from __future__ import annotations

from rotator.errors import (
    RotatorError,
)
from rotator.plan import next_step
from rotator.reconcile.finish import finish
from rotator.reconcile.gather import look_around, refuse_misfit
from rotator.reconcile.site import Outcome, Site
from rotator.step import Do


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
    failures: dict[str, RotatorError] = {}
    while True:
        step = next_step(view.ring, site.policy, view.now, view.observed)
        if step.do is Do.WAIT:
            if view.ring != view.loaded:
                view.swap()
            break
        from rotator.reconcile.steps import execute  # a tick with nothing to do never needs it

        failed = execute(view, step)
        failures = {**failed, **failures}
        if (step.do, step.kid) not in view.observed.stuck:
            break
    return finish(view, step, failures)
