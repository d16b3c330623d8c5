"""What a tick expects of a signer check."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from rotator.stores import Target


class SignerCheck(Target, Protocol):
    """A target of kind `signing` that is only looked at: its `look` answers with a token, or not at all.

    Its answer is never "nothing", so it proves no first run and hinders none (DESIGN §3, rule 4).
    """

    @property
    def every(self) -> timedelta:
        """How often it is asked at most; jittered downwards, as `resync` is."""
        ...

    @property
    def holds(self) -> bool:
        """True when a signer seen with another key holds `superseded_at` back (rule 2); else it only warns."""
        ...
