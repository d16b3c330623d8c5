"""`rotator move`: key sets to another store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.session import Events, Result, Session
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.cli.progress import Progress
    from rotator.operations.move_sides import Side

FORMAT: Final = "rotator.move/1"


@click.command()
@click.argument("key_sets", metavar="KEY_SET...", nargs=-1, required=True)
@click.option("--from", "source", required=True, metavar="STORE", help="The store they are in.")
@click.option("--to", "goal", required=True, metavar="STORE", help="The store they go to.")
@click.option("--confirm", is_flag=True, help="Destroy what a finished move left behind.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.pass_obj
def move(options: dict[str, Any], /, key_sets: tuple[str, ...], **said: Any) -> int:
    """Carry ring and material of key sets from one store to another.

    Verified before the switch; asked again, it goes on where it was stopped. Nothing is destroyed
    until --confirm. The JWKS stays as it is.
    """
    session = Session(options, level="info")
    names = session.chosen(key_sets)
    _refuse_stores(session, names, said["source"], said["goal"], confirm=said["confirm"])
    events = Events(quiet=said["dry_run"])
    with session.assembly(events) as assembly:
        results = _each(session, assembly, names, said)
    return session.finish(FORMAT, results, dry_run=said["dry_run"], confirm=said["confirm"])


def _each(
    session: Session, assembly: Assembly, names: list[str], said: dict[str, Any]
) -> list[Result]:
    from rotator.cli.progress import Progress

    with Progress(session.console, "moving") as progress:

        def one(name: str) -> Result:
            progress.say(f"{name} ({names.index(name) + 1} of {len(names)})")
            try:
                return _one(session, assembly, name, said, progress)
            finally:
                progress.clear()

        return session.each(names, one)


def _refuse_stores(
    session: Session, names: list[str], source: str, goal: str, *, confirm: bool
) -> None:
    """Refuse stores that cannot be meant: before anything is opened."""
    stores = session.settings.stores
    for store in (source, goal):
        if store not in stores:
            raise UsageError(
                f"the configuration has no store {store!r}",
                hint=f"it has {', '.join(stores)}; a move needs both under `stores:`",
            )
    if source == goal:
        raise UsageError("a key set is moved to another store, not to its own")
    for name in names:
        configured = session.settings.key_sets[name].store
        if configured not in (source, goal):
            raise UsageError(
                f"key set {name} is configured in store {configured}, which is neither of both",
                hint=f"see `key_sets.{name}.store` in {session.settings.source}",
            )
        if confirm and configured != goal:
            raise UsageError(
                f"key set {name} is still configured in store {configured}: nothing is destroyed",
                hint=f"say `store: {goal}` under `key_sets.{name}` wherever rotator runs, restart, then confirm",
            )


def _one(
    session: Session, assembly: Assembly, name: str, said: dict[str, Any], progress: Progress
) -> Result:
    from dataclasses import replace

    from rotator.cli.telling import carry
    from rotator.operations.confirm_move import confirm_move
    from rotator.operations.move import move as operation
    from rotator.reconcile.site import Memory

    act = confirm_move if said["confirm"] else operation
    old, new = _side(assembly, said["source"], name), _side(assembly, said["goal"], name)
    over = new if said["confirm"] else old
    site = replace(
        assembly.site(name, reading=True),
        rings=over.rings,
        material=over.material,
        place=over.place,
        memory=Memory(),
    )
    carried = act(site, old, new, dry_run=said["dry_run"])
    progress.clear()
    statement = list(carried.statement)
    if session.settings.key_sets[name].store == new.name and not (
        said["confirm"] or said["dry_run"]
    ):
        # A move ends with what to do next, and does not know that the configuration has it already.
        statement[-1] = _after_configuring(session, name, old, new)
    if not said["dry_run"] and (left := carry(assembly, name, old.name, new.name)):
        statement.append(left)
    for line in statement:
        session.console.say(line)
    view = {
        "statement": statement,
        "from": old.name,
        "to": new.name,
        "revision": carried.revision,
        "changed": carried.changed,
    }
    return Result(name, view, changed=carried.changed)


def _after_configuring(session: Session, name: str, old: Side, new: Side) -> str:
    command = f"`rotator move {name} --from {old.name} --to {new.name} --confirm`"
    return (
        f"{session.settings.source} says `store: {new.name}` already; restart what still runs with the old "
        f"configuration, then {command} destroys what is left in store {old.name}"
    )


def _side(assembly: Assembly, store: str, key_set: str) -> Side:
    from rotator.operations.move_sides import Side

    opened = assembly.store(store)
    rings = opened.rings(key_set)
    place = str(getattr(rings, "place", "") or f"store {store}")
    return Side(store, rings, opened.material(key_set), place)
