"""`rotator pin` and `rotator unpin`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from rotator import operations
from rotator.cli.acting import Asked, order
from rotator.cli.kids import with_whole_kid
from rotator.cli.session import Session
from rotator.cli.words import KidCommand
from rotator.errors import UsageError


@click.command(cls=KidCommand)
@click.argument("words", metavar="[KEY_SET] KID", nargs=-1)
@click.option("--reason", default="", metavar="TEXT", help="Why; shown by `rotator status`.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def pin(options: dict[str, Any], words: tuple[str, ...], reason: str, dry_run: bool) -> int:
    """Keep a key published, with its material, until `unpin`. Only `revoke` ends it before."""
    session = Session(options, level="info")
    name, kid = _one_kid(session, words)
    asked = Asked(with_whole_kid(partial(operations.pin, why=reason), kid), dry_run=dry_run)
    return order(session, name, asked)


@click.command(cls=KidCommand)
@click.argument("words", metavar="[KEY_SET] KID", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def unpin(options: dict[str, Any], words: tuple[str, ...], dry_run: bool) -> int:
    """Let a pinned key go: it retires once its grace has passed."""
    session = Session(options, level="info")
    name, kid = _one_kid(session, words)
    return order(session, name, Asked(with_whole_kid(operations.unpin, kid), dry_run=dry_run))


def _one_kid(session: Session, words: tuple[str, ...]) -> tuple[str, str]:
    name, kids = session.split(words, what="key")
    if len(kids) > 1:
        raise UsageError(f"one key at a time, not {', '.join(kids)}")
    return name, kids[0]
