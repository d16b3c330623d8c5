"""What was seen after a ring was loaded: the only facts, beside the ring itself, that decisions use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rotator.ring import KeyRing

DRIFT: Final = "drift:"
"""A note begins with this when a target's side files disagree with its document."""


class DocumentKind(StrEnum):
    """What a derived document is: for signers, for HMAC verifiers, or the JWKS."""

    SIGNING = "signing"
    VERIFICATION = "verification"
    JWKS = "jwks"


@dataclass(frozen=True, slots=True)
class Answered:
    """What one address behind a URL answered.

    Attributes:
        kids: all that are served there, None for the answer "nothing".
        age: for how long a cache had kept it; None when no cache said so.
    """

    address: str
    kids: tuple[str, ...] | None
    revision: int | None = None
    age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at one target, held against the ring.

    Attributes:
        kind: the kind of document that belongs there.
        answered: False when it gave no answer, which says nothing about what it holds.
        filled: False when it answered that nothing is there.
        ours: True for a document of this key set (or a probe's, which need not say whose it is).
        revision: the ring's revision that the document was derived from, where it says so.
        kids: the kids of the ring found there with the public half that the ring knows.
        strangers: kids found there that the ring does not know, or knows with another public half.
        independent: True when it is read by another way than the ring's own store.
        assumed: True when the target cannot be read back, and `kids` are those of its last write.
        cache: how long a cache may go on serving what was seen.
        error: why it gave no answer; with `exit_code`, for the command that has to say so.
        note: a remark for `status`, such as the `Age` of a cached answer.
        at: when it was looked at, by this host's clock.
        answers: for a probe, what each address that was asked said.
    """

    kind: DocumentKind
    answered: bool
    filled: bool = False
    ours: bool = False
    revision: int | None = None
    kids: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    independent: bool = True
    assumed: bool = False
    cache: timedelta | None = None
    error: str = ""
    exit_code: int = 0
    note: str = ""
    at: datetime | None = None
    answers: tuple[Answered, ...] = ()

    @property
    def drifted(self) -> bool:
        """True when side files disagree with the document: what readers get is not known."""
        return self.note.startswith(DRIFT)

    @property
    def foreign(self) -> bool:
        """True when something is there that this key set did not write."""
        return self.filled and not self.ours


@dataclass(frozen=True, slots=True)
class Observed:
    """All looks of one tick.

    Attributes:
        sightings: by target name, every configured target, answered or not.
        suspicious: why this host's clock is not to be trusted; empty when it is.
        confirmed: True when a server elsewhere, or an operator, confirmed this host's clock.
        creating_idle: by kid, how long this process has seen somebody else's `creating` key unchanged.
        stuck: steps (what they do, and the kid) that failed in this tick without any effect.
        holding: the names of signer checks, which are in `sightings` beside the targets.
        watched: by name, the looks of signer checks that only warn: nothing is decided by them.
    """

    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    suspicious: str = ""
    confirmed: bool = False
    creating_idle: Mapping[str, timedelta] = field(default_factory=dict)
    stuck: frozenset[tuple[str, str]] = frozenset()
    holding: frozenset[str] = frozenset()
    watched: Mapping[str, Sighting] = field(default_factory=dict)

    def announcing(self) -> Iterator[tuple[str, Sighting]]:
        """Yield the targets through which verifiers learn of a key: publications, probes, verification documents."""
        for name, sighting in self.sightings.items():
            if sighting.kind is not DocumentKind.SIGNING:
                yield name, sighting

    def signing(self) -> Iterator[tuple[str, Sighting]]:
        """Yield the targets that signers read."""
        for name, sighting in self.sightings.items():
            if sighting.kind is DocumentKind.SIGNING:
                yield name, sighting

    def signers(self) -> Iterator[tuple[str, Sighting]]:
        """Yield every signer check: what is seen there is what a signer really signs with."""
        for name, sighting in self.sightings.items():
            if name in self.holding:
                yield name, sighting
        yield from self.watched.items()

    def not_showing(self, kid: str) -> tuple[str, ...]:
        """Return the announcing targets that did not answer with a kid in this look."""
        return tuple(name for name, seen in self.announcing() if kid not in seen.kids)

    def may_hold(self, ring: KeyRing, kid: str) -> tuple[str, ...]:
        """Return the signing targets that may still hold a key (rule 2).

        One that answered holds what was seen. One that did not, or that left the configuration, counts
        as holding what the ring remembers of it; not so a signer check that was told to only warn.
        """
        seen = dict(self.signing())
        answered = {name for name, sighting in seen.items() if sighting.answered}
        holding = {name for name in answered if kid in seen[name].kids + seen[name].strangers}
        known = answered | self.watched.keys()
        remembered = {n for n, kids in ring.holders.items() if n not in known and kid in kids}
        return tuple(sorted(holding | remembered))
