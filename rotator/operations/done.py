"""What every operation has in common: the statement, the date, and starting again on a conflict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from rotator.errors import Conflict, UsageError
from rotator.operations.aftermath import Revocation
from rotator.plan import next_step
from rotator.reconcile.finish import finish
from rotator.reconcile.gather import look_around
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.view import View
from rotator.ring import ENDED, Key, KeyRing

_TRIES: Final = 10
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation did, or would do: one sentence per line, and the tick's outcome if it wrote.

    `revocation` says what was revoked, for the report of what that broke.
    """

    statement: tuple[str, ...]
    outcome: Outcome | None = None
    revocation: Revocation | None = None


def existing(site: Site, *, patience: timedelta | None = None) -> View:
    """Load and look, as a tick does; the key set must have a ring.

    Args:
        patience: how long targets are waited for, all of them together; None: as long as each takes.

    Raises:
        UsageError: there is none yet; and as `rotator.reconcile.gather.look_around`.
    """
    site.memory.failing.clear()  # an operator's word gets its try, however often a target failed before
    view = look_around(site, patience=patience)
    if view.loaded.revision == 0:
        raise UsageError(
            f"key set {site.key_set} has no ring yet",
            hint=f"`rotator rotate {site.key_set}` makes its first key",
        )
    return view


def need(ring: KeyRing, kid: str) -> Key:
    """Return a key that is not ended.

    Raises:
        UsageError: the ring does not know the kid, or the key has ended; the message lists the others.
    """
    key = ring.find(kid)
    if key is None or key.phase in ENDED:
        known = ", ".join(item.kid for item in ring.published) or "none"
        what = f"is {key.phase.value} already" if key is not None else "is not known"
        raise UsageError(
            f"key {kid} of key set {ring.key_set} {what}", hint=f"its published keys are {known}"
        )
    return key


def carry_on(view: View) -> Outcome:
    """Write what follows from the swap at the targets."""
    step = next_step(view.ring, view.site.policy, view.site.clock.now(), view.observed)
    return finish(view, step, {})


def again_on_conflict(once: Callable[[], _T]) -> _T:
    """Do something, and begin anew when somebody else was faster.

    Raises:
        Conflict: ten times in a row.
    """
    for attempt in range(_TRIES):
        try:
            return once()
        except Conflict:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def apply(
    site: Site, change: Callable[[View], KeyRing], statement: tuple[str, ...], *, dry_run: bool
) -> Done:
    """Look, change the ring, swap, and write what follows; begin anew on a conflict."""

    def once() -> Done:
        view = existing(site)
        view.ring = change(view)
        if dry_run:
            return Done(statement)
        view.swap()
        return Done(statement, carry_on(view))

    return again_on_conflict(once)
