"""Every error that `rotator` raises on purpose, with the exit code that it ends a command with.

A message says what happened and where; `hint` says what to do next. The exit codes are those of
`sysexits.h` where it has one (65 data, 69 unavailable, 75 temporary, 77 permission, 78 configuration).
"""

from __future__ import annotations

from collections.abc import Iterable


class RotatorError(Exception):
    """Something went wrong that a person can understand and act on.

    Args:
        message: what happened, and to which key set, store or target; lower case, no final period.
        hint: what to do next, or an empty string when the message already says it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(RotatorError):
    """The operator asked for something that the key set, as it is, does not allow."""

    exit_code = 2


class ConfigError(RotatorError):
    """The configuration cannot be used; nothing was changed."""

    exit_code = 78


class BackendMissing(ConfigError):
    """A store names a backend, or needs an SDK, that is not installed; the hint is the pip line."""


class StoreError(RotatorError):
    """A store or a target did not do what it was asked."""


class Conflict(StoreError):
    """Somebody else was faster: load again. Not a failure."""

    exit_code = 75


class StoreUnavailable(StoreError):
    """No answer, or one that says "later": worth trying again.

    Args:
        retry_after: seconds that the server asked to wait before the next try (RFC 9110 §10.2.3).
        lasting: trying again at once is no use (a certificate that does not hold); the next tick may.
    """

    exit_code = 69

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.lasting = lasting


class StoreDenied(StoreError):
    """The identity may not do this: trying again will not help; the hint names the permission."""

    exit_code = 77


class StoreMisconfigured(StoreDenied):
    """What is configured of this place does not fit what is there (no such bucket, another region).

    Nothing but a changed configuration, or place, helps here; everything else of the key set goes on.
    """

    exit_code = 78


class StoreCorrupt(StoreError):
    """What the store holds cannot be trusted: stop, change nothing."""

    exit_code = 65


class RingMoved(StoreCorrupt):
    """What lies in the store says that the ring is, or is to be, in another one: nothing goes on here.

    Not even a recovery or an emergency replaces it: two stores must never have a live ring.

    Args:
        key_set: whose ring it was.
        place: where this was read.
        store: the name of the other store, as `rotator move` was told it.
        date: when it was moved; None while the ring is still on its way here.
    """

    def __init__(self, key_set: str, place: str, store: str, date: str | None) -> None:
        there = f" ({place})" if place else ""
        if date is not None:
            super().__init__(
                f"key set {key_set} was moved to store {store} at {date}: its ring is no longer here{there}",
                hint=f"set `store: {store}` under `key_sets.{key_set}` and start again; nothing was changed",
            )
        else:
            super().__init__(
                f"key set {key_set} is being moved here from store {store}, and that is not done{there}",
                hint=f"finish it with the same `rotator move {key_set} --from {store} --to …` as before",
            )
        self.store = store


class TargetFailing(RotatorError):
    """A target could not be looked at or written; the old key stays, and the next tick tries again."""

    exit_code = 75


class ClockSuspicious(RotatorError):
    """The clock of this host cannot be trusted: nothing is dated, promoted, retired or destroyed."""

    exit_code = 75


# The worst of several key sets decides the exit code of the command (DESIGN: "Over several key sets").
_SEVERITY = (78, 77, 65, 69, 75, 1, 3, 0)


def worst_exit_code(codes: Iterable[int]) -> int:
    """Return the most severe of several exit codes; 0 when there are none."""
    return min(codes, key=lambda code: _SEVERITY.index(code) if code in _SEVERITY else 0, default=0)
