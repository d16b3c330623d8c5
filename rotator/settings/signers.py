"""What a checked signer check is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from rotator.signers.names import command_name, url_name


@dataclass(frozen=True, slots=True)
class SignerCheckSettings:
    """One signer check: a URL or a command that yields a fresh token; exactly one of the two is there.

    Query and arguments may hold credentials, so URL and command are left out of the repr.
    """

    every: timedelta
    timeout: timedelta
    hold: bool = False
    url: str | None = field(default=None, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    header: str | None = None
    field: str | None = None

    @property
    def name(self) -> str:
        """The stable name of the check, without a query or arguments."""
        return url_name(self.url) if self.url is not None else command_name(self.command)
