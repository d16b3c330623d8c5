"""`rotator plan`: the next steps with their reasons, and a calendar. Writes nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.options import shard_option
from rotator.cli.session import Result, Session
from rotator.cli.views import in_words, moment, step_view
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.reconcile.site import Site
    from rotator.step import Step

FORMAT: Final = "rotator.plan/1"
_YEAR: Final = timedelta(days=365)
_LONGEST: Final = 100 * _YEAR


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option(
    "--until",
    metavar="WHEN",
    help="Show a calendar until a date (2027-01-31) or for a time (1y, 90d, 12h).",
)
@shard_option
@click.pass_obj
def plan(options: dict[str, Any], key_sets: tuple[str, ...], until: str | None) -> int:
    """Show the next steps with their reasons; changes nothing.

    Reads rings only; where there is none, it looks for what a lost one left in files and in its store.

    The calendar shows what happens if every target answers rightly and nobody orders anything. Keys
    that do not exist yet are called +1, +2, …
    """
    now = datetime.now(UTC)
    end = _end(until, now) if until is not None else None
    session = Session(options)
    names = session.chosen(key_sets)
    with session.assembly() as assembly:
        results = session.each(
            names, lambda name: _one(session, assembly.site(name, reading=True), end)
        )
    return session.finish(FORMAT, results, until=moment(end))


def _one(session: Session, site: Site, until: datetime | None) -> Result:
    from dataclasses import replace

    from rotator.calendar import forecast, remembered, rotations
    from rotator.cli.absent import first_command, refuse_lost_ring
    from rotator.cli.reading import kinds_of, ring_of, settled_waits, suspicion
    from rotator.plan import waiting_for
    from rotator.reconcile.gather import refuse_misfit

    ring, now, targets = ring_of(site), site.clock.now(), kinds_of(site)
    refuse_lost_ring(site, ring)
    refuse_misfit(ring, site)
    observed = replace(remembered(ring, targets), suspicious=suspicion(site, ring))
    steps = settled_waits(waiting_for(ring, site.policy, now, observed))
    view: dict[str, Any] = {
        "revision": ring.revision or None,
        "steps": [step_view(step) for step in steps],
        "calendar": None,
        "rotations": None,
    }
    console = session.console
    console.say(f"{console.paint(site.key_set, 'green')}:")
    console.table([(in_words(step, now),) for step in steps])
    if not ring.revision:
        console.table([(console.hint(first_command(site)),)])
    if until is not None:
        dates = forecast(ring, site.policy, now, until, targets)
        view["calendar"] = [step_view(step) for step in dates]
        view["rotations"] = rotations(dates)
        console.say(f"  until {moment(until)}: {view['rotations']} rotations")
        console.table([_row(step) for step in dates], indent="    ")
    return Result(site.key_set, view)


def _row(step: Step) -> tuple[str, ...]:
    return (moment(step.due_at) or "", step.do.value, step.kid, step.reason.value)


def _end(text: str, now: datetime) -> datetime:
    """Return the end of the calendar. Raises UsageError for what is neither a date nor a time."""
    try:
        if match := re.fullmatch(r"(\d{1,9})y", text):
            end = now + int(match[1]) * _YEAR
        elif text[:4].isdigit() and "-" in text:
            date = datetime.fromisoformat(text)
            end = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        else:
            from rotator.durations import parse_duration

            end = now + parse_duration(text)
    except OverflowError:
        raise _too_far(text) from None
    except ValueError as error:
        raise UsageError(
            f"--until {text}: neither a date nor a time from now ({error})",
            hint="write 2027-01-31, 1y, 90d or 12h",
        ) from None
    if end <= now:
        raise UsageError(f"--until {text} is past", hint="name a date to come")
    if end - now > _LONGEST:
        raise _too_far(text)
    return end


def _too_far(text: str) -> UsageError:
    return UsageError(
        f"--until {text}: a calendar goes no further than 100 years", hint="write 100y or less"
    )
