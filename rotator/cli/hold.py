"""`rotator hold` and `rotator release`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from rotator import operations
from rotator.cli.acting import Asked, order
from rotator.cli.session import Session


@click.command()
@click.argument("key_set", required=False)
@click.option("--reason", default="", metavar="TEXT", help="Why; shown by `rotator status`.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def hold(options: dict[str, Any], key_set: str | None, reason: str, dry_run: bool) -> int:
    """Stop creating, promoting and retiring keys, in every replica, until `release`.

    What has begun is finished, and missing keys are put back. A revocation is not stopped.
    """
    session = Session(options, level="info")
    asked = Asked(partial(operations.hold, why=reason), dry_run=dry_run)
    return order(session, session.the_one(key_set), asked)


@click.command()
@click.argument("key_set", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def release(options: dict[str, Any], key_set: str | None, dry_run: bool) -> int:
    """End a hold: what is overdue happens at once."""
    session = Session(options, level="info")
    asked = Asked(operations.release, dry_run=dry_run)
    return order(session, session.the_one(key_set), asked)
