"""Carrying out what a command asks of one key set: the order itself, then all that is due after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from rotator.cli.session import Events, Result, Session, pause
from rotator.cli.telling import Told, telling
from rotator.cli.views import (
    failing_now,
    failures_view,
    in_words,
    keys_in_words,
    step_view,
    written_in,
)
from rotator.observed import DocumentKind
from rotator.reconcile.settle import Settled

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.cli.revoked import Reports
    from rotator.metrics import Meter
    from rotator.operations import Done
    from rotator.reconcile.site import Outcome, Site
    from rotator.step import Step

ORDER_FORMAT: Final = "rotator.order/1"


class Operation(Protocol):
    """What an operator asks of a key set (`rotator.operations`), everything but the key set bound."""

    def __call__(self, site: Site, *, dry_run: bool = False) -> Done:
        """Do it, or only say what it would do."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of key sets.

    Attributes:
        operation: an order; None for nothing but what is due.
        meter: told of every tick, where metrics are to be told.
        urgent: nothing delays it (rule 6), not even that only a daemon's own server publishes the JWKS.
        word: what has to be typed before it is carried out, unless `yes`; None asks for nothing.
        wait: go on until the order is done.
        reports: told of what a revocation broke.
    """

    operation: Operation | None = None
    dry_run: bool = False
    first_run: bool = False
    word: str | None = None
    yes: bool = False
    urgent: bool = False
    wait: bool = False
    meter: Meter | None = None
    reports: Reports | None = None


def act(session: Session, names: Sequence[str], asked: Asked) -> list[Result]:
    """Carry out what was asked for some key sets; all confirmations come before the first write."""
    events = Events(quiet=asked.dry_run)
    with session.assembly(events) as assembly:
        if asked.meter is not None:
            assembly.emit = asked.meter.through(events.emit)
        _confirm(session, assembly, names, asked)
        with telling(assembly, asked.meter, dry=asked.dry_run) as told:
            return session.each(
                names, lambda name: _watched(session, assembly, name, events, asked, told=told)
            )


def order(session: Session, name: str, asked: Asked) -> int:
    """Carry out an order for one key set, print what became of it, and return the exit code."""
    results = act(session, [name], asked)
    if asked.reports is not None:
        asked.reports.tell(session, results)
    return session.finish(ORDER_FORMAT, results, dry_run=asked.dry_run)


def _confirm(session: Session, assembly: Assembly, names: Sequence[str], asked: Asked) -> None:
    if asked.word is None or asked.operation is None or asked.dry_run:
        return
    statement: list[str] = []
    for name in names:
        # Quiet: what this look finds is told by the one of the order itself.
        site = replace(_site(assembly, name, asked), emit=Events(quiet=True).emit)
        statement += asked.operation(site, dry_run=True).statement
    session.console.confirm(statement, yes=asked.yes, word=asked.word)


def _site(assembly: Assembly, name: str, asked: Asked) -> Site:
    return assembly.site(name, reading=asked.urgent)


def _blind(site: Site) -> bool:
    """True when this process looks at nothing that verifiers read: then it may not tick."""
    return all(target.kind is DocumentKind.SIGNING for target in site.targets)


def _watched(
    session: Session, assembly: Assembly, name: str, events: Events, asked: Asked, *, told: Told
) -> Result:
    try:
        return _one(session, assembly, name, events, asked, told=told.ticked)
    except Exception as error:
        kind = session.settings.key_sets[name].policy.kind
        told.could_not(name, error, kind.algorithm)
        raise


def _one(
    session: Session,
    assembly: Assembly,
    name: str,
    events: Events,
    asked: Asked,
    *,
    told: Callable[[Site, Outcome], None] | None,
) -> Result:
    from rotator.reconcile.settle import settle

    site = _site(assembly, name, asked)
    site.first_run = asked.first_run
    wait: Callable[..., None] = pause
    if asked.dry_run:
        from rotator.cli.paper import on_paper

        site, wait = on_paper(site, events.emit)
    events.take()
    done = asked.operation(site) if asked.operation is not None else None
    if done is not None and (asked.word is None or asked.dry_run):
        # Said at once, unless it was said with the question: whatever fails now, the order stands.
        for line in done.statement:
            session.console.say(line)
    _report(asked, done, done.outcome if done is not None else None)
    if done is not None and _blind(site):
        if done.outcome is not None and not asked.dry_run:
            assembly.refresh_neighbour(site, done.outcome.ring)
        return _ordered(session, site, done, events.take(), wait=asked.wait)
    settled = settle(site, wait, told)
    if asked.wait:
        from rotator.cli.waiting import Waiting

        settled = Waiting(session, site, told).until_done(settled)
    if not asked.dry_run:
        assembly.refresh_neighbour(site, settled.outcome.ring)
    _report(asked, done, settled.outcome)
    result = _result(settled, done, events.take())
    _print(session, settled, result, dry_run=asked.dry_run)
    return result


def _report(asked: Asked, done: Done | None, outcome: Outcome | None) -> None:
    """Keep what is known of a revocation by now: what comes after may fail, and the report is due all the same."""
    if asked.reports is not None and not asked.dry_run:
        asked.reports.note(done, outcome)


def _ordered(
    session: Session, site: Site, done: Done, events: Sequence[dict[str, Any]], *, wait: bool
) -> Result:
    """Say what became of an order whose rest is the business of the daemon that runs the server."""
    session.console.say(f"{site.key_set}: the rest is done by `rotator run`, within its resync")
    if wait:
        from rotator.cli.reading import ring_of
        from rotator.cli.waiting import Waiting

        Waiting(session, site).until_others_did(lambda: ring_of(site))
    if done.outcome is None:
        return Result(site.key_set, {"statement": list(done.statement)}, exit_code=0, changed=False)
    return _result(Settled(done.outcome, (), done.outcome.changed), done, events)


def _result(settled: Settled, done: Done | None, events: Sequence[dict[str, Any]]) -> Result:
    outcome, ring = settled.outcome, settled.outcome.ring
    ordered = done is not None and done.outcome is not None and done.outcome.changed
    changed = settled.changed or ordered
    view = {
        "statement": list(done.statement) if done is not None else [],
        "revision": ring.revision,
        "changed": changed,
        "current": ring.active.kid if ring.active is not None else None,
        "steps": [step_view(step) for step in settled.steps],
        "written": written_in(events),
        "failures": failures_view(outcome.failures),
        "waits_for": step_view(_waits_for(outcome)),
    }
    return Result(ring.key_set, view, exit_code=outcome.exit_code, changed=changed)


def _waits_for(outcome: Outcome) -> Step:
    silent = [name for name, seen in outcome.observed.sightings.items() if not seen.answered]
    return failing_now(outcome.step, {*outcome.failures, *silent})


def _print(session: Session, settled: Settled, result: Result, *, dry_run: bool) -> None:
    console, outcome = session.console, settled.outcome
    name, would = outcome.ring.key_set, "would " if dry_run else ""
    for step in settled.steps:
        console.say(f"{name}: {would}{in_words(step, outcome.now)}")
    for item in result.view["written"]:
        verb = "would write" if dry_run else "wrote"
        kids = ", ".join(item["kids"])
        console.say(f"{name}: {verb} {item['document']} document ({kids}) at {item['target']}")
    console.say(f"{name}: {keys_in_words(outcome.ring)}")
    console.say(f"{name}: {in_words(_waits_for(outcome), outcome.now)}")
    if not console.json:
        for error in outcome.failures.values():
            console.refuse(error)
