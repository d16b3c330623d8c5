"""What every model of the configuration is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

Absolute = Callable[[str], Path]
"""Makes a path of the configuration absolute."""

DOCUMENT: Final = (
    "What is delivered: the signing document, or for HMAC verifiers the verification document."
)
"""What `document` of a delivery is, for its description."""


class Model(BaseModel):
    """What all models share: an unknown key is a fault, nothing changes after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True)
