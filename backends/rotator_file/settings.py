"""How a file store is configured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_DURATION: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s|m)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(value: object) -> object:
    """Read `10s` as every other duration of the configuration is written; leave numbers as they are."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("give a duration with its unit, such as 10s or 500ms")
    return float(match[1]) * _UNITS[match[2]]


_Seconds = Annotated[
    float,
    Field(gt=0, le=600),
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
            ]
        }
    ),
]


class FileSettings(BaseModel):
    """The options of a file store: one directory of a local file system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        description="The directory; made with mode 0700 at the first write, if `create` allows it and the "
        "directory above exists."
    )
    lock_timeout: _Seconds = Field(
        default=10.0,
        description="How long to wait for another process to let go of a key set (`10s`, or a number of "
        "seconds) before the store counts as unavailable.",
    )
    create: bool = Field(
        default=True,
        description="Whether `path` itself may be made. Say false for a mounted volume: what is missing "
        "then is the mount, and nothing is written to the disk beneath it.",
    )
