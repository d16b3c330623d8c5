"""Calls of a key set to its secrets manager, counted on the wire, and what AWS asks for them in a year.

    python -P -m benchmarks.calls [BACKEND...]

Real servers behind a counting proxy; a moved clock makes a key's life and a daemon's day pass at once.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import structlog

from rotator.rehearsal.prices import AWS_CALL, AWS_SECRET_MONTH, MONTHS
from tests.servers.counting import Calls, Counted

BACKENDS: Final = ("aws", "vault", "conjur")
ROTATIONS: Final = 365 / 90
MATERIAL: Final = 2  # current and next; for its grace, hours in 90 days, also the previous
BY_HAND: Final = 4  # calls of benchmarks/by_hand.sh
DAY: Final = timedelta(days=1)


def run(backend: str, *, documents: bool) -> None:
    """Count, and print."""
    where = f"{backend}, documents in {'the store' if documents else 'files'}"
    with tempfile.TemporaryDirectory() as name:
        counted = Counted(backend, Path(name), documents=documents)
        with counted.process() as assembly:
            counted.first_run(assembly.site("orders"))
        first = counted.calls()
        with counted.process() as assembly:
            site = assembly.site("orders")
            outcome = counted.rest(site)
            nothing = counted.calls()
            outcome = counted.rotate_once(site, outcome)
            counted.calls()
            counted.rotate_once(site, outcome)
            life = counted.calls()
        with counted.process() as assembly:
            ticks = counted.idle(assembly, DAY)
        day = counted.calls()
        counted.close()
    print(where)
    print(f"  first run                        {_told(first)}")
    print(f"  a one-shot with nothing due      {_told(nothing)}")
    print(f"  a key's life (every 90 days)     {_told(life)}")
    print(f"  an idle day of a daemon          {_told(day)}, in {ticks} looks")
    if backend == "aws":
        _price(nothing, life, day, documents=documents)


def _told(calls: Calls) -> str:
    names = ", ".join(f"{count} {name}" for name, count in calls.names.most_common())
    return f"{calls.total:5} calls ({names})"


def _price(nothing: Calls, life: Calls, day: Calls, *, documents: bool) -> None:
    secrets = 1 + MATERIAL + (2 if documents else 0)
    stored = secrets * AWS_SECRET_MONTH * MONTHS
    rotating = life.total * ROTATIONS * AWS_CALL
    print(f"  AWS, a key set and year: {stored:.2f} USD for {secrets} secrets, and for calls")
    for how, calls in (
        ("a daemon, resync 5m", day.total * 365),
        ("a daemon, resync 1h", day.total * 365 / 12),
        ("cron, each 15 minutes", nothing.total * 365 * 96),
        ("cron, once a day", nothing.total * 365),
    ):
        print(
            f"    {how:24} {calls * AWS_CALL + rotating:6.3f} USD ({calls:,.0f} and {life.total} a life)"
        )
    if documents:
        by_hand = 2 * AWS_SECRET_MONTH * MONTHS
        print(f"  the script by hand: {by_hand:.2f} USD for 2 secrets, {BY_HAND} calls a rotation")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for backend in parser.parse_args().backends:
        try:
            run(backend, documents=True)
            run(backend, documents=False)
        except pytest.skip.Exception as reason:
            print(f"{backend} is left out: {reason}")


if __name__ == "__main__":
    main()
