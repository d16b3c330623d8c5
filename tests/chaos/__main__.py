"""`make chaos`: python -P -m tests.chaos --seconds 600 --seed 7."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import structlog

from tests.chaos.campaign import play
from tests.chaos.stage import KEY_SETS


def main() -> int:
    """Play, print the report, and end with 1 if there is any finding; logs and trace are kept then."""
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--each", type=int, default=2, help="signers and verifiers of a key set")
    parser.add_argument("--json", type=Path, help="where the report is written as JSON")
    parser.add_argument("--keep", action="store_true", help="keep logs and trace in any case")
    given = parser.parse_args()
    os.environ["ROTATOR_STRICT_AWS_DAY"] = "60"  # else the quota of a day's versions ends it
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no process is left behind
    home = Path(tempfile.mkdtemp(prefix="rotator-chaos-"))
    sys.stdout.write(f"CHAOS_SEED={given.seed}, {given.seconds:.0f} s, everything is in {home}\n")
    sys.stdout.flush()
    try:
        report = play(
            home / "play",
            given.seconds,
            given.seed,
            key_sets=tuple(KEY_SETS),
            replicas=("a", "b", "c"),
            each=given.each,
        )
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    (home / "report.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    if given.json is not None:
        shutil.copyfile(home / "report.json", given.json)
    sys.stdout.write(f"{report}\n{json.dumps(report.as_json(), sort_keys=True)}\n")
    if report.findings or given.keep:
        sys.stdout.write(f"kept: {home / 'play'} (trace.jsonl, logs/)\n")
    else:
        shutil.rmtree(home)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
