"""The command, what it leaves behind, and the signals: the part of the supervisor that knows no keys' lives."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from typing import Final

from rotator.errors import TargetFailing
from rotator.exec import child, linux
from rotator.exec.document import SigningKey, render
from rotator.exec.handing import environment, sealed_file, words
from rotator.exec.hold import Hold
from rotator.exec.orders import Orders
from rotator.exec.ready import Wait
from rotator.exec.turns import Turns
from rotator.reconcile.site import Emit
from rotator.service_manager import Notifier

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_SWEEP: Final = 0.05  # seconds between two looks for what was left behind


class Over(Exception):
    """All is over: with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Household:
    """At most one command at a time, and all processes that come from it.

    Args:
        orders: what to run, and how it is ended.
        emit: where events go.
        notifier: whose watchdog is fed.
    """

    def __init__(self, orders: Orders, emit: Emit, notifier: Notifier) -> None:
        self._orders, self._emit, self._notifier = orders, emit, notifier
        self.pid: int | None = None
        self.ended = True
        self.exit_code = 0
        self.asked: signal.Signals | None = None
        """The signal with which somebody asked all of this to end."""
        self._kill_at = math.inf
        self._helpers: set[int] = set()
        self._wait: Wait | None = None
        self._foreground = False
        self.turns = Turns(self._pass_on, self._reap)

    # ---------------------------------------------------------------- this process

    def enter(self) -> None:
        """Take over signals and orphans. Raises OSError."""
        linux.adopt_orphans()
        self._foreground = _has_terminal()
        self.turns.enter()
        self._feed()

    def leave(self) -> None:
        """End whatever still runs, and give signals and terminal back."""
        try:
            with contextlib.suppress(Over):
                self._end_all(linux.now())
        finally:
            self._listen_to(None)
            self._terminal_to(os.getpgrp())
            self.turns.leave()

    def _feed(self) -> None:
        """Feed the service manager's watchdog for as long as the turns go on."""
        every = self._notifier.watchdog_every
        if every is not None:
            self._notifier.alive()
            self.turns.later(linux.now() + every.total_seconds(), self._feed)

    def _listen_to(self, wait: Wait | None) -> None:
        """Hear what a command says, from its start to its end: it may go on to say how it is."""
        if self._wait is not None:
            if self._wait.socket is not None:
                self.turns.unlisten(self._wait.socket)
            self._wait.close()
        self._wait = wait
        if wait is not None and wait.socket is not None:
            self.turns.listen(wait.socket, wait.hear)

    def turn(self, until: float = math.inf) -> None:
        """Wait for whatever comes next, but not longer than until some time, and deal with it. Raises Over."""
        self.turns.turn(min(until, self._kill_at))
        if linux.now() >= self._kill_at and not self.ended:
            self._kill("it was asked to end and did not")

    def look(self) -> None:
        """See who ended, told of it or not."""
        self._reap()

    def _pass_on(self, number: signal.Signals) -> None:
        if number in _ENDING:
            self.asked = self.asked or number
            self._kill_at = min(self._kill_at, linux.now() + self._orders.stop_timeout)
            if self.ended and self.pid is None:
                raise Over(128 + number)
        self.signal(number)

    def raise_if_asked(self) -> None:
        """End here if somebody asked for it while no command ran. Raises Over."""
        if self.asked is not None:
            raise Over(128 + self.asked)

    # ---------------------------------------------------------------- the command

    def start(self, key: SigningKey, hold: Hold, wait: Wait) -> None:
        """Start the command with a key.

        Raises:
            Over: somebody asked for the end.
            CommandError: it cannot be executed.
            TargetFailing: no process, memory or descriptor is left.
        """
        self.raise_if_asked()
        try:
            self._start(key, hold, wait)
        except OSError as error:
            raise TargetFailing(
                f"{self._orders.command[0]!r} cannot be started: {os.strerror(error.errno or 0).lower()}",
                hint="are there limits on processes, memory or open files?",
            ) from error
        self._emit(
            "info",
            "exec.started",
            key_set=key.key_set,
            kid=key.kid,
            revision=key.revision,
            pid=self.pid,
        )

    def _start(self, key: SigningKey, hold: Hold, wait: Wait) -> None:
        orders = self._orders
        descriptor = None if orders.file == "none" else sealed_file(render(key, orders.file))
        try:
            path = ""
            if descriptor is not None:
                self._show(descriptor, hold)
                path = hold.path()
            made = environment(orders, key, path, os.environ) | wait.environ
            self._listen_to(wait)
            self.pid = child.start(
                words(orders, path),
                made,
                None if hold.lasting else descriptor,
                ended_by=orders.stop_signal,
                foreground=self._foreground,
            )
        finally:
            if descriptor is not None:
                os.close(descriptor)
        self.ended, self._kill_at = False, math.inf
        wait.begin()
        self.know(wait.pid)

    def show(self, key: SigningKey, hold: Hold) -> bool:
        """Let the command find another key at the same path; False when that path is lost. Raises OSError."""
        descriptor = sealed_file(render(key, self._orders.file))
        try:
            return self._show(descriptor, hold)
        finally:
            os.close(descriptor)

    def _show(self, descriptor: int, hold: Hold) -> bool:
        try:
            return hold.show(descriptor)
        finally:
            self.know(hold.pid)

    def know(self, pid: int | None) -> None:
        """Take a process for one of ours, which the end of a command leaves alone."""
        if pid is not None:
            self._helpers.add(pid)

    def signal(self, number: signal.Signals | None) -> None:
        """Send the command a signal, if it runs."""
        if number is not None and self.pid is not None and not self.ended:
            os.kill(self.pid, number)  # not reaped yet, so the number is its own

    def stop(self) -> None:
        """End the command and all that came from it; kill what takes longer than `stop_timeout`.

        Raises:
            Over: somebody asked for the end meanwhile.
        """
        until = linux.now() + self._orders.stop_timeout
        if not self.ended:
            self.signal(self._orders.stop_signal)
            self._kill_at = min(self._kill_at, until)
            while not self.ended:
                self.turn()
        self.sweep(until)
        self._listen_to(None)
        self._terminal_to(os.getpgrp())
        if self.asked is not None:
            raise Over(self.exit_code)
        self.pid = None

    def sweep(self, until: float | None = None) -> None:
        """End what a command left behind when it ended: it has the key too.

        Args:
            until: when what is left is killed; after `stop_timeout` when left out.
        """
        self._end_all(linux.now() + self._orders.stop_timeout if until is None else until)

    def _end_all(self, until: float) -> None:
        if not self.ended:
            self._kill("this program ends")
            while not self.ended:
                self.turn()
        asked: set[int] = set()
        while left := self._strangers():
            late = linux.now() >= until
            for pid in left:
                if late or pid not in asked:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if late else self._orders.stop_signal)
                    asked.add(pid)
            self.turn(linux.now() + _SWEEP)

    def _strangers(self) -> list[int]:
        """Return orphans that came to us: an orphan's own children come when it has ended."""
        self._reap()
        known = self._helpers
        return [pid for pid in linux.children() if pid not in known]

    def _kill(self, why: str) -> None:
        self._kill_at = math.inf
        if self.pid is None:
            return
        self._emit("warning", "exec.killed", key_set=self._orders.key_set, pid=self.pid, reason=why)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.signal(signal.SIGKILL)  # in case that it left its group

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                self._stopped(pid)
                continue
            self._helpers.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            if pid == self.pid:
                self.ended, self.exit_code = True, 128 - code if code < 0 else code
                self._kill_at = math.inf
            elif self._wait is not None:
                self._wait.ended(pid, status)

    # ---------------------------------------------------------------- the terminal

    def _stopped(self, pid: int) -> None:
        """Let the shell see a Ctrl-Z: stop with the command, and let it go on when we do."""
        if pid != self.pid or not self._foreground:
            return
        self._terminal_to(os.getpgrp())
        os.kill(os.getpid(), signal.SIGSTOP)
        self._foreground = _has_terminal()  # `fg`, or `bg`
        self._terminal_to(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)

    def _terminal_to(self, group: int) -> None:
        if self._foreground:
            with contextlib.suppress(OSError):  # it hung up
                os.tcsetpgrp(0, group)


def _has_terminal() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
