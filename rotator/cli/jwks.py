"""`rotator jwks`: the JWKS, as it is published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Result, Session
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.reconcile.site import Site

FORMAT: Final = "rotator.jwks/1"


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.pass_obj
def jwks(options: dict[str, Any], key_sets: tuple[str, ...]) -> int:
    """Print the JWKS of a key set, from its ring.

    One key set prints exactly what is published. --json prints several, each with its revision.
    """
    session = Session(options)
    names = session.chosen(key_sets) if session.console.json else [_one_name(session, key_sets)]
    with session.assembly() as assembly:
        results = session.each(names, lambda name: _one(session, assembly.site(name, reading=True)))
    return session.finish(FORMAT, results)


def _one_name(session: Session, names: tuple[str, ...]) -> str:
    if len(names) > 1:
        raise UsageError("one JWKS at a time", hint="add `--json` for several")
    return session.the_one(names[0] if names else None)


def _one(session: Session, site: Site) -> Result:
    from rotator.cli.reading import needed_ring
    from rotator.jwks import render_jwks

    if site.policy.kind.symmetric:
        raise UsageError(
            f"key set {site.key_set} signs with {site.policy.kind}: it has no JWKS",
            hint="its verifiers read the verification document, where `deliver:` puts it",
        )
    ring = needed_ring(site)
    body = render_jwks(ring)
    session.console.say(body.decode())
    return Result(site.key_set, {"revision": ring.revision, "jwks": json.loads(body)})
