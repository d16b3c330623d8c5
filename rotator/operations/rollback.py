"""Going back to the previous key (rule 9)."""

from __future__ import annotations

from rotator import transitions
from rotator.errors import ClockSuspicious, StoreCorrupt, TargetFailing, UsageError
from rotator.operations.done import Done, apply, existing
from rotator.reconcile.site import Site
from rotator.reconcile.steps import self_test
from rotator.reconcile.view import View
from rotator.ring import Key, KeyRing, Phase


def roll_back(site: Site, why: str, *, dry_run: bool = False) -> Done:
    """Make the previous key active again, and hold the key set (rule 9).

    Raises:
        UsageError: there is nothing to roll back to, or it was rolled back and not released since.
        TargetFailing: not every publication and probe serves the previous key.
        StoreCorrupt: its material fails the self-test.
        ClockSuspicious: a suspicious clock does not promote.
    """
    view = existing(site)
    if view.ring.hold is not None and view.ring.hold.reason.startswith(transitions.ROLLBACK):
        raise UsageError(
            f"key set {site.key_set} was rolled back already: a second rollback would bring the bad key back",
            hint="`rotator release` first, if that is what you want",
        )
    active = view.ring.active
    previous = _previous(view)
    if active is None or previous is None:
        raise UsageError(
            f"key set {site.key_set} has nothing to roll back to",
            hint="only a previous key that is still published, with its material, can sign again",
        )
    if view.observed.suspicious:
        raise ClockSuspicious(f"no rollback: {view.observed.suspicious}")
    missing = view.observed.not_showing(previous.kid)
    if missing:
        raise TargetFailing(
            f"no rollback of key set {site.key_set}: {previous.kid} is not served by {', '.join(missing)}",
            hint="mend that target, or take it out of the configuration",
        )
    said = (
        f"key set {site.key_set}: {previous.kid} signs again, {active.kid} only verifies",
        "the key set is held; `rotator release` lets it rotate again",
    )
    if dry_run:
        return Done(said)
    if not self_test(view, previous):
        raise StoreCorrupt(
            f"no rollback of key set {site.key_set}: the material of {previous.kid} fails its self-test",
            hint="`rotator revoke` the current key instead",
        )

    def change(fresh: View) -> KeyRing:
        key, now_active = fresh.ring.find(previous.kid), fresh.ring.active
        unchanged = now_active is not None and now_active.kid == active.kid
        if key is None or key.phase is not Phase.RETIRING or not unchanged:
            raise UsageError(f"key set {site.key_set} changed meanwhile", hint="ask again")
        return transitions.roll_back(fresh.ring, previous.kid, fresh.date(), why)

    return apply(site, change, said, dry_run=False)


def _previous(view: View) -> Key | None:
    # A key that never signed may be `retiring` too, after a restore: verifiers need not know it yet.
    retiring = [k for k in view.ring.in_phase(Phase.RETIRING) if k.locator and k.activated_at]
    return max(retiring, key=lambda key: key.retiring_at or key.created_at, default=None)
