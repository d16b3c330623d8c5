"""`rotator status`: the keys, the orders, and what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.options import shard_option
from rotator.cli.session import Result, Session, pause
from rotator.cli.timeline_live import show, watch
from rotator.cli.views import (
    answer_in_words,
    failing_now,
    in_words,
    key_view,
    order_view,
    sighting_view,
    step_view,
    when,
)
from rotator.errors import RotatorError, worst_exit_code

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.observed import Observed
    from rotator.reconcile.site import Site
    from rotator.ring import Key, KeyRing, Order
    from rotator.step import Step

FORMAT: Final = "rotator.status/1"


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option("--live", is_flag=True, help="Look at every target too.")
@click.option("--watch", "watching", is_flag=True, help="Show it anew every 5 s, until Ctrl-C.")
@shard_option
@click.pass_obj
def status(options: dict[str, Any], key_sets: tuple[str, ...], live: bool, watching: bool) -> int:
    """Show the keys, the orders, and what is waited for and why.

    Reads rings only, so that what it says of targets is what the ring remembers; with --live it
    looks. On a terminal it draws the timeline of each key set. Exit 75 when something is overdue,
    fails, or the clock is suspicious.
    """
    session = Session(options)
    names = session.chosen(key_sets)
    with session.assembly() as assembly:

        def look() -> list[Result]:
            return session.each(
                names,
                lambda name: _one(
                    session, assembly, assembly.site(name, reading=not live), live=live
                ),
            )

        results = watch(session.console, look, pause) if watching else look()
    return session.finish(FORMAT, results, live=live)


@dataclass(frozen=True, slots=True)
class _Picture:
    """One key set as it is shown: its ring, what is known of its targets, and what it waits for."""

    site: Site
    ring: KeyRing
    observed: Observed
    steps: tuple[Step, ...]
    now: datetime
    live: bool
    neglect: str
    amiss: tuple[tuple[str, bool], ...]
    untold: tuple[dict[str, Any], ...]


def _one(session: Session, assembly: Assembly, site: Site, *, live: bool) -> Result:
    from rotator.cli.absent import refuse_lost_ring
    from rotator.cli.amiss import amiss_of, nobody_rotates, with_lateness
    from rotator.cli.signing import unanswered
    from rotator.cli.untold import untold_of
    from rotator.plan import waiting_for

    ring, observed, now = _looked(site) if live else _remembered(site)
    if not live:
        refuse_lost_ring(site, ring)
    misfit = _misfit(site, ring)
    steps = waiting_for(ring, site.policy, now, observed) if ring.revision or live else ()
    early = unanswered(site, ring, observed, now)
    silent = [name for name, seen in observed.sightings.items() if not seen.answered]
    steps = tuple(failing_now(step, silent) for step in steps)
    steps = with_lateness(steps, ring, site.policy, now)
    amiss = amiss_of(site.targets, ring, observed.sightings) if live else ()
    neglect = nobody_rotates(steps, ring, site.policy)
    behind = tuple(untold_of(assembly, ring, now))
    picture = _Picture(site, ring, observed, steps, now, live, neglect, amiss, behind)
    failing = [
        75 if seen.exit_code == 69 else seen.exit_code
        for name, seen in observed.sightings.items()
        if not seen.answered and name not in early
    ]
    failing += [75 for seen in observed.sightings.values() if seen.foreign]
    failing += [75 for _ in amiss]
    overdue = bool(observed.suspicious) or any(step.blocked for step in steps)
    view = {**_view(picture), "overdue": overdue, "amiss": [text for text, _ in amiss]}
    view["untold"] = list(behind)
    view["store"] = session.settings.key_sets[site.key_set].store
    _print(session, picture)
    foretold = misfit is None and not observed.suspicious
    show(session.console, site, ring, now, foretold=foretold)
    if misfit is not None:
        failing.append(misfit.exit_code)
        if not session.console.json:
            session.console.refuse(misfit)
    code = worst_exit_code([*failing, 75 if overdue else 0])
    return Result(site.key_set, view, exit_code=code, error=misfit)


def _misfit(site: Site, ring: KeyRing) -> RotatorError | None:
    """Return why the ring cannot change to the configured kind of key; the keys are shown all the same."""
    from rotator.reconcile.gather import refuse_misfit

    try:
        refuse_misfit(ring, site)
    except RotatorError as error:
        return error
    return None


def _remembered(site: Site) -> tuple[KeyRing, Observed, datetime]:
    from rotator.calendar import remembered
    from rotator.cli.reading import kinds_of, ring_of, suspicion

    ring = ring_of(site)
    observed = remembered(ring, kinds_of(site))
    return ring, replace(observed, suspicious=suspicion(site, ring)), site.clock.now()


def _looked(site: Site) -> tuple[KeyRing, Observed, datetime]:
    from rotator.reconcile.gather import look_around

    view = look_around(site)
    return view.ring, view.observed, view.now


def _view(picture: _Picture) -> dict[str, Any]:
    from rotator.cli.reading import clock_view
    from rotator.cli.signing import left_behind_view, signers_view
    from rotator.evidence import differences
    from rotator.ring import ENDED, Phase

    ring, observed = picture.ring, picture.observed

    def keys(*phases: Phase) -> list[dict[str, Any]]:
        return [key_view(key, ring) for key in ring.in_phase(*phases)]

    current = keys(Phase.ACTIVE)
    sightings = [
        sighting_view(name, seen)
        for name, seen in observed.sightings.items()
        if name not in observed.holding
    ]
    return {
        "revision": ring.revision or None,
        "wants": str(picture.site.policy.kind),
        "current": current[0] if current else None,
        "next": keys(Phase.CREATING, Phase.PENDING),
        "previous": keys(Phase.RETIRING),
        "ending": keys(*ENDED),
        "waits_for": [step_view(_told(step, picture.neglect)) for step in picture.steps],
        "orders": {
            "hold": order_view(ring.hold),
            "promote": order_view(ring.promote),
            "pins": {kid: order_view(item) for kid, item in sorted(ring.pins.items())},
        },
        "holders": {name: list(kids) for name, kids in sorted(ring.holders.items())},
        "durations_differ": differences(ring, picture.site.policy),
        "clock": clock_view(ring, observed.suspicious),
        "targets": sightings if picture.live else None,
        "signers": signers_view(picture.site, ring, observed, picture.now),
        "left_behind": left_behind_view(picture.site, ring),
    }


def _told(step: Step, neglect: str) -> Step:
    """Return a step as a program is told of it: of one that nobody does, with what is known of that."""
    from rotator.step import Do

    late = step.blocked and step.do is not Do.WAIT
    return replace(step, detail=step.detail or neglect) if late else step


def _print(session: Session, picture: _Picture) -> None:
    from rotator.cli import untold
    from rotator.cli.amiss import says_why
    from rotator.cli.signing import left_rows, signer_rows
    from rotator.evidence import differences

    console, site, ring, now = session.console, picture.site, picture.ring, picture.now
    if console.json:
        return
    about = f"{site.policy.kind}, revision {ring.revision}" if ring.revision else "no ring yet"
    console.say(f"{console.paint(site.key_set, 'green')}: {about} ({site.place})")
    rows = [*_keys(ring, now), *_orders(ring, now), *_targets(picture)]
    rows += [*signer_rows(site, ring, picture.observed, now), *left_rows(site, ring)]
    if picture.observed.suspicious:
        rows.append(("clock", picture.observed.suspicious))
    rows += [
        ("differs", f"{name}: {what}") for name, what in differences(ring, site.policy).items()
    ]
    if picture.neglect:
        why = console.hint(says_why(site.key_set))
        rows.append(("overdue", f"{picture.neglect} {why}"))
    mends = console.hint(f"`rotator rotate {site.key_set}` mends it")
    others = "see who serves it, and any cache before it"
    rows += [("amiss", f"{text}; {mends if ours else others}") for text, ours in picture.amiss]
    rows += untold.rows(picture.untold, now)
    rows += [("", in_words(step, now)) for step in picture.steps]
    if not ring.revision:
        from rotator.cli.absent import first_command

        rows.append(("", console.hint(first_command(site))))
    console.table(rows)


def _keys(ring: KeyRing, now: datetime) -> Iterator[tuple[str, str]]:
    from rotator.ring import Phase

    names = {
        Phase.ACTIVE: "current",
        Phase.CREATING: "creating",
        Phase.PENDING: "next",
        Phase.RETIRING: "previous",
    }
    for phase, name in names.items():
        for key in ring.in_phase(phase):
            yield name, f"{key.kid}  {key.kind}  {_since(key, now)}"
    for key in ring.keys:
        if key.phase not in names:
            yield key.phase.value, f"{key.kid}  its material is to be destroyed"


def _since(key: Key, now: datetime) -> str:
    from rotator.ring import Phase

    if key.phase is Phase.PENDING:
        where = [f"at {name} since {when(at, now)}" for name, at in sorted(key.announced.items())]
        return f"announced {'; '.join(where)}" if where else "not announced yet"
    if key.phase is Phase.RETIRING:
        if key.superseded_at is not None:
            return f"superseded {when(key.superseded_at, now)}"
        return f"replaced {when(key.retiring_at or key.created_at, now)}, signers may still use it"
    return f"since {when(key.activated_at or key.created_at, now)}"


def _orders(ring: KeyRing, now: datetime) -> Iterator[tuple[str, str]]:
    def words(order: Order) -> str:
        return f"since {when(order.at, now)}" + (f": {order.reason}" if order.reason else "")

    if ring.hold is not None:
        yield "held", words(ring.hold)
    if ring.promote is not None:
        yield "ordered", f"to replace {ring.promote.replaces}, {words(ring.promote)}"
    for kid, order in sorted(ring.pins.items()):
        yield "pinned", f"{kid}, {words(order)}"


def _targets(picture: _Picture) -> Iterator[tuple[str, str]]:
    if not picture.live:
        left = {item.name for item in picture.site.left_behind(picture.ring)}
        for name, kids in sorted(picture.ring.holders.items()):
            if name in left:
                continue
            # Seen there, or delivered without an answer: the ring does not tell these apart (rule 2).
            held = ", ".join(kids) or "nothing"
            yield "signers", f"{name} may hold {held}, by the ring alone; --live looks there"
        return
    for name, seen in picture.observed.sightings.items():
        if name in picture.observed.holding:
            continue
        if not seen.answered:
            yield "target", f"{name} does not answer: {seen.error}"
            continue
        held = ", ".join((*seen.kids, *(f"{kid} (unknown)" for kid in seen.strangers)))
        foreign = ", written by something else" if seen.foreign else ""
        note = f"; {seen.note}" if seen.note else ""
        assumed = ", assumed: it cannot be read back" if seen.assumed else ""
        yield "target", f"{name} has {held or 'nothing'}{assumed}{foreign}{note}"
        if len(seen.answers) > 1:
            yield from (("", f"{name} at {answer_in_words(item)}") for item in seen.answers)
