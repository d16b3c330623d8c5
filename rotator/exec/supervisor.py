"""Runs the command with the key that signs, and changes it for the next one; no threads, so that it may fork.

The promise of DESIGN §3 is kept on the signer's side: no process that was given a key goes on with it
after `signer_lag`, counted from when the document before the present one was last seen. That is earlier than
the delivery, so the old command has always ended in time; see `_change`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Final

from rotator.errors import RotatorError, TargetFailing
from rotator.exec import linux
from rotator.exec.document import SigningKey
from rotator.exec.hold import Hold
from rotator.exec.household import Household, Over
from rotator.exec.orders import Orders, duration
from rotator.exec.reader import Reader
from rotator.exec.ready import Wait
from rotator.exec.source import Source
from rotator.exec.terms import Terms
from rotator.reconcile.site import Emit
from rotator.service_manager import Notifier

_PATIENT: Final = frozenset({69, 75})
"""Exit codes of what may pass by itself while the first document is waited for."""

_OFTEN: Final = 60.0  # seconds


class Supervisor:
    """One `rotator exec`.

    Args:
        orders: what to run, and how.
        open_source: makes what is read; called in another process.
        emit: where events go.
    """

    def __init__(self, orders: Orders, open_source: Callable[[], Source], emit: Emit) -> None:
        self._orders, self._open_source, self._emit = orders, open_source, emit
        self._notifier = Notifier()
        self._hold = Hold(lasting=orders.notify_by is not None)
        self._house = Household(orders, emit, self._notifier)
        self._reader: Reader | None = None
        self._reader_died = -math.inf
        self._error: RotatorError | None = None
        self._using: SigningKey | None = None
        self._terms = Terms(orders)

    def run(self) -> int:
        """Run the command until it ends by itself or is asked to; return its exit code (128 + n for a signal).

        Raises:
            CommandError: it cannot be executed (126, 127).
            TargetFailing: it does not become ready with the key that it must use by now.
            RotatorError: there is no first document to start with.
        """
        self._house.enter()
        try:
            self._read(None)
            key = self._first()
            while reason := self._begin(key):
                if self._terms.newest is None or self._terms.newest is key:
                    raise self._not_ready(key, reason)
                key = self._terms.newest
            while True:
                self._until(
                    lambda: self._house.ended or self._terms.due(self._using, linux.now()),
                    self._terms.retry_at,
                )
                if self._house.ended:
                    self._house.sweep()
                    return self._house.exit_code
                if self._terms.due(self._using, linux.now()):
                    self._change()
        except Over as over:
            return over.code
        finally:
            self._house.leave()
            self._hold.close()
            self._guard()
            if self._reader is not None:
                self._reader.close()

    # ---------------------------------------------------------------- reading

    def _read(self, present: SigningKey | None) -> None:
        try:
            self._reader = Reader(self._orders, self._open_source, self._emit, present)
        except OSError:  # no process is left just now
            self._house.turns.later(linux.now() + 1.0, lambda: self._read(self._terms.newest))
            return
        self._house.know(self._reader.pid)
        self._guard()
        self._house.turns.listen(self._reader, self._hear)

    def _hear(self) -> None:
        news = self._reader.receive() if self._reader is not None else None
        if news is None:
            self._bury_reader()
        elif news.key is None:
            self._error = news.error
        else:
            self._terms.take(news.key, news.since, self._using)
            self._error = None

    def _bury_reader(self) -> None:
        if self._reader is not None:
            self._house.turns.unlisten(self._reader)
            self._reader.close()
            self._reader = None
        hint = "another one is started; memory that ran out shows in the kernel log"
        self._emit("error", "exec.reader_died", key_set=self._orders.key_set, hint=hint)
        # One that dies at once must not be started again and again.
        now = linux.now()
        delay = self._orders.every if now - self._reader_died < _OFTEN else 0.0
        self._reader_died = now
        self._house.turns.later(now + delay, lambda: self._read(self._terms.newest))

    def _first(self) -> SigningKey:
        """Wait for the first document, as long as that is worth it."""

        def hopeless() -> bool:
            return self._error is not None and self._error.exit_code not in _PATIENT

        self._notifier.status(f"waiting for a key of {self._orders.key_set}")
        until = linux.now() + self._orders.wait
        self._until(lambda: self._terms.newest is not None or hopeless(), until)
        if self._terms.newest is not None:
            return self._terms.newest
        raise self._error or TargetFailing(
            f"the signing document of key set {self._orders.key_set} was not read within "
            f"{duration(self._orders.wait)}",
            hint="is its store slow? --wait says how long to wait",
        )

    # ---------------------------------------------------------------- the command

    def _until(self, true: Callable[[], bool], until: float = math.inf) -> bool:
        """Serve signals, children and the reader until something holds, or the time has come."""
        while not true():
            if linux.now() >= until:
                return False
            self._house.turn(until)
        return True

    def _begin(self, key: SigningKey) -> str:
        """Start the command with a key and wait until it is ready; return why not, empty when it is.

        It does not run any more when it is not ready.

        Raises:
            Over: it was asked to end, or the very first one ended by itself.
            CommandError: the very first one cannot be executed.
        """
        first = self._using is None
        wait = Wait(self._orders.ready)
        try:
            self._house.start(key, self._hold, wait)
            self._guard()
            while not self._house.ended and not wait.over():
                # A key that was replaced while the command started is not waited for any longer than it may be used.
                until = min(wait.until, self._terms.end_at(key))
                if linux.now() >= until:
                    break
                self._house.turn(until)
            self._house.look()  # all may have stood still, in a suspend say: then its end is not known yet
            if wait.over() and not self._house.ended:
                self._welcome(key)
                return ""
            if self._house.ended and (first or self._house.asked):
                self._house.sweep()
                raise Over(self._house.exit_code)
            reason = self._unready(wait)
        except RotatorError as error:
            if first:
                raise
            return error.message
        finally:
            wait.settle()
        self._stop()
        return reason

    def _stop(self) -> None:
        self._house.stop()
        self._guard()

    def _guard(self) -> None:
        if self._reader is not None:
            self._reader.guard(None if self._house.ended else self._house.pid)

    def _unready(self, wait: Wait) -> str:
        if self._house.ended:
            return f"it ended with {self._house.exit_code} before it was ready"
        if linux.now() < wait.until:
            return "it was not ready before the time of this key was over"
        return f"it was not ready within {duration(wait.limit)}"

    def _welcome(self, key: SigningKey) -> None:
        self._using = key
        self._notifier.ready(f"signs with {key.kid} (revision {key.revision})")
        told = {"key_set": key.key_set, "kid": key.kid, "revision": key.revision}
        self._emit("info", "exec.ready", pid=self._house.pid, **told)

    # ---------------------------------------------------------------- promotion

    def _change(self) -> None:
        """Let the command use the newest key.

        Where it does not become ready with it, it is given the one before for as long as that may be used:
        it is published until its grace has passed, and grace counts on `signer_lag`. Before that ends, the
        new key is tried once more; a signer that cannot use it ends, for nothing else is safe.
        """
        before = self._using
        if self._orders.notify_by is not None and self._tell(self._terms.newest):
            return
        self._notifier.reloading()
        self._stop()
        while True:
            wanted = self._terms.newest
            if wanted is None or before is None:  # neither is possible once a command runs
                return
            reason = self._begin(wanted)
            if not reason:
                self._changed(before, wanted, "restart")
                return
            said = "what the command itself said is on the same stream"
            told = {"key_set": wanted.key_set, "kid": wanted.kid}
            self._emit("error", "exec.not_ready", reason=reason, hint=said, **told)
            if self._terms.newest is wanted:
                self._fall_back(before, wanted, reason)
                return

    def _tell(self, key: SigningKey | None) -> bool:
        """Show the new key under the old path and send the signal; False when only a restart helps."""
        if key is None or self._using is None:
            return False
        try:
            if not self._house.show(key, self._hold):
                return False
        except OSError:
            return False  # what stands in the way of it will show again, with its reason
        before, self._using = self._using, key
        self._house.signal(self._orders.notify_by)
        self._notifier.status(f"signs with {key.kid} (revision {key.revision})")
        self._changed(before, key, "signal")
        return True

    def _changed(self, before: SigningKey, key: SigningKey, how: str) -> None:
        self._terms.changed()
        self._emit(
            "info",
            "exec.changed",
            key_set=key.key_set,
            kid=key.kid,
            revision=key.revision,
            replaces=before.kid,
            by=how,
            pid=self._house.pid,
        )

    def _fall_back(self, before: SigningKey, wanted: SigningKey, reason: str) -> None:
        """Start the command with the key before, if there is time for that; end otherwise."""
        end_at = self._terms.end_at(before)
        left = end_at - linux.now()
        if not self._orders.fall_back or left <= 0:
            raise self._not_ready(wanted, reason)
        self._emit(
            "error",
            "exec.fell_back",
            key_set=wanted.key_set,
            kid=before.kid,
            seconds=round(left),
            hint=f"mend it until then: {wanted.kid} is tried once more, and then this ends",
        )
        self._terms.failed(wanted, end_at)
        again = self._begin(before)
        if again:
            raise self._not_ready(before, again)
        self._notifier.status(f"FELL BACK to {before.kid} for {round(left)} s: {reason}")

    def _not_ready(self, key: SigningKey, reason: str) -> TargetFailing:
        return TargetFailing(
            f"{os.fsdecode(self._orders.command[0])} does not become ready with key {key.kid} of key set "
            f"{key.key_set}: {reason}",
            hint="it does not run any more, for no other key may be used now; what it said itself is above",
        )
