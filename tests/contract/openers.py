"""How the contract tests come by a fresh place for each installed backend: one opener for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rotator.testing.contract import Place
from tests.servers import running


def _aws(scratch: Path) -> Place:
    # Each racer takes half a second of a core to load the SDK.
    return Place.of_backend("aws", running("aws").settings(f"contract/{scratch.name}"), racers=4)


def _conjur(scratch: Path) -> Place:
    # Each racer takes half a second of a core to load the SDK; sixteen forks race in tests/conjur.
    settings = running("conjur").settings(f"contract/{scratch.name}")
    return Place.of_backend("conjur", settings, racers=6)


def _file(scratch: Path) -> Place:
    return Place.of_backend("file", {"path": str(scratch / "keys"), "lock_timeout": "60s"})


def _vault(scratch: Path) -> Place:
    return Place.of_backend(
        "vault", running("vault").settings(f"contract/{scratch.name}"), racers=8
    )


OPENERS: Final[dict[str, Callable[[Path], Place]]] = {
    "aws": _aws,
    "conjur": _conjur,
    "file": _file,
    "vault": _vault,
}
"""By the name of the backend: makes a place from a directory that only this test uses."""
