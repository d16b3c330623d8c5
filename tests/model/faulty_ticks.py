"""Faults in how a tick goes, and in what it publishes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

from rotator import documents, transitions
from rotator.errors import StoreUnavailable
from rotator.jwks import public_jwk
from rotator.observed import DocumentKind
from rotator.policy import ZERO, RotationPolicy
from rotator.reconcile import gather, steps, tick
from rotator.reconcile.look import look_at
from rotator.reconcile.mend import Mender
from rotator.reconcile.site import Site
from rotator.reconcile.view import View
from rotator.ring import Key, KeyRing, Phase
from rotator.ring_document import write_ring
from rotator.step import Reason
from tests.model.patches import instead, together


def mend_first() -> contextlib.AbstractContextManager[Any]:
    original = gather.look_around

    def look_around(site: Site) -> View:
        view = View(site)
        view.look()
        if view.loaded.revision:
            mender = Mender(
                view.loaded,
                site.policy,
                site.material,
                site.keys,
                view.fence,
                view.in_time,
                lambda _name: None,
                lambda item: look_at(item.target, view.loaded, site.keys, site.clock),
            )
            mender.mend(view.seen)
        return original(site)

    return mock.patch.object(tick, "look_around", look_around)


def dates_from_the_start() -> contextlib.AbstractContextManager[Any]:
    original = View.read_clock

    def read_clock(view: View) -> None:
        if not hasattr(view, "now"):
            original(view)

    return mock.patch.object(View, "read_clock", read_clock)


def swap_unfenced(view: View) -> None:
    ring = replace(view.ring, revision=view.loaded.revision + 1)
    view.version = view.site.rings.save(write_ring(ring), replacing=view.version)
    view.loaded, view.ring, view.swapped = ring, ring, True


def swap_over_others(view: View) -> None:
    present = view.site.rings.load()
    view.version = present.version if present is not None else None
    swap_unfenced(view)


def kid_unasked(view: View, why: Reason) -> Any:
    new = view.site.keys.make(view.site.policy.kind)
    locator = view.site.material.allocate(new.kid, view.ring.locators)
    key = Key(
        new.kid,
        new.kind.algorithm,
        new.kind.size,
        Phase.CREATING,
        locator,
        view.date(),
        new.public,
        new.check,
    )
    view.ring = transitions.add_creating(view.ring, key, view.date(), why)
    view.swap()
    return new


_BEGIN_CREATION = steps.begin_creation


def spare_kept(view: View, why: Reason) -> Any:
    memory = view.site.memory
    new = memory.spare = memory.spare or view.site.keys.make(view.site.policy.kind)
    try:
        return _BEGIN_CREATION(view, why)
    except StoreUnavailable:
        memory.spare = new
        raise


_DISCARD = transitions.discard


def discard_for_good(ring: KeyRing, kid: str, at: datetime, why: str, **_: object) -> KeyRing:
    discarded = _DISCARD(ring, kid, at, why, write_window=ZERO)
    return discarded.without_key(kid)


def superseded_for_ever() -> contextlib.AbstractContextManager[Any]:
    activate, promote = transitions._activate, transitions.promote

    def activate_keeping(ring: KeyRing, key: Key, at: datetime) -> KeyRing:
        after = activate(ring, key, at)
        kept = after.find(key.kid)
        return after.with_key(replace(kept, superseded_at=key.superseded_at)) if kept else after

    def promote_keeping(ring: KeyRing, kid: str, at: datetime, why: str) -> KeyRing:
        before, after = ring.active, promote(ring, kid, at, why)
        kept = after.find(before.kid) if before is not None else None
        if before is None or kept is None:
            return after
        return after.with_key(replace(kept, superseded_at=before.superseded_at))

    return together(
        instead(transitions, "_activate", activate_keeping),
        instead(transitions, "promote", promote_keeping),
    )


def date_of_this_clock(view: View) -> datetime:
    return max(view.site.clock.now(), view.ring.latest or view.now)


def with_a_private_member(key: Key) -> dict[str, str]:
    return {**public_jwk(key), "d": "secret"}


def empty_is_fine() -> contextlib.AbstractContextManager[Any]:
    def render(ring: KeyRing, also: Any = ()) -> bytes:
        keys = ",".join(str(public_jwk(key)).replace("'", '"') for key in (*ring.published, *also))
        return f'{{"keys":[{keys}]}}'.encode()

    def publish_gone(mender: Mender, item: Any) -> Any:
        if not mender._differs(item, mender.ring.published):
            return None
        return lambda: mender._announce(item, mender.ring.published, ())

    return together(
        instead(documents, "render_jwks", render), instead(Mender, "_publish_gone", publish_gone)
    )


def pinned_left_out() -> contextlib.AbstractContextManager[Any]:
    whole = KeyRing.published.fget  # type: ignore[attr-defined]

    def published(ring: KeyRing) -> tuple[Key, ...]:
        keys: tuple[Key, ...] = whole(ring)
        return tuple(k for k in keys if not (k.kid in ring.pins and k.superseded_at))

    return mock.patch.object(KeyRing, "published", property(published))


def uncacheable(ring: KeyRing, policy: RotationPolicy, also: Any = ()) -> Any:
    return replace(documents_jwks(ring, policy, also), max_age=0, stale=0)


documents_jwks = documents.jwks_document


def gone_before_new() -> contextlib.AbstractContextManager[Any]:
    """Deliver first, publish after: a signer may have a key before verifiers were given it."""
    original = Mender.mend

    def mend_backwards(mender: Mender, seen: Any) -> None:
        signing = [item for item in seen if item.target.kind is DocumentKind.SIGNING]
        original(mender, signing)
        original(mender, [item for item in seen if item not in signing])

    return mock.patch.object(Mender, "mend", mend_backwards)


def every_material_is_needed(mender: Mender, key: Key) -> Iterator[tuple[Key, Any]]:
    """Yield a key with its material, or nothing at all for any."""
    yield key, mender._material(key)
