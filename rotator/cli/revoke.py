"""`rotator revoke`: keys out at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from rotator import operations
from rotator.cli.acting import Asked, order
from rotator.cli.kids import whole_kids
from rotator.cli.reading import ring_of
from rotator.cli.revoked import REPORT, Reports
from rotator.cli.session import Session
from rotator.cli.words import KidCommand
from rotator.errors import UsageError


@click.command(cls=KidCommand)
@click.argument("words", metavar="[KEY_SET] KID...", nargs=-1)
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the history.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--yes", is_flag=True, help="Do not ask (the current key, or every key).")
@REPORT
@click.pass_obj
def revoke(
    options: dict[str, Any],
    /,
    *,
    words: tuple[str, ...],
    reason: str,
    dry_run: bool,
    yes: bool,
    report: Path | None,
) -> int:
    """Take keys out at once: tokens that they signed stop verifying.

    All keys named go in one step, with a successor if the current one is among them. No hold, pin,
    limit or dead target delays it.
    """
    if report is not None and dry_run:
        raise UsageError(
            "--report does not go with --dry-run", hint="nothing is revoked to report on"
        )
    session = Session(options, level="info")
    name, said = session.split(words, what="key")
    kids, grave = _looked_up(session, name, said)
    asked = Asked(
        partial(operations.revoke, kids=kids, why=reason),
        dry_run=dry_run,
        word="revoke" if grave else None,
        yes=yes,
        urgent=True,
        reports=Reports(report),
    )
    return order(session, name, asked)


def _looked_up(session: Session, name: str, said: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """Return the whole kids, and whether the current key, or every published one, is to go.

    That breaks tokens in use.
    """
    with session.assembly() as assembly:
        ring = ring_of(assembly.site(name, reading=True))
    kids, active = whole_kids(ring, said), ring.active
    published = {key.kid for key in ring.published}
    current = active is not None and active.kid in kids
    return kids, current or (bool(published) and published <= set(kids))
