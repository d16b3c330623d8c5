"""What the daemon says: its events, once each while nothing new is to be said. See `docs/events.md`."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from rotator.daemon.state import DaemonState
from rotator.errors import RotatorError
from rotator.reconcile.site import Emit, Site
from rotator.ring_document import format_date
from rotator.step import Step
from rotator.words import verb

FLEET: Final = 100
"""With more key sets than this, what each waits for is told at DEBUG only."""

_PERMANENT: Final = (65, 77, 78)  # exit codes of what does not pass by itself


def counted(key_sets: int) -> str:
    """Return how many key sets there are, in words."""
    return f"{key_sets} key set{'' if key_sets == 1 else 's'}"


def started(emit: Emit, key_sets: int, addresses: Sequence[str], config: str) -> None:
    """Say that the daemon runs, and where the JWKS is."""
    emit(
        "info",
        "daemon.started",
        pid=os.getpid(),
        key_sets=key_sets,
        jwks=list(addresses),
        config=config,
    )


def waiting(emit: Emit, site: Site, said: dict[str, str], step: Step, *, detailed: bool) -> None:
    """Say what a key set does next, when that is news."""
    # To the second, give or take one: a date that is worked out from two clocks is never quite the same.
    due = round(step.due_at.timestamp()) if step.due_at else 0
    news = f"{step.reason} {step.kid} {step.blocked}"
    if said.get("waiting") == news and abs(due - int(said["due"])) <= 1:
        return
    said["waiting"], said["due"] = news, str(due)
    fields = {
        "kid": step.kid,
        "next": verb(step),
        "due_at": format_date(step.due_at) if step.due_at else "",
        "detail": step.detail,
    }
    level = "warning" if step.blocked else "info" if detailed else "debug"
    shown = {name: value for name, value in fields.items() if value}
    emit(level, "step.waiting", key_set=site.key_set, reason=step.reason.value, **shown)


def reason_of(error: Exception) -> tuple[str, str]:
    """Return why a key set cannot be ticked, and what to do about it.

    What was not foreseen is told by its type and place only, for its message may quote a document.
    """
    if isinstance(error, RotatorError):
        return error.message, error.hint
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    hint = "this is a fault of the program; its traceback is logged at DEBUG"
    return f"unexpected {type(error).__name__}{where}", hint


def failing(emit: Emit, site: Site, said: dict[str, str], error: Exception) -> None:
    """Say that a key set cannot be ticked, once per reason."""
    reason, hint = reason_of(error)
    passing = isinstance(error, RotatorError) and error.exit_code not in _PERMANENT
    level = "warning" if passing else "error"
    if said.get("failing") == reason:
        return
    said["failing"] = reason
    emit(level, "key_set.failing", key_set=site.key_set, reason=reason, hint=hint)
    if not isinstance(error, RotatorError):
        emit("debug", "key_set.traceback", key_set=site.key_set, exc_info=error)


def healed(emit: Emit, site: Site, said: dict[str, str]) -> None:
    """Say that a key set that failed, or hung, is ticked again."""
    said.pop("stuck", None)
    if said.pop("failing", None) is not None:
        emit("info", "key_set.healed", key_set=site.key_set)


def stuck(emit: Emit, site: Site, said: dict[str, str], since: timedelta) -> None:
    """Say once that a worker has not come back from a key set."""
    if "stuck" not in said:
        said["stuck"] = "yes"
        emit("warning", "key_set.stuck", key_set=site.key_set, seconds=round(since.total_seconds()))


def restless(emit: Emit, site: Site, ticks: int) -> None:
    """Say that each tick changes something again: somebody else changes it back."""
    emit(
        "warning",
        "key_set.restless",
        key_set=site.key_set,
        ticks=ticks,
        hint="two configurations write one target, or somebody undoes what is written",
    )


def jumped(emit: Emit, leap: timedelta, now: datetime) -> None:
    """Say that the wall clock was set."""
    seconds = round(leap.total_seconds(), 3)
    emit("warning", "clock.jumped", seconds=seconds, now=format_date(now))


def resumed(emit: Emit, absence: timedelta) -> None:
    """Say that this process stood still: a suspend, or a stop signal."""
    emit("info", "daemon.resumed", seconds=round(absence.total_seconds()))


def abandoned(emit: Emit, names: Sequence[str]) -> None:
    """Say which key sets were left in the middle of a tick."""
    emit(
        "warning",
        "daemon.abandoned",
        key_sets=sorted(names)[:FLEET],
        hint="the next tick of anyone finishes what was begun",
    )


def status(emit: Emit, state: DaemonState, now: datetime) -> str:
    """Say the one line of an hour, and return it as a sentence."""
    items = state.key_sets().values()
    due = sum(item.is_due(now) for item in items)
    overdue = sum(item.is_overdue(now) for item in items)
    failing = sum(bool(item.failing) for item in items)
    last = state.last_success
    emit(
        "warning" if overdue or failing else "info",
        "daemon.status",
        key_sets=len(items),
        due=due,
        overdue=overdue,
        failing=failing,
        last_success=format_date(last) if last else "never",
    )
    return f"{counted(len(items))}, {due} due, {overdue} overdue, {failing} failing"


def reloaded(emit: Emit, key_sets: int, changes: Mapping[str, Sequence[str]]) -> None:
    """Say that another configuration is in force, and for which key sets that makes a difference."""
    named = {what: _listed(names) for what, names in changes.items() if names}
    emit("info", "config.reloaded", key_sets=key_sets, **named)


def refused(emit: Emit, reason: str, hint: str) -> None:
    """Say that a configuration was refused; the one before it stays in force."""
    emit("error", "config.refused", reason=reason, hint=hint)


def dropped(emit: Emit, site: Site) -> None:
    """Say that a key set is no longer ticked, and where its keys stay."""
    emit(
        "warning",
        "key_set.dropped",
        key_set=site.key_set,
        targets=[target.name for target in site.targets if target.writable],
        hint="its ring, its material and what is written there stay as they are; nothing rotates or "
        "retires them any more",
    )


def _listed(names: Sequence[str]) -> list[str]:
    more = len(names) - FLEET
    return [*sorted(names)[:FLEET], f"… and {more} more"] if more > 0 else sorted(names)
