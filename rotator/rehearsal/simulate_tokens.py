"""Signers and verifiers of a rehearsal, and what becomes of each token.

A signer goes on with a key for up to `signer_lag` after a new one was delivered. A verifier goes by what it
fetched, which came out of a cache that may have held it for as long as it was allowed to. There are so many of
them in the world that at any moment one is as late as can be, one is not late at all, and one is somewhere in
between: every token is signed and verified by all three.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rotator.policy import ZERO, RotationPolicy, format_duration
from rotator.profiles import find_profile
from rotator.rehearsal.clocks import START
from rotator.rehearsal.simulate_record import Course, Record
from rotator.rehearsal.toykeys import Print

_TICK: Final = timedelta(milliseconds=1)
_STEP: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Verifier:
    """One kind of verifier: how long it may go by what it fetched, and what it adds to `exp`."""

    name: str
    cache: timedelta
    leeway: timedelta


@dataclass(frozen=True, slots=True)
class Rejection:
    """The first token that a verifier rejected wrongly, and why."""

    at: datetime
    kid: str
    place: str
    why: str


@dataclass(slots=True)
class Judged:
    """What became of all tokens.

    Attributes:
        signed: how many there were; `verified` how often one was verified.
        rejected: how many tokens were rejected by at least one verifier that had to accept them.
        by: how many each verifier rejected, and `first` the first of them.
    """

    signed: int = 0
    verified: int = 0
    rejected: int = 0
    by: dict[str, int] = field(default_factory=dict)
    first: dict[str, Rejection] = field(default_factory=dict)


def verifiers_of(policy: RotationPolicy, profiles: Iterable[str]) -> tuple[Verifier, ...]:
    """Return a verifier of each profile at its worst, and one that is as bad as the policy allows."""
    found = [find_profile(name) for name in profiles]
    worst = f"a verifier that caches for {format_duration(policy.verifier_cache)}"
    return (
        *(Verifier(item.title, item.blind, item.leeway) for item in found),
        Verifier(worst, policy.verifier_cache, policy.leeway),
    )


@dataclass(slots=True)
class Court:
    """Lets every signer sign and every verifier verify, over what was recorded.

    Args:
        policy: as signers, caches and verifiers really are.
        end: the end of the rehearsal; what comes after it is not known.
        samples: how many moments there are at which every signer signs, evenly over the time; around each
            change there are more.
    """

    record: Record
    policy: RotationPolicy
    verifiers: tuple[Verifier, ...]
    end: datetime
    rng: random.Random
    samples: int = 5_000
    judged: Judged = field(default_factory=Judged)

    def sit(self, progress: Callable[[float], None] = lambda _done: None) -> Judged:
        """Judge every token; `progress` is told what part of them is done."""
        lag = self.policy.signer_lag
        moments = self._moments()
        for number, moment in enumerate(moments):
            for target in self.record.signing.values():
                for late in (ZERO, lag, lag * self.rng.random()):
                    key = target.at(moment - late)
                    if key is not None:
                        self._token(key, moment)
            if number % 100 == 0:
                progress(number / len(moments))
        progress(1.0)
        return self.judged

    def _moments(self) -> list[datetime]:
        """Return when tokens are signed: evenly, and around every change."""
        whole = self.end - START
        found = {START + whole * number / self.samples for number in range(self.samples)}
        for target in self.record.signing.values():
            for since in target.since:
                found |= {since - _STEP, since, since + _STEP}
                found |= {since + self.policy.signer_lag - _TICK, since + self.policy.signer_lag}
        for shown in self.record.shown.values():
            for since in shown.since:
                found |= {since - _STEP, since, since + self._longest}
        return sorted(moment for moment in found if START <= moment <= self.end)

    @property
    def _longest(self) -> timedelta:
        return self.policy.cached + max(item.cache for item in self.verifiers)

    def _token(self, key: Print, signed: datetime) -> None:
        judged, policy = self.judged, self.policy
        judged.signed += 1
        lives = policy.token_ttl + policy.clock_skew  # signer's and verifier's clock may differ
        rejected: set[str] = set()
        for verifier in self.verifiers:
            last = signed + lives + verifier.leeway - _TICK
            for when in (signed, signed + (last - signed) * self.rng.random(), last):
                if when > self.end:
                    continue
                for place, shown in self.record.shown.items():
                    if not self._accepted(key, verifier, shown, when):
                        rejected.add(verifier.name)
                        self._note(key, verifier, place, shown, when)
        for name in rejected:
            judged.by[name] = judged.by.get(name, 0) + 1
        judged.rejected += bool(rejected)

    def _accepted(
        self, key: Print, verifier: Verifier, shown: Course[frozenset[Print]], when: datetime
    ) -> bool:
        """Verify one token by those who are not late, as late as can be, and in between."""
        oldest = policy_age(self.policy, verifier)
        self.judged.verified += 3
        early, late = when - oldest, when
        first, last = _version(shown, early), _version(shown, late)
        if first == last:  # all of them go by the same
            return key in shown.values[first]
        between = _version(shown, early + oldest * self.rng.random())
        return all(key in shown.values[index] for index in (first, between, last))

    def _note(
        self,
        key: Print,
        verifier: Verifier,
        place: str,
        shown: Course[frozenset[Print]],
        when: datetime,
    ) -> None:
        before = self.judged.first.get(verifier.name)
        if before is not None and before.at <= when:
            return
        if key in shown.first_at(when):
            age = format_duration(_whole(policy_age(self.policy, verifier)))
            why = f"what it goes by may be {age} old, and is from before this key was announced"
        else:
            why = "the key was gone already, and the token still valid"
        self.judged.first[verifier.name] = Rejection(when, key[0], place, why)


def policy_age(policy: RotationPolicy, verifier: Verifier) -> timedelta:
    """Return how old what a verifier goes by may be: the caches on its way, and its own."""
    return policy.cached + verifier.cache


def _version(shown: Course[frozenset[Print]], when: datetime) -> int:
    return max(bisect_right(shown.since, when) - 1, 0)


def _whole(value: timedelta) -> timedelta:
    return timedelta(seconds=round(value.total_seconds()))
