"""Servers elsewhere: they read the ring anew within each `resync`, and serve it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rotator.jwks import render_jwks
from rotator.policy import RotationPolicy
from rotator.rehearsal.places import Place
from rotator.ring import KeyRing
from rotator.stores import Document


@dataclass(slots=True)
class Follower:
    """A server elsewhere (`rotator serve`).

    Attributes:
        due: when it reads the ring again.
    """

    place: Place
    due: datetime | None = None

    def read(self, ring: KeyRing, policies: Sequence[RotationPolicy]) -> None:
        """Serve a ring, with the shortest lifetimes of some policies."""
        if not ring.published:
            return
        self.place.put(
            Document(
                render_jwks(ring),
                ring.key_set,
                ring.revision,
                max_age=int(min(p.jwks_max_age for p in policies).total_seconds()),
                stale=int(min(p.jwks_stale for p in policies).total_seconds()),
            )
        )
