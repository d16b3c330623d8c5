"""`rotator rollback`: the previous key signs again."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from rotator import operations
from rotator.cli.acting import Asked, order
from rotator.cli.session import Session


@click.command()
@click.argument("key_set", required=False)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def rollback(options: dict[str, Any], key_set: str | None, reason: str, dry_run: bool) -> int:
    """Let the previous key sign again, and hold the key set until `release`.

    The previous key must still be published everywhere, with its material. The current key goes on
    verifying.
    """
    session = Session(options, level="info")
    asked = Asked(partial(operations.roll_back, why=reason), dry_run=dry_run)
    return order(session, session.the_one(key_set), asked)
