"""What `status`, `plan`, `history` and `check` say of a key set without a ring: lost, or not begun (rule 4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rotator.errors import StoreCorrupt
from rotator.reconcile.look import Seen
from rotator.reconcile.site import Site
from rotator.ring import KeyRing

_LOCAL: Final = ("file:", "files:")


def lost_ring(site: Site, looks: Iterable[Seen]) -> StoreCorrupt | None:
    """Return the refusal when documents of a key set are seen that has no ring, None when none are."""
    ours = [seen.target.name for seen in looks if seen.sighting.filled and seen.sighting.ours]
    if not ours:
        return None
    return StoreCorrupt(
        f"the ring of key set {site.key_set} is gone: there is none at {site.place}, but keys "
        f"of it are at {', '.join(ours)}",
        hint=f"`rotator recover {site.key_set} --ring FILE` brings it back from a backup; without one, "
        f"`rotator rotate {site.key_set} --emergency` gives up its keys",
    )


def refuse_lost_ring(site: Site, ring: KeyRing) -> None:
    """Refuse to call a ring missing when documents of its key set lie where this costs next to nothing.

    That is in local files, and in the ring's own store, which was asked just now; `status --live` and
    `check` look everywhere.

    Args:
        ring: as read; one that is there is never refused.

    Raises:
        StoreCorrupt: they do: the ring is gone.
    """
    if ring.revision:
        return
    from rotator.reconcile.look import look_at

    near = [
        target
        for target in site.targets
        if target.writable and (target.name.startswith(_LOCAL) or not target.independent)
    ]
    lost = lost_ring(site, [look_at(target, ring, site.keys, site.clock) for target in near])
    if lost is not None:
        raise lost


def word_needed(site: Site) -> str:
    """Say why only an operator's word makes the first key; empty when `rotate` can prove a first run."""
    if site.policy.first_run != "auto":
        return "`first_run: operator` is configured"
    if any(target.independent for target in site.targets):
        return ""
    return "nothing but its own store can be asked whether there was a ring before"


def first_command(site: Site) -> str:
    """Return the command that makes the first key, and why it needs a word more where it does."""
    needed = word_needed(site)
    if not needed:
        return f"`rotator rotate {site.key_set}` makes its first key"
    return (
        f"`rotator rotate {site.key_set} --first-run` makes its first key: it takes your word that there "
        f"never was one, for {needed}"
    )
