"""What signers and verifiers really do, and since when: it may differ from what is configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.policy import RotationPolicy

REAL = ("token_ttl", "signer_lag", "leeway", "verifier_cache", "clock_skew")
"""The durations that belong to signers and verifiers, and not to the program."""


@dataclass(slots=True)
class Course:
    """A duration over time: each value with the moment from which it holds."""

    values: list[tuple[datetime, timedelta]] = field(default_factory=list)

    def set(self, since: datetime, value: timedelta) -> None:
        """From `since` on it is `value`."""
        self.values.append((since, value))

    def at(self, when: datetime) -> timedelta:
        """Return the value at a moment."""
        found = self.values[0][1]
        for since, value in self.values:
            if since <= when:
                found = value
        return found

    def latest_end(self, start: datetime, end: datetime) -> datetime:
        """Return when the last thing that began between `start` and `end` ends, each lasting its value."""
        latest = end + self.at(end)
        for index, (since, value) in enumerate(self.values[:-1]):
            until = self.values[index + 1][0]
            if since <= end and until > start:
                latest = max(latest, min(until, end) + value)
        return latest


class Reality:
    """The real durations, by name; see `REAL`."""

    def __init__(self, policy: RotationPolicy, since: datetime) -> None:
        self.courses: dict[str, Course] = {}
        for name in REAL:
            self.courses[name] = Course()
            self.courses[name].set(since, getattr(policy, name))

    def __getitem__(self, name: str) -> Course:
        return self.courses[name]
