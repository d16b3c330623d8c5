"""Reading a ring, for the commands that show it: no target is touched, no material read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rotator.cli.views import moment
from rotator.clock import judge
from rotator.errors import StoreCorrupt
from rotator.reconcile.site import Site
from rotator.ring import KeyRing
from rotator.ring_document import read_ring
from rotator.step import Reason, Step
from rotator.stores import DocumentKind


def ring_of(site: Site) -> KeyRing:
    """Return the ring as its store has it; one of revision 0 when there is none.

    Raises:
        StoreUnavailable, StoreDenied, StoreCorrupt: as the store and the ring have it.
    """
    stored = site.rings.load()
    if stored is None:
        return KeyRing(site.key_set)
    return read_ring(stored.document, key_set=site.key_set, place=site.place)


def document_of(site: Site) -> tuple[bytes, KeyRing]:
    """Return the bytes of the ring, and what they say.

    Raises:
        StoreCorrupt: there is none; and as `ring_of`.
    """
    stored = site.rings.load()
    if stored is None:
        raise no_ring(site)
    return stored.document, read_ring(stored.document, key_set=site.key_set, place=site.place)


def needed_ring(site: Site) -> KeyRing:
    """Return the ring, which must be there.

    Raises:
        StoreCorrupt: there is none; and as `ring_of`.
    """
    ring = ring_of(site)
    if ring.revision == 0:
        raise no_ring(site)
    return ring


def no_ring(site: Site) -> StoreCorrupt:
    """Say that a ring that must be there is not."""
    return StoreCorrupt(
        f"key set {site.key_set} has no ring at {site.place}",
        hint=f"`rotator rotate {site.key_set}` makes its first key; if it had keys before, "
        f"`rotator recover {site.key_set} --ring FILE` brings its ring back",
    )


def kinds_of(site: Site) -> dict[str, DocumentKind]:
    """Return the kind of each configured target by its name."""
    return {target.name: target.kind for target in site.targets}


def suspicion(site: Site, ring: KeyRing) -> str:
    """Return why this host's clock is suspicious beside the ring alone; empty when it is not."""
    policy = ring.in_force(site.policy)
    return judge(ring, policy, site.clock.now(), drift=timedelta(0)).suspicious


def settled_waits(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Leave out what says nothing to a person: a wait for a key that is simply not due to exist."""
    return tuple(step for step in steps if step.kid or step.reason is not Reason.NOT_DUE)


def clock_view(ring: KeyRing, suspicious: str) -> dict[str, Any]:
    """Return what is known of this host's clock."""
    return {
        "suspicious": suspicious or None,
        "latest_in_ring": moment(ring.latest),
        "confirmed_at": moment(ring.clock_confirmed_at),
    }
