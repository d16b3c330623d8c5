"""The beginning of a kid in place of the whole: logs print eight characters of it, and nobody types 43.

What is written to the ring, and shown, is always the whole kid.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.cli.acting import Operation
    from rotator.operations import Done
    from rotator.reconcile.site import Site
    from rotator.ring import KeyRing

FEWEST: Final = 6
"""So many characters at least: fewer are a slip more often than a name."""


def whole_kid(ring: KeyRing, said: str) -> str:
    """Return the kid that is meant: the one said, or the only one of this ring that begins so.

    Args:
        said: a kid or its beginning, with or without the `…` that stands for the rest in logs. What this ring
            does not know is returned as it is: each command refuses that in its own words.

    Raises:
        UsageError: several kids begin so, or one does and too few characters of it were said.
    """
    known = list(dict.fromkeys(key.kid for key in ring.keys))
    known += dict.fromkeys(e.kid for e in ring.history if e.kid and e.kid not in known)
    begins = said.removesuffix("…")
    if said in known or not begins:
        return said
    meant = [kid for kid in known if kid.startswith(begins)]
    if not meant:
        return said
    if len(meant) > 1:
        raise UsageError(
            f"{said} is the beginning of {len(meant)} keys of key set {ring.key_set}",
            hint=f"say more characters of one of {', '.join(meant)}",
        )
    if len(begins) < FEWEST:
        raise UsageError(
            f"{said} is too little of a kid: {FEWEST} characters, or all of it",
            hint=f"key set {ring.key_set} has {', '.join(meant)}",
        )
    return meant[0]


def whole_kids(ring: KeyRing, said: Collection[str]) -> tuple[str, ...]:
    """Return the kids that are meant, each once. Raises as `whole_kid`."""
    return tuple(dict.fromkeys(whole_kid(ring, kid) for kid in said))


def with_whole_kid(operation: Any, said: str) -> Operation:
    """Return an operation on the one kid that is meant, which the ring tells when it is carried out.

    Args:
        operation: takes the site, `kid` and `dry_run`.
    """

    def run(site: Site, *, dry_run: bool = False) -> Done:
        from rotator.cli.reading import ring_of

        done: Done = operation(site, kid=whole_kid(ring_of(site), said), dry_run=dry_run)
        return done

    return run
