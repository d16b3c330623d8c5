"""`rotator check`: configuration, stores, targets, probes and clocks; changes nothing but on trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import click

from rotator.cli.options import shard_option
from rotator.cli.session import Session, worst

FORMAT: Final = "rotator.check/1"
_COLORS: Final = {"ok": "green", "advice": "yellow", "fault": "red"}


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option(
    "--write",
    is_flag=True,
    help="Write to each store on trial, as the key set rotator-check, and remove it again.",
)
@shard_option
@click.pass_obj
def check(options: dict[str, Any], key_sets: tuple[str, ...], *, write: bool) -> int:
    """Look at everything that rotating needs, and change nothing.

    Configuration, permissions, every store, key ring, target and probe, the keys' material, the
    clocks, and whether receivers of notifications can be reached. The exit code is that of the worst fault; advice is none.
    """
    from rotator.cli.inspecting import inspect_key_set
    from rotator.cli.inspecting_places import (
        inspect_bucket,
        inspect_cluster,
        inspect_store,
        try_store,
        without,
    )
    from rotator.cli.receiving import inspect_receiver
    from rotator.settings.scopes import buckets_of, clusters_of, stores_of

    session = Session(options, level="error")
    names = session.chosen(key_sets)
    console = session.console
    found: list[dict[str, Any]] = []

    def take(subject: str, findings: Iterable[Any]) -> None:
        for finding in findings:
            found.append({"subject": subject, **asdict(finding)})
            _print(session, subject, finding)

    def faults_so_far() -> dict[str, str]:
        return {item["text"]: item["subject"] for item in found if item["level"] == "fault"}

    count = len(session.settings.key_sets)
    take(
        "configuration",
        [_sound(f"{session.settings.source}, {count} key set{'s' if count != 1 else ''}")],
    )
    with session.assembly() as assembly:
        # Without a word on key sets, a store that none of them uses yet is looked at as well.
        stores = stores_of(session.settings, names) if key_sets else session.settings.stores
        for store in sorted(stores):
            take(f"store {store}", inspect_store(assembly, store, names))
            if write:
                take(f"store {store}", try_store(assembly, store, names))
        for bucket, scopes in buckets_of(session.settings, names):
            looked = inspect_bucket(assembly, bucket, scopes)
            take(f"bucket {bucket.bucket}", without(faults_so_far(), looked))
        for cluster, wanted in clusters_of(session.settings, names):
            looked = inspect_cluster(assembly, cluster, wanted)
            take(f"cluster {cluster.title}", without(faults_so_far(), looked))
        # Of places only: what is wrong with one key set says nothing of another.
        told = faults_so_far()
        for name in names:
            take(f"key set {name}", without(told, inspect_key_set(assembly, name)))
    for receiver in session.settings.notify.values():
        take(f"receiver {receiver.name}", inspect_receiver(receiver))
    code = worst([item["exit_code"] for item in found])
    faults = sum(item["level"] == "fault" for item in found)
    changed = "nothing was changed but on trial" if write else "nothing was changed"
    console.say(f"{faults or 'no'} fault{'s' if faults > 1 else ''} found, {changed}")
    console.document({"format": FORMAT, "findings": found, "exit_code": code})
    return code


def _sound(text: str) -> Any:
    from rotator.inspection import Finding

    return Finding("ok", text)


def _print(session: Session, subject: str, finding: Any) -> None:
    console = session.console
    level = console.paint(f"{finding.level:<6}", _COLORS.get(finding.level, "yellow"))
    console.say(f"{level}  {subject}: {finding.text}")
    if finding.hint:
        console.say(f"        → {console.hint(finding.hint)}")
