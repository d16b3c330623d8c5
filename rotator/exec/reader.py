"""The process that reads the document, so that a store that hangs holds up no signal and no command."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NoReturn

from rotator.errors import RotatorError, StoreCorrupt, TargetFailing
from rotator.exec import child, linux
from rotator.exec.document import SigningKey, check_follows, parse
from rotator.exec.orders import Orders
from rotator.exec.source import Source
from rotator.reconcile.site import Emit

_GLANCE: Final = 0.25  # seconds between two looks at the mark of a directory
_IMPATIENT: Final = 2.0  # seconds between two reads while there is no document yet
_SLICE: Final = 0.05  # seconds
_ALONE: Final = signal.SIGUSR2
_LARGEST: Final = 1 << 18  # bytes of a message: twice the largest document, for JSON escapes


@dataclass(frozen=True, slots=True)
class News:
    """What the reader says.

    Attributes:
        key: the newest document, when it is another one.
        since: when the document before was last seen: the new one was delivered after that. None when it
            never was. On the clock of `linux.now`.
        error: why there is no document, while there is none.
    """

    key: SigningKey | None = None
    since: float | None = None
    error: RotatorError | None = None


class Reader:
    """The supervisor's side.

    Args:
        orders: what is read, and how often.
        open_source: makes the source, in the other process.
        emit: where the other process says what goes wrong.
        present: the newest document so far, when a reader died and this one takes its place.
    """

    def __init__(
        self,
        orders: Orders,
        open_source: Callable[[], Source],
        emit: Emit,
        present: SigningKey | None = None,
    ) -> None:
        self._key_set = orders.key_set
        # Messages, not a stream; and no message is longer than what the kernel buffers at once.
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        work = _Work(orders, emit, theirs, present)
        with theirs:
            self.pid = child.fork(lambda: work.run(open_source), theirs.fileno(), ended_by=_ALONE)

    def fileno(self) -> int:
        """The descriptor that is readable when there is news."""
        return self._channel.fileno()

    def receive(self) -> News | None:
        """Return what it said; None when it ended."""
        try:
            said = self._channel.recv(_LARGEST)
        except ConnectionError:
            said = b""
        if not said:
            return None
        message: dict[str, Any] = json.loads(said)
        if "body" in message:
            return News(parse(message["body"].encode(), self._key_set), message["since"])
        return News(error=_error(message))

    def guard(self, pid: int | None) -> None:
        """Name the command that runs, whose group the other process ends if this one is killed; None: it ended."""
        # When it is gone, its end is found soon enough.
        with contextlib.suppress(OSError):
            self._channel.send(b"%d" % (pid or 0))

    def close(self) -> None:
        """Let it end."""
        self._channel.close()


def _error(message: dict[str, Any]) -> RotatorError:
    error = RotatorError(message["message"], hint=message["hint"])
    error.exit_code = message["exit_code"]
    return error


class _Work:
    """The other process's side."""

    def __init__(
        self, orders: Orders, emit: Emit, channel: socket.socket, present: SigningKey | None
    ) -> None:
        self._orders, self._emit, self._channel = orders, emit, channel
        self._present = present
        self._told = ""
        self._seen: float | None = None
        self._blind = False
        self._group = 0

    def run(self, open_source: Callable[[], Source]) -> None:
        """Read again and again, until the supervisor is gone; if it was killed, end what it left running."""
        signal.signal(_ALONE, _alone)
        with contextlib.suppress(_Alone):
            self._go_on(open_source)
        signal.signal(_ALONE, signal.SIG_IGN)
        self._listen(0.0)  # what was still on its way: that the command had ended, most of all
        self._end_group()

    def _end_group(self) -> None:
        """End the command's group, so that nobody goes on with a key that nobody replaces."""
        if not self._group:
            return
        until = linux.now() + self._orders.stop_timeout
        number = int(self._orders.stop_signal)
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.killpg(self._group, number)
                number = 0 if linux.now() < until else signal.SIGKILL  # 0 asks whether it is there
                time.sleep(_SLICE)

    def _go_on(self, open_source: Callable[[], Source]) -> None:
        source: Source | None = None
        mark: object = None
        while True:
            began = linux.now()
            try:
                source = source or open_source()
                mark = source.mark()
                self._read(source, began)
            except RotatorError as error:
                self._trouble(error)
            except Exception as error:  # noqa: BLE001 - the command goes on, whatever is wrong here
                self._trouble(_unexpected(error))
            if not self._pause(began, source, mark):
                return

    def _read(self, source: Source, began: float) -> None:
        body = source.read()
        if body is None:
            raise TargetFailing(
                f"there is no signing document of key set {self._orders.key_set} at {source.name}",
                hint="`rotator rotate` or `rotator run` puts it there with the first key",
            )
        found = parse(body, self._orders.key_set)
        check_follows(found, self._present)
        if not found.is_key_of(self._present):
            self._say(body=found.body.decode(), since=self._seen)
        self._present, self._seen = found, began
        if self._told:
            self._emit("warning", "exec.healed", key_set=self._orders.key_set, target=source.name)
        self._told, self._blind = "", False

    def _trouble(self, error: RotatorError) -> None:
        if self._present is None:
            # Waiting for it is the supervisor's business.
            said = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
            self._say(**said)
            return
        if str(error) != self._told:
            self._told = str(error)
            self._emit(
                "warning",
                "exec.kept",
                key_set=self._orders.key_set,
                kid=self._present.kid,
                reason=error.message,
                hint=error.hint,
            )
        self._warn_of_blindness()

    def _warn_of_blindness(self) -> None:
        lag = self._orders.signer_lag
        if self._blind or self._seen is None or linux.now() - self._seen < lag:
            return
        self._blind = True
        self._emit(
            "error",
            "exec.blind",
            key_set=self._orders.key_set,
            kid=self._present.kid if self._present else None,
            reason="the document could not be read for longer than signer_lag",
            hint="if a key was promoted meanwhile, tokens signed now are rejected once this one is retired",
        )

    def _pause(self, began: float, source: Source | None, mark: object) -> bool:
        """Wait until it is time to read again; False when the supervisor is gone."""
        every = self._orders.every
        if self._present is None:
            every = min(every, _IMPATIENT)
        until = began + every * random.uniform(0.9, 1.0)  # noqa: S311 - jitter, never later
        while (left := until - linux.now()) > 0:
            wait = left if mark is None else min(left, _GLANCE)
            if not self._listen(wait):
                return False
            if source is not None and mark is not None and source.mark() != mark:
                return True
        return self._listen(0.0)

    def _listen(self, wait: float) -> bool:
        """Hear which group the command is; False when the supervisor is gone."""
        while select.select([self._channel], [], [], wait)[0]:
            said = self._channel.recv(64)
            if not said:
                return False
            self._group, wait = int(said), 0.0
        return True

    def _say(self, **message: Any) -> None:
        # The supervisor is gone when it cannot be told; the next pause ends this process.
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(message).encode())


def _unexpected(error: Exception) -> RotatorError:
    # Not its text: that may quote what was read.
    return StoreCorrupt(
        f"unexpected {type(error).__name__} while the signing document was read",
        hint="this is a fault of the program; please report it",
    )


class _Alone(BaseException):
    """The supervisor was killed. No `Exception`: no call to a store may take it for a failure of its own."""


def _alone(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Alone
