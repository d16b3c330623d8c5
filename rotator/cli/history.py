"""`rotator history`: what happened to each key, as the ring remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Result, Session
from rotator.cli.views import entry_view

if TYPE_CHECKING:
    from rotator.reconcile.site import Site

FORMAT: Final = "rotator.history/1"


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
    with session.assembly() as assembly:
        results = session.each(
            names, lambda name: _one(session, assembly.site(name, reading=True), kid)
        )
    return session.finish(FORMAT, results)


def _one(session: Session, site: Site, kid: str | None) -> Result:
    from rotator.cli.reading import ring_of

    ring = ring_of(site)
    entries = [entry_view(item) for item in ring.history if kid in (None, item.kid)]
    if not entries:
        session.console.say(f"{site.key_set}: nothing happened yet")
    else:
        session.console.say(f"{site.key_set} (revision {ring.revision})")
        columns = ("at", "event", "kid", "reason")
        session.console.table([[entry[name] or "" for name in columns] for entry in entries])
    return Result(site.key_set, {"revision": ring.revision, "entries": entries})
