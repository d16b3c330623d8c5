"""Where promtool and prometheus are: real ones, from Debian's package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from tests.servers import left_out

PROGRAMS: Final = {"promtool": "ROTATOR_PROMTOOL", "prometheus": "ROTATOR_PROMETHEUS"}
"""By program: the environment variable that names one to use instead of what `make servers` fetches."""

_MADE: Final = Path(__file__).resolve().parents[2] / ".servers"


def program(name: str) -> Path:
    """Return a program to run; without it, the test is left out."""
    said = os.environ.get(PROGRAMS[name])
    places = (said,) if said else (_MADE / name, shutil.which(name))
    found = next((Path(place) for place in places if place and Path(place).is_file()), None)
    if found is None:
        left_out(name)
    return found
