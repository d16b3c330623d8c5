"""What a rehearsal found, in one piece; and which duration, understated, would have broken which verifier."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rotator.policy import ZERO, RotationPolicy
from rotator.rehearsal.clocks import START
from rotator.rehearsal.simulate import Rehearsal
from rotator.rehearsal.simulate_cast import Cast, literal
from rotator.rehearsal.simulate_tokens import Court, Judged, verifiers_of

Progress = Callable[[float], None]

_ROTATIONS: Final = 8  # of an experiment, about
_TOKENS: Final = 5_000  # moments at which they are signed, evenly over the time
_FEW_TOKENS: Final = 500  # for an experiment
_SHARE: Final = (
    0.8  # of the time of a rehearsal goes into driving the world; the rest into the tokens
)


@dataclass(frozen=True, slots=True)
class Report:
    """What one rehearsal found.

    Attributes:
        judged: what became of the tokens; `verifiers` who verified them.
        found: breaches of the promise of DESIGN §3, in sentences.
        weather: what went wrong, how often.
        calls_year: calls to the key set's store in a year, of all replicas.
        aws_year: what they and the secrets cost at AWS, in USD.
    """

    rotations: int
    judged: Judged
    verifiers: tuple[str, ...]
    found: tuple[str, ...]
    longest_life: timedelta
    longest_signing: timedelta
    weather: dict[str, int]
    ticks: int
    busiest_at: datetime
    busiest_calls: int
    calls_year: float
    aws_year: float

    @property
    def good(self) -> bool:
        """True when the promise was kept."""
        return not self.judged.rejected and not self.found


@dataclass(frozen=True, slots=True)
class Experiment:
    """One duration below its floor, with everything else as it is.

    Attributes:
        duration: its name in the configuration; empty where everything is exactly at its floor.
        value: what it really has to be; `instead` what was configured in its place.
        told: what the program is configured with.
    """

    duration: str
    value: timedelta
    instead: timedelta
    told: RotationPolicy


def rehearse(
    cast: Cast,
    verifiers: tuple[str, ...],
    seed: int,
    duration: timedelta,
    progress: Progress = lambda _done: None,
    *,
    calm: bool = False,
    hurried: bool = False,
) -> Report:
    """Rehearse one key set.

    Args:
        verifiers: names of verifier profiles.
        duration: simulated time, of which the first key is made at the beginning.
        progress: told what part of the work is done.
    """
    rehearsal = Rehearsal(cast, seed, calm=calm, hurried=hurried)
    rehearsal.run(duration, lambda done: progress(done * _SHARE))
    record, tally, policy = rehearsal.record, rehearsal.tally, cast.policy
    present = verifiers_of(policy, () if policy.kind.symmetric else verifiers)
    rng = random.Random(seed)  # noqa: S311 - to be repeated by its seed
    samples = _FEW_TOKENS if hurried else _TOKENS
    court = Court(record, policy, present, START + duration, rng, samples)
    judged = court.sit(lambda done: progress(_SHARE + done * (1 - _SHARE)))
    at, calls = tally.busiest()
    documents = sum(spot.store == "own" for spot in cast.spots)
    return Report(
        rotations=record.rotations,
        judged=judged,
        verifiers=tuple(dict.fromkeys(item.name for item in present)),
        found=tuple(rehearsal.found),
        longest_life=record.longest_life(),
        longest_signing=record.longest_signing(),
        weather=dict(sorted(rehearsal.weather.seen.items())),
        ticks=rehearsal.ticks,
        busiest_at=at,
        busiest_calls=calls,
        calls_year=tally.calls(cast.backend) / (duration / timedelta(days=365)),
        aws_year=tally.price(documents),
    )


def experiments(policy: RotationPolicy) -> Iterator[Experiment]:
    """Yield an experiment for each duration that has a floor, after one without any fault.

    `propagation` and `grace` are halved, and taken at their word. The others say what signers, caches and
    verifiers do: there the program is told less than the truth, and goes by floors computed from that.
    """
    sound = replace(policy, grace=None, propagation=policy.propagation_floor)
    yield Experiment("", ZERO, ZERO, sound)
    for name, floor in (("propagation", policy.propagation_floor), ("grace", policy.grace_floor)):
        half: dict[str, Any] = {name: floor / 2}
        halved = literal(replace(policy, **half))
        yield Experiment(name, floor, floor / 2, halved)
    names = ["verifier_cache", "signer_lag", "token_ttl", "leeway"]
    if not policy.kind.symmetric:
        names += ["jwks_max_age", "jwks_stale"]
    for name in names:
        value: timedelta = getattr(policy, name)
        instead = value / 2 if name == "token_ttl" else ZERO
        if value == instead:
            continue
        less: dict[str, Any] = {name: instead, "grace": None, "propagation": ZERO}
        told = replace(policy, **less)
        yield Experiment(name, value, instead, replace(told, propagation=told.propagation_floor))


def sensitivity(
    cast: Cast, verifiers: tuple[str, ...], seed: int, progress: Progress = lambda _done: None
) -> list[tuple[Experiment, Report]]:
    """Make every experiment, in good weather, so that what breaks is due to the duration alone.

    Each key is replaced as soon as the program allows it (`rotate --now`), for a duration has to be right not
    only for the rotations that are planned. Between changes clocks are as wrong as they may be.
    """
    found = []
    policy = cast.policy
    every = list(experiments(policy))
    span = _ROTATIONS * (policy.propagation_floor + policy.grace_wait / 4)
    for number, experiment in enumerate(every):
        told = replace(cast, told=experiment.told)

        def part(done: float, number: int = number) -> None:
            progress((number + done) / len(every))

        found.append((experiment, rehearse(told, verifiers, seed, span, part, hurried=True)))
    return found
