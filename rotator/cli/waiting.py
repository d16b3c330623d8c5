"""`rotate --wait`: going on until what was ordered is done, with a line on the terminal that says for what it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from rotator.cli.progress import Progress
from rotator.cli.session import Session, pause
from rotator.cli.views import in_words
from rotator.errors import StoreUnavailable
from rotator.plan import next_deadline
from rotator.reconcile.settle import Settled, settle

if TYPE_CHECKING:
    from rotator.reconcile.site import Outcome, Site
    from rotator.ring import KeyRing

_SLICE: Final = timedelta(seconds=1)  # the line is written anew as often, and Ctrl-C is heard
_SHORTEST: Final = timedelta(milliseconds=50)
_PEEK: Final = timedelta(seconds=5)  # between two looks at what another process does


def stands(ring: KeyRing) -> bool:
    """True while an order waits to be carried out, or the first key to sign."""
    return ring.promote is not None or ring.active is None


@dataclass(frozen=True, slots=True)
class Waiting:
    """One key set whose order is waited for.

    Attributes:
        told: takes what each tick did.
    """

    session: Session
    site: Site
    told: Callable[[Site, Outcome], None] | None = None

    def until_done(self, settled: Settled) -> Settled:
        """Tick whenever something may have come, until the order is done; return all that was done.

        A store that does not answer is waited for like everything else. Raises: as `settle`.
        """
        found = settled
        with Progress(self.session.console, f"{self.site.key_set}:") as progress:
            while stands(found.outcome.ring):
                outcome = found.outcome
                self._pass(
                    self._next(outcome),
                    progress,
                    partial(in_words, outcome.step),
                )
                try:
                    later = settle(self.site, pause, self.told)
                except StoreUnavailable as error:
                    self._pass(self._resync, progress, partial(_always, error.message))
                    continue
                found = replace(
                    later,
                    steps=(*found.steps, *later.steps),
                    changed=found.changed or later.changed,
                )
        return found

    def until_others_did(self, ring: Callable[[], KeyRing]) -> None:
        """Look at the ring until the process that may tick has carried the order out."""
        with Progress(self.session.console, f"{self.site.key_set}:") as progress:
            while stands(ring()):
                self._pass(
                    min(self._resync, _PEEK),
                    progress,
                    lambda _now: "waits for `rotator run` to carry it out",
                )

    @property
    def _resync(self) -> timedelta:
        return self.site.policy.resync

    def _next(self, outcome: Outcome) -> timedelta:
        now = self.site.clock.now()
        asked = (next_deadline(outcome.ring, self.site.policy), outcome.step.due_at)
        coming = [date - now for date in asked if date is not None and date > now]
        return max(min([self._resync, *coming]), _SHORTEST)

    def _pass(
        self, duration: timedelta, progress: Progress, words: Callable[[datetime], str]
    ) -> None:
        """Let time pass, as CLOCK_BOOTTIME tells it."""
        clock = self.site.clock
        end = clock.elapsed() + duration
        while (left := end - clock.elapsed()) > timedelta(0):
            progress.say(words(clock.now()))
            pause(min(left, _SLICE))


def _always(words: str, _now: datetime) -> str:
    return words
