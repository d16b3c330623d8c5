"""Orders that stay in the ring until done or taken back: hold, pin, and promote now (rule 7)."""

from __future__ import annotations

from rotator import transitions
from rotator.errors import UsageError
from rotator.operations.done import Done, apply, existing, need
from rotator.reconcile.site import Site
from rotator.reconcile.view import View
from rotator.ring import KeyRing, Phase


def hold(site: Site, why: str, *, dry_run: bool = False) -> Done:
    """Stop create, promote and retire until `release`; what has begun is finished."""
    said = (
        f"key set {site.key_set}: no key is created, promoted or retired until `rotator release`",
    )
    return apply(
        site, lambda view: transitions.hold(view.ring, view.date(), why), said, dry_run=dry_run
    )


def release(site: Site, *, dry_run: bool = False) -> Done:
    """End a hold.

    Raises:
        UsageError: the key set is not held.
    """

    def change(view: View) -> KeyRing:
        if view.ring.hold is None:
            raise UsageError(f"key set {site.key_set} is not held")
        return transitions.release(view.ring, view.date())

    said = (f"key set {site.key_set}: the hold ends; what is overdue happens at once",)
    return apply(site, change, said, dry_run=dry_run)


def pin(site: Site, kid: str, why: str, *, dry_run: bool = False) -> Done:
    """Keep a key published with its material until `unpin`; only a revocation ends it before.

    Raises:
        UsageError: unknown kid, or so many pins that no place would be left to rotate in (rule 8).
    """

    def change(view: View) -> KeyRing:
        key, ring = need(view.ring, kid), view.ring
        if not key.published:
            raise UsageError(f"key {kid} is {key.phase.value}: only a published key can be pinned")
        # Pinned keys stay; the current and the next need a place each, and one is kept free.
        pinned = {*ring.pins, kid} - {
            item.kid for item in ring.published if item.phase is not Phase.RETIRING
        }
        if len(pinned) + 3 > site.policy.max_keys:
            raise UsageError(
                f"pinning {kid} leaves no place to rotate in: {len(pinned)} keys pinned of "
                f"max_keys {site.policy.max_keys}",
                hint="unpin another key first",
            )
        return transitions.pin(ring, kid, view.date(), why)

    said = (
        f"key set {site.key_set}: {kid} stays published with its material until `rotator unpin`",
    )
    return apply(site, change, said, dry_run=dry_run)


def unpin(site: Site, kid: str, *, dry_run: bool = False) -> Done:
    """Let a pinned key go when its time has come.

    Raises:
        UsageError: the kid is not pinned.
    """

    def change(view: View) -> KeyRing:
        if kid not in view.ring.pins:
            pinned = ", ".join(view.ring.pins) or "none"
            raise UsageError(f"key {kid} is not pinned", hint=f"pinned are {pinned}")
        return transitions.unpin(view.ring, kid, view.date())

    said = (f"key set {site.key_set}: {kid} is no longer kept; it retires when its time has come",)
    return apply(site, change, said, dry_run=dry_run)


def order_promotion(
    site: Site,
    kid: str | None,
    why: str,
    *,
    ignore_windows: bool = False,
    dry_run: bool = False,
) -> Done:
    """Order that a key be replaced as soon as the next one's propagation has passed (`--now[=KID]`).

    Args:
        kid: the key to replace, None for the current one; an order for a kid that is not current any
            more is done already.
        ignore_windows: no change window holds it up; said later, it is added to the order.

    Raises:
        UsageError: unknown kid, or no key is active yet.
    """
    view = _active_view(site)
    active = view.ring.active
    current = active.kid if active is not None else ""
    replaced = kid or current
    if replaced != current:
        if view.ring.find(replaced) is None and all(e.kid != replaced for e in view.ring.history):
            raise UsageError(
                f"key {replaced} of key set {site.key_set} is not known",
                hint=f"the current key is {current}",
            )
        return Done(
            (f"key set {site.key_set}: {replaced} is not the current key any more; nothing to do",)
        )
    order = view.ring.promote
    if (
        order is not None
        and order.replaces == current
        and (order.urgent or order.ignore_windows or not ignore_windows)
    ):
        return Done((f"key set {site.key_set}: {current} is ordered to be replaced already",))

    def change(fresh: View) -> KeyRing:
        return transitions.order_promotion(
            fresh.ring, current, fresh.date(), why, ignore_windows=ignore_windows
        )

    when = "as soon as the next key's propagation has passed"
    if site.policy.windows is not None:
        when += (
            ", whatever its change windows"
            if ignore_windows
            else ", in its next change window (`--ignore-windows` waits for none)"
        )
    said = (f"key set {site.key_set}: {current} is replaced {when}",)
    return apply(site, change, said, dry_run=dry_run)


def _active_view(site: Site) -> View:
    view = existing(site)
    if view.ring.active is None:
        raise UsageError(
            f"key set {site.key_set} has no active key to replace",
            hint="`rotator status` says what its first key waits for",
        )
    return view
