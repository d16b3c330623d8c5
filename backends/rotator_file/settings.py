"""How a file store is configured."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rotator.plugin import Seconds


class FileSettings(BaseModel):
    """The options of a file store: one directory of a local file system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        description="The directory; made with mode 0700 at the first write, if `create` allows it and the "
        "directory above exists."
    )
    lock_timeout: Seconds = Field(
        default=10.0,
        description="How long to wait for another process to let go of a key set before the store "
        "counts as unavailable.",
    )
    create: bool = Field(
        default=True,
        description="Whether `path` itself may be made. Say false for a mounted volume: what is missing "
        "then is the mount, and nothing is written to the disk beneath it.",
    )
