"""All benchmarks, each in a process of its own: `python -P -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys

ALL = ("noop", "stores", "by_hand", "calls", "keysets", "targets", "keygen", "http", "metrics")


def main() -> None:
    """Run them one after the other; none is asserted, and one that cannot run does not stop the others."""
    for name in sys.argv[1:] or ALL:
        done = subprocess.run([sys.executable, "-P", "-m", f"benchmarks.{name}"], check=False)
        if done.returncode:
            print(f"{name}: ended with {done.returncode}")
        print(flush=True)


if __name__ == "__main__":
    main()
