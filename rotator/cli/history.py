"""`rotator history`: what happened to each key, as the ring remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Result, Session
from rotator.cli.views import entry_view
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.reconcile.site import Site

FORMAT: Final = "rotator.history/1"
_SHOWN: Final = 10


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option("--kid", metavar="KID", help="Only what happened to one key.")
@click.pass_obj
def history(options: dict[str, Any], key_sets: tuple[str, ...], kid: str | None) -> int:
    """Show what happened to each key, oldest first.

    The ring keeps the last 100 events of a key set; the logs have them all. Reads rings only.
    """
    session = Session(options)
    names = session.chosen(key_sets)
    known: dict[str, None] = {}  # in the order of their lives
    with session.assembly() as assembly:
        results = session.each(
            names, lambda name: _one(session, assembly.site(name, reading=True), kid, known)
        )
    begins = (kid or "").removesuffix("…")
    strange = not any(item.startswith(begins) for item in known)
    if kid is not None and strange and not any(result.error for result in results):
        shown = list(known)[-_SHOWN:]
        raise UsageError(
            f"no key {kid!r} in the history of {', '.join(names[:_SHOWN])}",
            hint=f"known are {', '.join(shown)}" if shown else "no key was made yet",
        )
    return session.finish(FORMAT, results)


def _one(session: Session, site: Site, kid: str | None, known: dict[str, None]) -> Result:
    from rotator.cli.absent import refuse_lost_ring
    from rotator.cli.kids import whole_kid
    from rotator.cli.reading import ring_of

    ring = ring_of(site)
    refuse_lost_ring(site, ring)
    kid = whole_kid(ring, kid) if kid is not None else None
    entries = [entry_view(item) for item in ring.history if kid in (None, item.kid)]
    known.update(dict.fromkeys(item.kid for item in ring.history if item.kid))
    known.update(dict.fromkeys(key.kid for key in ring.keys))
    if kid is not None and not entries:
        # A kid is one key set's; whether any has it is told when all were asked.
        return Result(site.key_set, {"revision": ring.revision, "entries": entries})
    if not entries:
        session.console.say(f"{site.key_set}: nothing happened yet")
    else:
        session.console.say(f"{site.key_set} (revision {ring.revision})")
        columns = ("at", "event", "kid", "reason")
        session.console.table([[entry[name] or "" for name in columns] for entry in entries])
    return Result(site.key_set, {"revision": ring.revision, "entries": entries})
