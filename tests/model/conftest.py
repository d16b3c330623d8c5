"""The model's modules import each other as `tests.model`; whoever asks for steps is told the seed."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

# `make test` plays the same every time; whoever asks for more gets new worlds each time. In the
# environment, so that every worker of pytest-xdist plays by the same number.
if os.environ.get("ROTATOR_MODEL_STEPS"):
    os.environ.setdefault("ROTATOR_MODEL_SEED", str(secrets.randbits(40)))


def pytest_report_header() -> str:
    """Print what repeats this run."""
    seed, steps = os.environ.get("ROTATOR_MODEL_SEED", "1"), os.environ.get("ROTATOR_MODEL_STEPS")
    return f"model: ROTATOR_MODEL_SEED={seed}" + (f" ROTATOR_MODEL_STEPS={steps}" if steps else "")
