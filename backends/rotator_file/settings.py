"""How a file store is configured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(value: object) -> object:
    """Read `10s` as every other duration of the configuration is written; leave numbers as they are."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|m)", value.strip())
    if match is None:
        raise ValueError("give a duration with its unit, such as 10s or 500ms")
    return float(match[1]) * _UNITS[match[2]]


class FileSettings(BaseModel):
    """The settings of one file store.

    Attributes:
        path: the directory; made with mode 0700 at the first write if `create` allows it and the
            directory above exists.
        lock_timeout: seconds (or a duration such as `10s`) to wait for another process to let go of a
            key set before the store counts as unavailable.
        create: whether `path` itself may be made. Say false for a mounted volume: what is missing then is
            the mount, and nothing is written to the disk beneath it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    lock_timeout: Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=600)] = 10.0
    create: bool = True
