"""Ten thousand key sets in one daemon: `rotator run` as a process on the file store, then its loop alone.

    python -P -m benchmarks.keysets [--count N] [--directory DIR]

The process first makes the keys of a few of them. What it made is copied for the others; on that it is started
again, as after each upgrade, left alone for a minute, and told to reload.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.fleet import Run, configure, free_port, multiply, names
from benchmarks.keysets_loop import loop

MINUTE = 60.0
FEW = 100


def process(directory: Path, count: int) -> None:
    """What the process takes: from nothing, from what is there, left alone, and at a reload."""
    admin, few = {"listen": f"127.0.0.1:{free_port()}"}, min(FEW, count)
    port = int(admin["listen"].partition(":")[2])
    config = configure(directory, few, admin=admin)
    print(f"`rotator run`, {count} key sets on the file store ({os.cpu_count()} cores)")
    run = Run(config, port, directory / "first.log")
    made = run.until(lambda: run.said("key.announced") >= 2 * few, 1.0)
    show(f"first run of {few}: two keys of each made and announced", made, run)
    print(f"    (ended in {run.end():.1f} s)")
    configure(directory, count, admin=admin)
    multiply(directory, names(1)[0], names(count)[few:])
    run = Run(config, port, directory / "second.log")
    show(
        "started again, until ready: every JWKS is there",
        run.until(lambda: bool(run.ask("/readyz"))),
        run,
    )
    # Seldom asked: with ten thousand key sets an answer of the admin listener is work for the daemon too.
    all_well = run.until(lambda: run.counted("ticks_total")['{result="ok"}'] >= count, 3.0)
    show("  until each key set was ticked, nothing being due", all_well, run)
    pause = threading.Event()
    pause.wait(5)
    run.heart.longest = 0.0
    calls, ticks, cpu = run.counted("store_calls_total"), run.counted("ticks_total"), run.cpu()
    pause.wait(MINUTE)
    spent, looks = run.cpu() - cpu, (run.counted("ticks_total") - ticks).total()
    print(
        f"  left alone for a minute: {spent:.2f} s CPU, {run.memory():.0f} MiB, {looks} looks fell due"
    )
    began = time.monotonic() - MINUTE
    run.until(lambda: run.counted("ticks_total").total() >= ticks.total() + count, 10.0)
    hours, spent = (time.monotonic() - began) / 3600, run.cpu() - cpu
    hourly = (run.counted("store_calls_total") - calls).total() / hours
    print(
        f"  until all were looked at again (`resync` 5m): {spent:.1f} s CPU, {hourly:,.0f} store calls an hour"
    )
    before, cpu, began = run.counted("ticks_total").total(), run.cpu(), time.monotonic()
    usual, run.heart.longest = run.heart.longest, 0.0
    run.reload()
    while not run.said("config.reloaded"):
        pause.wait(0.05)
    lasted, spent, stood = time.monotonic() - began, run.cpu() - cpu, run.heart.longest
    looks = run.counted("ticks_total").total() - before
    print(
        f"  reload of {count} files: in force after {lasted:.1f} s, {spent:.1f} s CPU, {looks} looks meanwhile"
    )
    print(f"    (the main loop stood still for {stood:.2f} s at most; before, for {usual:.2f} s)")
    print(f"    (ended in {run.end():.1f} s)")


def show(what: str, seconds: float, run: Run) -> None:
    """Print what something took since the start of a process."""
    print(
        f"  {what:62} {seconds:6.1f} s, {run.cpu():6.1f} s CPU, {run.memory():5.0f} MiB", flush=True
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument(
        "--directory", type=Path, help="where the file store is made; the temporary one if left out"
    )
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=said.directory) as name:
        process(Path(name), said.count)
    loop(said.count)


if __name__ == "__main__":
    main()
