"""A step: the one next thing to do, or to wait for, with its kid and its reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Do(StrEnum):
    """What a step does."""

    CREATE = "create"
    TAKE_OVER = "take-over"
    PROMOTE = "promote"
    RETIRE = "retire"
    DISCARD = "discard"
    DESTROY = "destroy"
    WAIT = "wait"


class Reason(StrEnum):
    """Why a step is taken, or what is waited for."""

    # things to do
    FIRST_KEY = "first-key"
    NO_STANDBY = "no-standby"
    STANDBY_DUE = "standby-due"
    KIND_CHANGED = "kind-changed"
    CREATION_ABANDONED = "creation-abandoned"
    FIRST_ANNOUNCED = "first-announced"
    ROTATION_DUE = "rotation-due"
    ORDERED = "ordered"
    REVOCATION = "revocation"
    GRACE_PASSED = "grace-passed"
    KIND_UNWANTED = "kind-unwanted"
    ENDED = "ended"
    # things waited for
    CLOCK_SUSPICIOUS = "clock-suspicious"
    CREATED_ELSEWHERE = "created-elsewhere"
    ADOPTING = "adopting"
    DISCARD_BACKOFF = "discard-backoff"
    UNDESTROYED = "undestroyed"
    FULL = "full"
    HELD = "held"
    KIND_PACED = "kind-paced"
    NOT_ANNOUNCED = "not-announced"
    PROPAGATING = "propagating"
    NO_ANSWER = "no-answer"
    NOT_DUE = "not-due"
    WINDOW_CLOSED = "window-closed"
    NOT_SUPERSEDED = "not-superseded"
    IN_GRACE = "in-grace"
    STILL_HELD = "still-held"
    PINNED = "pinned"
    STALLED_WRITER = "stalled-writer"


@dataclass(frozen=True, slots=True)
class Step:
    """The one next thing to do, or to wait for, with its kid and its reason.

    `due_at` is when it was or will be due, None when that depends on what is seen, not on time;
    `blocked` marks a wait that is past its time because something is amiss.
    """

    do: Do
    reason: Reason
    kid: str = ""
    due_at: datetime | None = None
    detail: str = ""
    blocked: bool = False
