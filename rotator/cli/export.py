"""`rotator export`: the ring as it is, for a backup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Result, Session

if TYPE_CHECKING:
    from rotator.reconcile.site import Site

FORMAT: Final = "rotator.export/1"
_MODE: Final = 0o600


@click.command()
@click.argument("key_set", required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, mode 0600."
)
@click.pass_obj
def export(options: dict[str, Any], key_set: str | None, output: Path | None) -> int:
    """Print the ring of a key set, for `recover --ring`. It holds no private key.

    What is written is what the store holds, byte for byte, once it was read and found good. The
    material is not in it: that is backed up with the store.
    """
    session = Session(options)
    name = session.the_one(key_set)
    with session.assembly() as assembly:
        results = session.each(
            [name], lambda one: _one(session, assembly.site(one, reading=True), output)
        )
    return session.finish(FORMAT, results)


def _one(session: Session, site: Site, output: Path | None) -> Result:
    from rotator.cli.reading import document_of

    document, ring = document_of(site)
    if output is None:
        session.console.say(document.decode())
    else:
        from rotator.atomic import replace_file, translating

        with translating(f"cannot write the ring to {output}"):
            replace_file(output.absolute(), document, _MODE)
        session.console.say(f"{site.key_set}: revision {ring.revision} is in {output}")
    view = {
        "revision": ring.revision,
        "output": str(output) if output is not None else None,
        "ring": json.loads(document),
    }
    return Result(site.key_set, view)
