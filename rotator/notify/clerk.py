"""Keeps ledgers in step with the store: reads and writes them in lanes of its own, one job for a key set at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from rotator.errors import RotatorError
from rotator.notify.case import Page
from rotator.notify.conditions import Condition
from rotator.notify.keeper import Keeper
from rotator.notify.ledger import Change, Ledger, Topic, merged
from rotator.reconcile.site import Emit

_MOST_UNSAVED: Final = 200
_HERE: Final = ""  # the lane of what needs no store


class Workers(Protocol):
    """Threads that read and write ledgers, a few for each store (`rotator.daemon.lanes`)."""

    def submit(self, lane: tuple[str, bool], job: Callable[[], None]) -> None:
        """Run a job soon. A lane is the name of a store, and whether the job is expected to be slow."""
        ...


@dataclass(slots=True)
class Case:
    """One key set, as this process knows it; all of it can be lost without harm.

    Attributes:
        ledger: with every change of this process, written down or not.
        page: the history, as long as somebody is behind.
        newest: the id of the last line that was seen.
        synced: the ledger was read from the store.
        spared: what the file of this host had was taken over.
        looked: a tick came to its end, so that `standing` is all there is.
        compared: what the ledger had open was held against `standing`.
        standing: the conditions that were seen last.
        unsaved: changes that the store's ledger may not have yet.
        busy, again: a job is at it, and another one has to follow; `store` says whether that asks the store.
        said: why it could not be written, once told.
    """

    ledger: Ledger
    page: Page = field(default_factory=Page)
    newest: str = ""
    synced: bool = False
    spared: bool = False
    looked: bool = False
    compared: bool = False
    standing: dict[Topic, Condition] = field(default_factory=dict)
    unsaved: list[Change] = field(default_factory=list)
    busy: bool = False
    again: bool = False
    store: bool = True
    said: str = ""


class Clerk:
    """Holds the cases of all key sets.

    Args:
        keeper: reads and writes ledgers.
        store_of: the name of the store of a key set.
        workers: run the jobs.
        emit: where events go.
        synced: called with the lock held after each job, whatever became of it: the case may have changed.
            What it changes is written down by another job.

    Attributes:
        lock: held while a case is looked at or changed; never while a store is called.
    """

    def __init__(
        self,
        keeper: Keeper,
        store_of: Callable[[str], str],
        workers: Workers,
        emit: Emit,
        synced: Callable[[str, Case], None],
    ) -> None:
        self.keeper, self.store_of = keeper, store_of
        self.lock = threading.RLock()
        self.cases: dict[str, Case] = {}
        self._workers, self._emit, self._synced = workers, emit, synced

    def case(self, key_set: str) -> Case:
        """Return the case of a key set."""
        return self.cases.setdefault(key_set, Case(Ledger(key_set)))

    def change(self, case: Case, change: Change) -> None:
        """Change a ledger; `sync` writes it down."""
        with self.lock:
            case.ledger = change(case.ledger)
            case.unsaved.append(change)
            if len(case.unsaved) > _MOST_UNSAVED:
                # The store has been away for long: from here on what it comes to says it all.
                snapshot = case.ledger
                case.unsaved = [lambda ledger: merged(ledger, snapshot)]

    def sync(self, key_set: str, case: Case, *, store: bool = True) -> None:
        """Read the ledger of a key set, and write down what has changed, soon.

        Args:
            store: ask the store; else only the file of this host.
        """
        with self.lock:
            case.store = store
            if case.busy:
                case.again = True
                return
            case.busy = True
        lane = self.store_of(key_set) if store else _HERE
        self._workers.submit((lane, False), partial(self._work, key_set, case))

    def save_all(self) -> None:
        """Write down everything that is not, in this thread."""
        with self.lock:
            unsaved = [(name, case) for name, case in self.cases.items() if case.unsaved]
        for key_set, case in unsaved:
            self._once(key_set, case)

    def _work(self, key_set: str, case: Case) -> None:
        try:
            if case.store:
                self._once(key_set, case)
            else:
                self._keep(key_set, case)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread of a store
            self._tell(
                key_set, case, f"unexpected {type(error).__name__}", "a fault of the program"
            )
        with self.lock:
            case.busy, again = False, case.again
            case.again = False
        if again:
            self.sync(key_set, case, store=case.store)

    def _once(self, key_set: str, case: Case) -> None:
        with self.lock:
            changes = tuple(case.unsaved)
        try:
            ledger = self.keeper.update(key_set, changes)
        except RotatorError as error:
            self._tell(key_set, case, error.message, error.hint)
            self._keep(key_set, case)
            return
        with self.lock:
            case.synced, case.said = True, ""
            case.unsaved = case.unsaved[_same(case.unsaved, changes) :]
            for change in case.unsaved:
                ledger = change(ledger)
            case.ledger = ledger
            self._synced(key_set, case)
            case.again = case.again or bool(case.unsaved)

    def _keep(self, key_set: str, case: Case) -> None:
        """Write the ledger into the file of this host, with what is in there from before."""
        # Once only: what was confirmed since would come back with it.
        spare = None if case.spared or case.synced else self.keeper.spared(key_set)
        with self.lock:
            case.spared = True
            if spare is not None:
                case.ledger = merged(case.ledger, spare)
            ledger = case.ledger
        if ledger != Ledger(key_set):
            with suppress(RotatorError):  # the reason why the store could not is told already
                self.keeper.keep(ledger)
        with self.lock:
            self._synced(key_set, case)

    def _tell(self, key_set: str, case: Case, reason: str, hint: str) -> None:
        if case.said != reason:
            case.said = reason
            self._emit("warning", "notification.unsaved", key_set=key_set, reason=reason, hint=hint)


def _same(unsaved: Sequence[Change], written: Sequence[Change]) -> int:
    """Return how many of the changes were written: none, if they were put together meanwhile."""
    return len(written) if tuple(unsaved[: len(written)]) == tuple(written) else 0
