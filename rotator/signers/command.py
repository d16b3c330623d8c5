"""A signer check that runs a command which prints a fresh token."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from rotator.errors import StoreDenied, StoreUnavailable
from rotator.signers.names import command_name
from rotator.signers.program import run_bounded
from rotator.signers.token import LIMIT, find_token
from rotator.stores import Document, DocumentKind, Sight, VersionToken


class CommandCheck:
    """Runs a command for a token.

    Args:
        command: program and arguments, no shell. Arguments may hold what nobody should read, so of them
            only a digest is in the check's name, and nothing in messages.
        every: how often at most; see `SignerCheck`.
        holds: whether a key is kept from retiring by what is seen; see `SignerCheck`.
        field: the member of the JSON object printed that is the token; see `find_token`.
        timeout: seconds after which it is killed, with everything that it started.
    """

    kind: Final = DocumentKind.SIGNING
    writable: Final = False
    independent: Final = False

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        every: timedelta,
        holds: bool = False,
        field: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._command = command
        self.name: Final = command_name(command)
        self.every: Final = every
        self.holds: Final = holds
        self._field, self._timeout = field, timeout

    def look(self) -> Sight:
        """Run the command and return the token that it printed.

        Raises:
            StoreUnavailable: it cannot be run, fails, takes too long, or prints no token. That says
                nothing of what the issuer signs with.
        """
        what = f"the command {self._command[0]}"
        ended = run_bounded(self._command, timeout=self._timeout, limit=LIMIT)
        if ended.failure:
            raise StoreUnavailable(f"{what} {ended.failure}", hint="run it by hand to see why")
        return Sight(None, token=find_token(ended.output, what, self._field))

    def write(
        self,
        document: Document,  # noqa: ARG002 - the wall names both
        *,
        replacing: VersionToken | None,  # noqa: ARG002
    ) -> None:
        """Refuse: a signer is only looked at.

        Raises:
            StoreDenied: always.
        """
        raise StoreDenied(f"{self.name} is only looked at", hint="configure a delivery to write")
