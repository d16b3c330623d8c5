"""Turns on the debug logs of every library that talks to a server, as somebody does who looks for a fault in one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Final

LIBRARIES: Final = (
    *("boto3", "botocore", "s3transfer", "hvac", "conjur_api", "aiohttp", "asyncio"),
    *("urllib3", "requests", "stamina"),
)


def make_libraries_loud() -> None:
    """Let them say everything on stderr, whatever this process does with its own logs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        logger.propagate = False


def loud_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which every Python begins with that.

    Args:
        folder: an empty directory for what Python runs at its start.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from tests.servers_e2e.loud import make_libraries_loud\nmake_libraries_loud()\n"
    )
    return {"PYTHONPATH": f"{folder}:{Path(__file__).resolve().parents[2]}"}
