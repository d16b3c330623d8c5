"""`rotator rotate`: all that is due now, once; and the orders that go with it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import click

from rotator.cli.acting import Asked, Operation, act
from rotator.cli.kids import with_whole_kid
from rotator.cli.options import shard_option
from rotator.cli.reporting import FILE, PUSH, reporting
from rotator.cli.revoked import REPORT, Reports
from rotator.cli.session import Session
from rotator.cli.words import NowCommand
from rotator.errors import UsageError

FORMAT: Final = "rotator.rotate/1"


@click.command(cls=NowCommand)
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option(
    "--now",
    "replaced",
    metavar="[=KID]",
    help="Replace the current key, or KID, once that is safe.",
)
@click.option("--ignore-windows", is_flag=True, help="With --now: wait for no change window.")
@click.option(
    "--emergency", is_flag=True, help="The store leaked: revoke every key, make new ones."
)
@click.option("--first-run", is_flag=True, help="There never was a ring: make the first key.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@click.option("--wait", is_flag=True, help="Go on until what was ordered is done.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask (--emergency).")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 3 when something was changed.")
@REPORT
@FILE
@PUSH
@shard_option
@click.pass_obj
def rotate(options: dict[str, Any], /, key_sets: tuple[str, ...], **said: Any) -> int:
    """Do what is due now, for the key sets named or for all; again is harmless."""
    replaced, emergency = said["replaced"], said["emergency"]
    if emergency and (replaced is not None or said["first_run"]):
        raise UsageError("--emergency goes with neither --now nor --first-run")
    if said["ignore_windows"] and replaced is None:
        raise UsageError(
            "--ignore-windows goes with --now", hint="an emergency waits for no window"
        )
    if said["report"] is not None and (said["dry_run"] or not emergency):
        raise UsageError(
            "--report goes with --emergency, and not with --dry-run",
            hint="it says what a revocation broke",
        )
    if said["wait"] and said["dry_run"]:
        raise UsageError("--wait does not go with --dry-run", hint="nothing is done to wait for")
    session = Session(options, level="info")
    _no_kids(session, key_sets, replaced)
    names = session.chosen(key_sets)
    if (replaced is not None or emergency or said["first_run"]) and not key_sets:
        names = [session.the_one(None)]
    if replaced and len(names) > 1:
        raise UsageError("--now=KID is for one key set", hint="name it")
    dry_run: bool = said["dry_run"]
    reports = Reports(said["report"])
    with reporting(
        session.settings, said["metrics_file"], said["pushgateway"], dry=dry_run
    ) as meter:
        asked = Asked(
            _operation(replaced, said),
            dry_run=dry_run,
            first_run=said["first_run"],
            word="emergency" if emergency else None,
            yes=said["yes"],
            urgent=emergency,
            wait=said["wait"],
            meter=meter,
            reports=reports,
        )
        results = act(session, names, asked)
    reports.tell(session, results)
    code = session.finish(FORMAT, results, dry_run=dry_run)
    changed = any(result.changed for result in results)
    return 3 if said["detailed_exitcode"] and changed and code == 0 else code


def _no_kids(session: Session, words: tuple[str, ...], replaced: str | None) -> None:
    """Refuse `--now KID`: the word after `--now` is a key set, and this one is none."""
    known = session.settings.key_sets
    for word in words:
        if replaced == "" and word not in known:
            named = f"{next(iter(known))} " if len(known) == 1 else "KEY_SET "
            raise UsageError(
                f"the configuration has no key set {word!r}",
                hint=f"if that is a kid, write it with `=`: `rotator rotate {named}--now={word}`; "
                "`rotator config show` shows the key sets",
            )


def _operation(replaced: str | None, said: dict[str, Any]) -> Operation | None:
    why, emergency = said["reason"], said["emergency"]
    if not emergency and replaced is None:
        return None
    from rotator import operations

    if emergency:
        return partial(operations.emergency, why=why)
    ordered = partial(operations.order_promotion, why=why, ignore_windows=said["ignore_windows"])
    return with_whole_kid(ordered, replaced) if replaced else partial(ordered, kid=None)
