"""What a scrape of a fleet costs: the size of `/metrics`, its time and its memory, with 10,000 key sets.

    python -P -m benchmarks.metrics [--key-sets N]

The figures of one key set are made once, from a ring with two keys and two targets, and told of all of them.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime

from rotator.metrics import Meter
from rotator.metrics.exposition import registry_of, render
from rotator.metrics.figures import KeyFigures, KeySetFigures, TargetFigures
from rotator.metrics.surroundings import Surroundings

KID = "3yVwG9tZk1s0Qv8nXbC7dLmP5rTjHfA2eUoYiKxWqBc"
AT = 1_900_000_000.0


def figures(name: str, *, detailed: bool) -> KeySetFigures:
    """One key set: two keys, two targets, nothing due."""
    keys = (
        KeyFigures(f"{name}-{KID}"[-43:], "ES256", "active", AT, AT, AT, None, AT),
        KeyFigures(f"{KID}-{name}"[:43], "ES256", "pending", AT, AT, None, None, AT),
    )
    targets = (
        TargetFigures(f"files:/srv/{name}/signing", False, False, 1),
        TargetFigures("server", False, False, 2),
    )
    made = KeySetFigures(name, "ES256", 6, "not-due", True, keys, targets, AT, AT, success=AT)
    return made if detailed else replace(made, keys=(), targets=())


def measure(count: int, limit: int, failing: int) -> None:
    """Fill a meter, scrape it, and print what that took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    meter = Meter(lambda: datetime.fromtimestamp(AT, UTC), detailed=limit)
    for number in range(count):
        bad = number < failing
        made = figures(f"tenant-{number:05}", detailed=bad or count <= limit)
        meter._key_sets[made.key_set] = replace(made, failing=bad)
    registry = registry_of(meter, Surroundings("0"))
    began = time.process_time()
    text = render(registry)
    took = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    lines = sum(not line.startswith(b"#") for line in text.splitlines())
    print(
        f"  {count:6} key sets, {failing:6} failing, series of their own up to {limit:6}: {lines:7} series,"
        f" {len(text) / 2**20:5.1f} MiB ({len(gzip.compress(text, 1)) / 2**20:4.2f} gzipped),"
        f" {took:5.2f} s CPU, {grown:5.0f} MiB more"
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--key-sets", type=int, default=10_000)
    count = parser.parse_args().key_sets
    print("one scrape of /metrics")
    measure(1, 1000, 0)
    measure(1000, 1000, 0)
    measure(count, 1000, 0)
    measure(count, 1000, count)
    measure(count, count, 0)


if __name__ == "__main__":
    main()
