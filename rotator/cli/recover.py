"""`rotator recover`: the ways out of a stopped key set, one at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from rotator import operations
from rotator.cli.acting import Asked, Operation, order
from rotator.cli.session import Session
from rotator.errors import StoreCorrupt, UsageError

_MOST_BYTES: Final = 1 << 20


@click.command()
@click.argument("key_set", required=False)
@click.option(
    "--ring",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Make the ring of a backup the truth.",
)
@click.option("--clock", is_flag=True, help="The clocks are right: trust them again.")
@click.option(
    "--forget",
    multiple=True,
    metavar="TARGET",
    help="TARGET is gone for good: stop counting it. Goes with --ring too.",
)
@click.option("--take-over", metavar="TARGET", help="Replace what somebody else wrote at TARGET.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def recover(options: dict[str, Any], /, key_set: str | None, **said: Any) -> int:
    """Bring a stopped key set back. Says what it will do, and asks.

    Exactly one of --ring, --clock, --forget and --take-over. TARGET is a name that `rotator status
    --live` shows, such as file:/srv/jwks.json.
    """
    operation = _operation(
        **{name: said[name] for name in ("ring", "clock", "forget", "take_over")}
    )
    session = Session(options, level="info")
    name = session.the_one(key_set)
    if said["ring"] is not None:
        _refuse_other_files(said["ring"], name)
    asked = Asked(operation, dry_run=said["dry_run"], word="recover", yes=said["yes"])
    return order(session, name, asked)


def _operation(
    *, ring: Path | None, clock: bool, forget: tuple[str, ...], take_over: str | None
) -> Operation:
    given = [ring is not None, clock, bool(forget) and ring is None, take_over is not None]
    if sum(given) != 1 or (ring is None and len(forget) > 1):
        raise UsageError(
            "one way out at a time: --ring FILE, --clock, --forget TARGET or --take-over TARGET",
            hint="`rotator status --live` says what stops a key set",
        )
    if ring is not None:
        return partial(operations.restore, document=_backup(ring), forget=forget)
    if take_over is not None:
        return partial(operations.take_over, target=take_over)
    return operations.confirm_clock if clock else partial(operations.forget, target=forget[0])


def _backup(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(
            f"cannot read the backup {path}: {error.strerror}", hint="nothing was changed"
        ) from error


def _refuse_other_files(path: Path, key_set: str) -> None:
    """Refuse what is no backup as a word misspelt: it says nothing of the ring in the store.

    Raises:
        UsageError: the file is no ring, a torn one, or another key set's.
    """
    from rotator.ring_document import read_ring

    try:
        read_ring(_backup(path), key_set=key_set)
    except StoreCorrupt as error:
        why = error.message.partition("cannot be trusted: ")[2] or error.message
        raise UsageError(
            f"{path}: this is no backup of a ring of key set {key_set}: {why}",
            hint=f"name a file that `rotator export {key_set}` wrote; nothing was changed",
        ) from error
