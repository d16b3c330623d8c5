"""What a process tells of itself beside what its meter knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Reload(Protocol):
    """How the configuration in force came about (`rotator.daemon.state.ReloadState`)."""

    @property
    def loaded_at(self) -> datetime:
        """When it was loaded."""
        ...

    @property
    def reloads(self) -> int:
        """How many reloads went well since the start."""
        ...

    @property
    def refusals(self) -> int:
        """How many were refused."""
        ...

    @property
    def error(self) -> str:
        """Why the newest was refused; empty while the newest is in force."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process knows beside its meter.

    Attributes:
        version: of this program.
        reload: of the daemon, None for a one-shot.
        server: whether the built-in server serves, and how often it was started again; None without one.
    """

    version: str
    reload: Callable[[], Reload] | None = None
    server: Callable[[], tuple[bool, int] | None] | None = None
