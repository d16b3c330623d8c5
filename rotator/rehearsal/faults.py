"""What can be wrong with a store or a target, and what its callers get to feel of it."""

from __future__ import annotations

from enum import StrEnum

from rotator.errors import StoreDenied, StoreUnavailable


class Fault(StrEnum):
    """What is wrong with a store or a target."""

    NONE = "none"
    SILENT = "silent"
    """Neither answers nor takes anything."""
    DENIED = "denied"
    """Refuses everything."""
    READ_ONLY = "read-only"
    """Answers, and refuses every write."""
    LATE_ERROR = "late-error"
    """Takes a write, and then fails to say so."""
    LIES = "lies"
    """Says that it took a write, and goes on returning what was there."""
    KEEPS = "keeps"
    """A store: everything works, but it lets nobody destroy anything."""
    STUTTERS = "stutters"
    """A store elsewhere: every third write fails, before or after it had its effect."""
    STALE = "stale"
    """A store elsewhere: for two seconds after a write, reads show what was there before."""


def answer(fault: Fault, name: str) -> None:
    """Fail as a read does. Raises StoreUnavailable, StoreDenied."""
    if fault is Fault.SILENT:
        raise StoreUnavailable(f"no answer from {name}")
    if fault is Fault.DENIED:
        raise StoreDenied(f"{name} refuses")


def accept(fault: Fault, name: str) -> None:
    """Fail as a write does before it has an effect. Raises StoreUnavailable, StoreDenied."""
    answer(fault, name)
    if fault is Fault.READ_ONLY:
        raise StoreDenied(f"{name} is read-only")


def confirm(fault: Fault, name: str) -> None:
    """Fail as a write does after it had its effect. Raises StoreUnavailable."""
    if fault is Fault.LATE_ERROR:
        raise StoreUnavailable(f"no answer from {name} to a write")


def release(fault: Fault, name: str) -> None:
    """Fail as destroying does before it has an effect. Raises StoreUnavailable, StoreDenied."""
    accept(fault, name)
    if fault is Fault.KEEPS:
        raise StoreDenied(f"{name} lets nobody destroy anything")
