"""What a key set costs: calls that one operation on a store takes, and what AWS asks for them.

The one place for these numbers: `rotator rehearse`, the benchmarks and docs/cost.md go by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

AWS_SECRET_MONTH: Final = 0.40
"""USD for one secret and month: https://aws.amazon.com/secrets-manager/pricing/, most regions."""

AWS_CALL: Final = 0.05 / 10_000
"""USD for one call, at the same place."""

MONTHS: Final = 12

OPERATIONS: Final = ("load", "save", "put", "get", "destroy", "read", "write")
"""What the walls are asked: rings are loaded and saved, material put, got and destroyed, documents read and written."""

_EACH_ONE: Final = MappingProxyType(dict.fromkeys(OPERATIONS, 1))

CALLS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        # Before a write each reads what is there; AWS then puts a version and moves a label to it.
        "aws": MappingProxyType({**_EACH_ONE, "save": 3, "destroy": 2, "write": 3}),
        "vault": MappingProxyType({**_EACH_ONE, "destroy": 2}),
        # Each value is read with the number of its version; destroying is writing over, many times.
        "conjur": MappingProxyType(
            {"load": 2, "save": 5, "put": 5, "get": 2, "destroy": 30, "read": 2, "write": 5}
        ),
    }
)
"""Calls of each operation, by backend, when nothing has to be tried again; a test counts them in a key's life."""


def calls_of(backend: str) -> Mapping[str, int]:
    """Return the calls of each operation; one for each where nobody has counted."""
    return CALLS.get(backend, _EACH_ONE)


def aws_year(secrets: float, calls: float) -> float:
    """Return USD for a year: so many secrets kept all the time, and so many calls."""
    return secrets * AWS_SECRET_MONTH * MONTHS + calls * AWS_CALL
