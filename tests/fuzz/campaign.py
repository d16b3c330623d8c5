"""One attack on one listener, as it is played in `make test` and, a hundred times longer, by `make fuzz`."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Final

from tests.fuzz.attacker import Attacker
from tests.fuzz.clients import Canary, Idlers
from tests.fuzz.drive import AT_ONCE, Driver, Tally
from tests.fuzz.ground import LATE, Held, until
from tests.fuzz.shapes import Site
from tests.fuzz.wire import Known

REQUESTS: Final = int(os.environ.get("ROTATOR_FUZZ_REQUESTS", "0"))
"""How many requests to each listener; 0 is the bounded part."""

BOUNDED: Final = 8_000
GROWTH: Final = (
    8 * 2**20
)  # bytes that a process may gain between its first thousands of requests and the last
_BUSY: Final = 15.0  # seconds by which a busy machine may be late
_SHORT: Final = 7.0  # seconds
# By then the allocators have what they come to want: a daemon's memory is flat from there on.
_WARM: Final = 2_000 if REQUESTS < 200_000 else 100_000


def seed() -> str:
    """Return the number of the attack: always the same in `make test`, another one in each `make fuzz`."""
    return os.environ.get("ROTATOR_FUZZ_SEED") or (secrets.token_hex(4) if REQUESTS else "1")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a listener promises.

    Attributes:
        seconds: how long a connection may last whose client does nothing for it.
        spare: how many connections it may still hold right after the attack, until that bound ends them.
        threads: how many more it may come to have.
        at_once: how many attackers it has places for.
    """

    seconds: float
    spare: int = 0
    threads: int = 0
    at_once: int = AT_ONCE


def attack(
    address: tuple[str, int],
    pid: int,
    known: Known,
    site: Site,
    *,
    path: str,
    bounds: Bounds,
    idlers: int,
) -> Tally:
    """Attack a listener, and require that nobody else notices.

    Args:
        pid: the process that listens.
        site: what it serves.
        path: what the honest clients ask for.
        bounds: what it promises; all of it is waited for by `make fuzz`, 10 s of it by `make test`.
        idlers: how many slow clients of each kind are there all the time.
    """
    number, began = seed(), time.monotonic()
    attacker = Attacker(number, site)
    with Canary(address, path) as canary:
        driver = Driver(address, known, at_once=bounds.at_once)
        first = driver.run(attacker.exchanges(_WARM))
        warm = Held.by(pid)
        patience = bounds.seconds + _BUSY if REQUESTS or not bounds.spare else _SHORT
        with Idlers(address, idlers, patience) as slow:
            driver = Driver(address, known, at_once=bounds.at_once)
            tally = driver.run(attacker.exchanges((REQUESTS or BOUNDED) - _WARM))
    tally.add(first)
    seconds = time.monotonic() - began
    spare = 0 if REQUESTS else bounds.spare
    until(lambda: Held.by(pid).files <= warm.files + spare, bounds.seconds + _BUSY)
    after = Held.by(pid)
    longest = {kind: max(lives) for kind, lives in slow.lives.items() if lives}
    report(f"attack {number} in {seconds:.0f} s: {tally}\n{canary.report()}")
    report(f"slow clients, longest connection {longest}\nheld {warm}, after it {after}")
    assert not tally.findings, f"ROTATOR_FUZZ_SEED={number}\n{tally}"
    assert not canary.faults, canary.faults[:5]
    assert canary.served > 20
    assert canary.late < LATE
    assert max(longest.values()) < bounds.seconds + _BUSY, longest
    assert after.files <= warm.files + spare
    assert after.threads <= warm.threads + bounds.threads
    assert after.rss - warm.rss < GROWTH, (warm, after)
    return tally


def report(text: str) -> None:
    """Report, for `pytest -rP` to show."""
    sys.stdout.write(text + "\n")
