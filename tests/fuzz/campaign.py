"""One attack on one listener, as it is played in `make test` and, a hundred times longer, by `make fuzz`."""

from __future__ import annotations

import os
import secrets
import sys
import time
from typing import Final

from tests.fuzz.attacker import Attacker
from tests.fuzz.clients import Canary, Idlers
from tests.fuzz.drive import Driver, Tally
from tests.fuzz.ground import SERVED_WITHIN, Held, until
from tests.fuzz.shapes import Site
from tests.fuzz.wire import Known

REQUESTS: Final = int(os.environ.get("ROTATOR_FUZZ_REQUESTS", "0"))
"""How many requests to each listener; 0 is the bounded part."""

BOUNDED: Final = 12_000
GROWTH: Final = (
    8 * 2**20
)  # bytes that a process may gain between its first thousands of requests and the last
_THROWN_OUT: Final = 25.0  # seconds; the bound is 10 s, and the machine may be busy
_WARM: Final = 3_000


def seed() -> str:
    """Return the number of the attack: always the same in `make test`, another one in each `make fuzz`."""
    return os.environ.get("ROTATOR_FUZZ_SEED") or (secrets.token_hex(4) if REQUESTS else "1")


def attack(
    address: tuple[str, int], pid: int, known: Known, site: Site, *, path: str, idlers: int
) -> Tally:
    """Attack a listener, and require that nobody else notices.

    Args:
        pid: the process that listens.
        site: what it serves.
        path: what the honest clients ask for.
        idlers: how many slow clients of each kind are there all the time.
    """
    number, began = seed(), time.monotonic()
    attacker = Attacker(number, site)
    with Canary(address, path) as canary:
        first = Driver(address, known).run(attacker.exchanges(_WARM))
        warm = Held.by(pid)
        with Idlers(address, idlers) as slow:
            tally = Driver(address, known).run(attacker.exchanges((REQUESTS or BOUNDED) - _WARM))
    tally.add(first)
    seconds = time.monotonic() - began
    until(lambda: Held.by(pid).files <= warm.files)
    after = Held.by(pid)
    longest = {kind: max(lives) for kind, lives in slow.lives.items() if lives}
    report(f"attack {number} in {seconds:.0f} s: {tally}\n{canary.report()}")
    report(f"slow clients, longest connection {longest}\nheld {warm}, after it {after}")
    assert not tally.findings, f"ROTATOR_FUZZ_SEED={number}\n{tally}"
    assert not canary.faults, canary.faults[:5]
    assert canary.served > 2
    assert max(canary.times) < SERVED_WITHIN
    assert max(longest.values()) < _THROWN_OUT, longest
    assert after.files <= warm.files
    assert after.threads <= warm.threads
    assert after.rss - warm.rss < GROWTH, (warm, after)
    return tally


def report(text: str) -> None:
    """Report, for `pytest -rP` to show."""
    sys.stdout.write(text + "\n")
