"""How the contract tests come by a fresh place for each installed backend: one opener for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rotator.testing.contract import Place
from tests.servers import running

_PATIENT: Final = {
    "connect_timeout": "60s",
    "read_timeout": "60s",
    "attempts": 10,
    "patience": "100s",
}
"""A race on a busy machine takes as long as it takes: what is tested is who wins it."""


def _aws(scratch: Path) -> Place:
    # AWS keeps every version of a day, those of lost races too, and refuses more than a hundred.
    settings = running("aws").settings(f"contract/{scratch.name}") | _PATIENT
    return Place.of_backend("aws", settings, racers=4, preload=("boto3", "botocore.session"))


def _conjur(scratch: Path) -> Place:
    settings = running("conjur").settings(f"contract/{scratch.name}") | _PATIENT
    return Place.of_backend("conjur", settings, preload=("aiohttp", "conjur_api", "requests"))


def _file(scratch: Path) -> Place:
    return Place.of_backend("file", {"path": str(scratch / "keys"), "lock_timeout": "60s"})


def _vault(scratch: Path) -> Place:
    settings = running("vault").settings(f"contract/{scratch.name}") | _PATIENT
    return Place.of_backend("vault", settings, preload=("hvac", "requests"))


OPENERS: Final[dict[str, Callable[[Path], Place]]] = {
    "aws": _aws,
    "conjur": _conjur,
    "file": _file,
    "vault": _vault,
}
"""By the name of the backend: makes a place from a directory that only this test uses."""
