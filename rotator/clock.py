"""Whether this host's clock can be trusted (DESIGN §3, "A clock is suspicious when"). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotator.policy import RotationPolicy, format_duration
from rotator.ring import KeyRing

_WAY_OUT: Final = "if the clocks are right, say so with `rotator recover --clock`"


@dataclass(frozen=True, slots=True)
class Witness:
    """What a server elsewhere said, beside what our clock said when its answer came."""

    name: str
    date: datetime
    ours: datetime
    round_trip: timedelta

    def apart(self) -> timedelta:
        """How far our clock and the server's are apart."""
        return abs(self.ours - self.date)

    def agrees(self, clock_skew: timedelta) -> bool:
        """True when both clocks agree, as well as a `Date` of whole seconds can tell (RFC 9110 §6.6.1)."""
        return self.apart() <= clock_skew + timedelta(seconds=1) + self.round_trip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the clock is suspicious (empty: it is not), and whether somebody outside confirmed it."""

    suspicious: str = ""
    confirmed: bool = False


def judge(
    ring: KeyRing,
    policy: RotationPolicy,
    now: datetime,
    *,
    drift: timedelta,
    witnesses: Iterable[Witness] = (),
    operator_confirmed: bool = False,
) -> Verdict:
    """Judge the clock of this host.

    Args:
        now: what it says.
        drift: how far it has parted from CLOCK_BOOTTIME since this process first trusted it; a suspend
            is counted by both and is no drift.
        witnesses: what servers elsewhere said in this tick.
        operator_confirmed: an operator said `recover --clock` since this process last looked.
    """
    skew = policy.clock_skew
    latest = ring.latest
    if latest is not None and latest - now > skew:
        behind = format_duration(latest - now)
        return Verdict(f"the clock is {behind} behind the latest date in the ring; {_WAY_OUT}")
    heard = tuple(witnesses)
    for witness in heard:
        if not witness.agrees(skew):
            apart = format_duration(witness.apart())
            return Verdict(f"the clock is {apart} away from that of {witness.name}; set it right")
    if heard or operator_confirmed:
        return Verdict(confirmed=True)
    if abs(drift) > skew:
        return Verdict(
            f"the clock was moved by {format_duration(drift)} while this process ran; {_WAY_OUT}"
        )
    if latest is not None and now - latest > policy.longest_silence:
        ahead = format_duration(now - latest)
        return Verdict(
            f"the clock is {ahead} ahead of the latest date in the ring and nobody outside "
            f"confirms it; {_WAY_OUT}"
        )
    return Verdict()
