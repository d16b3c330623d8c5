"""`rotator rehearse`: the configuration, run for years of simulated time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.progress import Progress
from rotator.cli.session import Result, Session
from rotator.cli.views import moment
from rotator.errors import UsageError
from rotator.policy import format_duration

if TYPE_CHECKING:
    from rotator.policy import RotationPolicy
    from rotator.rehearsal.simulate_report import Experiment, Report

FORMAT: Final = "rotator.rehearsal/1"
REJECTED: Final = 1
"""A token was rejected that had to be accepted: with a policy that is safe, a fault of the program."""

_YEAR: Final = timedelta(days=365)
_LONGEST: Final = 100 * _YEAR
_MOST_ROTATIONS: Final = 5_000
_TOLD: Final = 20  # breaches of the promise, in the JSON document

_WEATHER: Final = {
    "crash": "processes killed",
    "pause": "processes paused",
    "store": "store failures",
    "target": "target failures",
    "leap": "clocks that leapt",
    "step": "clocks that were set",
}


@click.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.option(
    "--for", "span", default="5y", metavar="TIME", help="How long: 5y, 90d. [default: 5y]"
)
@click.option(
    "--seed", default=1, metavar="N", help="Decides what goes wrong and when. [default: 1]"
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 8),
    default=2,
    metavar="N",
    help="How many daemons. [default: 2]",
)
@click.option("--calm", is_flag=True, help="Nothing goes wrong.")
@click.option("--sensitivity", is_flag=True, help="Try durations below their floors, one by one.")
@click.option("--unsafe", is_flag=True, help="Take a policy below its floors, to see what breaks.")
@click.pass_obj
def rehearse(options: dict[str, Any], /, key_sets: tuple[str, ...], **said: Any) -> int:
    """Run the configuration through years of simulated time, in memory.

    Signers lag and verifiers cache as badly as the policy allows; stores and targets fail, daemons
    are killed, clocks move. Exit 1: a token was rejected.
    """
    span = _span(said["span"])
    options["unsafe"] = said["unsafe"]
    session = Session(options)
    names = session.chosen(key_sets)
    for name in names:
        _bounded(name, session.settings.key_sets[name].policy, said["span"], span)
    results = session.each(names, lambda name: _one(session, name, span, said))
    return session.finish(
        FORMAT, results, span_seconds=span.total_seconds(), **_chosen(said), unsafe=said["unsafe"]
    )


def _chosen(said: dict[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in ("seed", "replicas", "calm")}


def _one(session: Session, name: str, span: timedelta, said: dict[str, Any]) -> Result:
    from rotator.rehearsal.simulate_cast import cast_of
    from rotator.rehearsal.simulate_report import rehearse as operation
    from rotator.rehearsal.simulate_report import sensitivity

    cast = cast_of(session.settings, name, replicas=said["replicas"], unsafe=said["unsafe"])
    profiles, seed = session.settings.key_sets[name].verifiers, said["seed"]
    with Progress(session.console, f"rehearsing {name}") as progress:
        report = operation(cast, profiles, seed, span, progress.part, calm=said["calm"])
    _print(session, name, report, said)
    view = _view(report)
    if said["sensitivity"]:
        with Progress(session.console, f"{name}: durations below their floors") as progress:
            tried = sensitivity(cast, profiles, seed, progress.part)
        _print_experiments(session, tried)
        view["sensitivity"] = [_experiment_view(*item) for item in tried]
    return Result(name, view, exit_code=0 if report.good else REJECTED)


def _print(session: Session, name: str, report: Report, said: dict[str, Any]) -> None:
    console, judged = session.console, report.judged
    color = "green" if report.good else "red"
    console.say(
        f"{console.paint(name, color)}: {said['span']}, seed {said['seed']}, {report.rotations} rotations"
    )
    tokens = f"signed {judged.signed:,}, verified {judged.verified:,} times, rejected {judged.rejected:,}"
    lives, signs = _rounded(report.longest_life), _rounded(report.longest_signing)
    busiest = f"{report.busiest_calls:,} in the busiest hour ({moment(report.busiest_at)})"
    rows = [
        ("tokens", tokens),
        ("verifiers", "; ".join(report.verifiers)),
        ("a key", f"lives {lives} at most, signs for {signs} at most"),
        ("went wrong", _weather(report.weather)),
        ("store calls", f"{busiest}, {report.calls_year:,.0f} a year"),
        ("price at AWS", f"{report.aws_year:.2f} USD a year"),
    ]
    console.table(rows)
    for verifier, first in judged.first.items():
        console.say(
            f"  rejected by {verifier}: {judged.by[verifier]:,} tokens, the first at {moment(first.at)} "
            f"(kid {first.kid}, {first.place}): {first.why}"
        )
    if report.found and not judged.rejected:
        console.say(
            f"  the promise was broken {len(report.found):,} times, first: {report.found[0]}"
        )


def _print_experiments(session: Session, tried: list[tuple[Experiment, Report]]) -> None:
    console = session.console
    console.say(
        "  each key replaced as soon as it may be, with one duration less than it has to be:"
    )
    rows = []
    for item, report in tried:
        change = f"{format_duration(item.value)} -> {format_duration(item.instead)}"
        change = change if item.duration else ""
        broken = "; ".join(f"{name} rejects {count:,}" for name, count in report.judged.by.items())
        rows.append(
            (item.duration or "all at their floors", change, broken or "nobody rejects a token")
        )
    console.table(rows, indent="    ")


def _weather(weather: dict[str, int]) -> str:
    said = [f"{weather[kind]} {words}" for kind, words in _WEATHER.items() if weather.get(kind)]
    return ", ".join(said) or "nothing"


def _view(report: Report) -> dict[str, Any]:
    judged = report.judged
    return {
        "rotations": report.rotations,
        "tokens": {
            "signed": judged.signed,
            "verified": judged.verified,
            "rejected": judged.rejected,
        },
        "verifiers": _verifiers_view(report),
        "broken": list(report.found[:_TOLD]),
        "longest_life_seconds": round(report.longest_life.total_seconds()),
        "longest_signing_seconds": round(report.longest_signing.total_seconds()),
        "went_wrong": {kind: report.weather.get(kind, 0) for kind in _WEATHER},
        "ticks": report.ticks,
        "busiest_hour": {"at": moment(report.busiest_at), "calls": report.busiest_calls},
        "calls_a_year": round(report.calls_year),
        "aws_usd_a_year": round(report.aws_year, 2),
        "sensitivity": None,
    }


def _verifiers_view(report: Report) -> list[dict[str, Any]]:
    found = []
    for name in report.verifiers:
        first = report.judged.first.get(name)
        at = None
        if first is not None:
            at = {
                "at": moment(first.at),
                "kid": first.kid,
                "target": first.place,
                "why": first.why,
            }
        found.append({"name": name, "rejected": report.judged.by.get(name, 0), "first": at})
    return found


def _experiment_view(item: Experiment, report: Report) -> dict[str, Any]:
    return {
        "duration": item.duration or None,
        "needed_seconds": item.value.total_seconds(),
        "told_seconds": item.instead.total_seconds(),
        "rejected": report.judged.rejected,
        "verifiers": _verifiers_view(report),
    }


def _rounded(value: timedelta) -> str:
    """Write a duration without what nobody reads."""
    unit = timedelta(minutes=1) if value >= timedelta(days=1) else timedelta(seconds=1)
    return format_duration(round(value / unit) * unit)


def _span(text: str) -> timedelta:
    """Return how long to rehearse. Raises UsageError for what is no time, or too long a one."""
    from rotator.durations import parse_duration

    try:
        years = re.fullmatch(r"(\d{1,9})y", text)
        span = int(years[1]) * _YEAR if years else parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--for {text}: {error}", hint="write 5y, 90d or 12h") from None
    if not timedelta(0) < span <= _LONGEST:
        raise UsageError(f"--for {text}: not a time up to 100 years", hint="write 5y, 90d or 12h")
    return span


def _bounded(name: str, policy: RotationPolicy, text: str, span: timedelta) -> None:
    """Refuse what would take hours: a time with too many rotations in it."""
    rotations = span / policy.rotate_every
    if rotations > _MOST_ROTATIONS:
        most = format_duration(
            int(_MOST_ROTATIONS * policy.rotate_every.total_seconds()) * timedelta(seconds=1)
        )
        raise UsageError(
            f"--for {text} is {rotations:,.0f} rotations of key set {name}; at most {_MOST_ROTATIONS:,} are rehearsed",
            hint=f"`rehearse {name} --for {most}` or shorter",
        )
