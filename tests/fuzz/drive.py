"""Plays exchanges against a server, many at a time on one thread, and judges what comes back."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.fuzz.shapes import Act, Exchange
from tests.fuzz.wire import Answer, Finding, Known

SMUGGLED_SAID: Final = b"rotator-key-set: smuggled"
FENCE_SAID: Final = b"rotator-key-set: fence"
AT_ONCE: Final = 48
HANG: Final = 30.0  # seconds; a request's head may take 10 s, and the machine may be busy
_NUDGE: Final = (
    0.15  # seconds without an answer after which the client says that it has no more to say
)
_WAIT: Final = 0.004  # seconds between two packets
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
_SHOWN: Final = 5


@dataclass(slots=True)
class Tally:
    """What came of an attack."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many requests were sent."""
        return sum(self.requests.values())

    def add(self, other: Tally) -> None:
        """Count in what came of another part of the attack."""
        self.requests += other.requests
        self.statuses += other.statuses
        self.ends += other.ends
        self.findings += other.findings

    def __str__(self) -> str:
        """Return the report, the first findings in full."""
        lines = [
            f"{self.total} requests, {len(self.findings)} findings",
            f"requests {dict(sorted(self.requests.items()))}",
            f"answers  {dict(sorted(self.statuses.items()))}",
            f"ends     {dict(sorted(self.ends.items()))}",
            *self.findings[:_SHOWN],
        ]
        return "\n".join(lines)


class _Talk:
    """One connection under way."""

    __slots__ = ("at", "exchange", "quiet_at", "said", "since", "sock", "unsent")

    def __init__(self, address: tuple[str, int], exchange: Exchange) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.setblocking(False)
        code = self.sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.sock.close()
            raise Finding(f"no connection to be had: {errno.errorcode.get(code, code)}")
        self.exchange = exchange
        self.at = 0
        self.unsent = memoryview(b"")
        self.said = bytearray()
        self.since = time.monotonic()
        self.quiet_at = (
            0.0  # when the client goes on, or says that it has no more; 0 while it writes
        )


class Driver:
    """The attacker's side.

    Args:
        address: where the server listens.
        known: its honest answers.
        at_once: how many connections at a time.
        hang: seconds after which a connection that goes on is a finding.
    """

    def __init__(
        self,
        address: tuple[str, int],
        known: Known,
        *,
        at_once: int = AT_ONCE,
        hang: float = HANG,
    ) -> None:
        self._address, self._known = address, known
        self._at_once, self._hang = at_once, hang
        self._selector = selectors.DefaultSelector()
        self._talks: dict[int, _Talk] = {}
        self.tally = Tally()

    def run(self, exchanges: Iterable[Exchange]) -> Tally:
        """Play all of them and return what came of it."""
        waiting = iter(exchanges)
        more = True
        looked = time.monotonic()
        while more or self._talks:
            while more and len(self._talks) < self._at_once:
                more = self._begin(waiting)
            for key, events in self._selector.select(0.005):
                talk: _Talk = key.data
                if events & selectors.EVENT_READ and not self._receive(talk):
                    continue
                if events & selectors.EVENT_WRITE:
                    self._write(talk)
            now = time.monotonic()
            if now - looked >= 0.002:
                looked = now
                for talk in list(self._talks.values()):
                    self._look(talk, now)
        self._selector.close()
        return self.tally

    def _begin(self, waiting: Iterator[Exchange]) -> bool:
        exchange = next(waiting, None)
        if exchange is None:
            return False
        self.tally.requests[exchange.kind] += exchange.requests
        try:
            talk = _Talk(self._address, exchange)
        except Finding as finding:
            self._found(exchange, str(finding), b"")
            return True
        self._talks[talk.sock.fileno()] = talk
        self._selector.register(talk.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, talk)
        return True

    def _receive(self, talk: _Talk) -> bool:
        """Read what is there; return whether the connection goes on."""
        try:
            data = talk.sock.recv(262_144)
        except BlockingIOError:
            return True
        except ConnectionRefusedError:
            self._found(talk.exchange, "the connection was refused", b"")
            self._end(talk, "refused")
        except OSError:
            self._judge(talk, "reset")
        else:
            if data:
                talk.said += data
                if talk.quiet_at and talk.at == len(talk.exchange.pieces):
                    talk.quiet_at = time.monotonic() + _NUDGE
                return True
            self._judge(talk, "closed")
        return False

    def _write(self, talk: _Talk) -> None:
        pieces = talk.exchange.pieces
        while True:
            if not talk.unsent:
                if talk.at == len(pieces):
                    self._rest(talk)
                    return
                piece = pieces[talk.at]
                talk.at += 1
                if isinstance(piece, Act):
                    self._act(talk, piece)
                    return
                talk.unsent = memoryview(piece)
            try:
                talk.unsent = talk.unsent[talk.sock.send(talk.unsent) :]
            except BlockingIOError:
                return
            except OSError:
                # Closed by the server before the client was done; what it said is still to be read.
                talk.unsent, talk.at = memoryview(b""), len(pieces)
                self._rest(talk)
                return

    def _act(self, talk: _Talk, act: Act) -> None:
        if act is Act.WAIT:
            self._pause(talk, _WAIT)
        elif act is Act.HALF_CLOSE:
            talk.at = len(talk.exchange.pieces)
            self._half_close(talk)
        else:
            if act is Act.RESET:
                talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._judge(talk, act.value)

    def _pause(self, talk: _Talk, seconds: float) -> None:
        talk.quiet_at = time.monotonic() + seconds if seconds else 0.0
        self._selector.modify(talk.sock, selectors.EVENT_READ, talk)

    def _rest(self, talk: _Talk) -> None:
        # A request that is whole, with the fence behind it, is answered without any more of the client.
        self._pause(talk, 0.0 if talk.exchange.least else _NUDGE)

    def _half_close(self, talk: _Talk) -> None:
        with contextlib.suppress(OSError):
            talk.sock.shutdown(socket.SHUT_WR)
        talk.quiet_at = 0.0
        self._selector.modify(talk.sock, selectors.EVENT_READ, talk)

    def _look(self, talk: _Talk, now: float) -> None:
        if talk.quiet_at and now >= talk.quiet_at:
            talk.quiet_at = 0.0
            if talk.at < len(talk.exchange.pieces):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(talk.sock, both, talk)
            else:
                self._half_close(talk)
        elif now - talk.since > self._hang:
            self._found(
                talk.exchange, f"neither answered nor closed in {self._hang:g} s", talk.said
            )
            self._end(talk, "hung")

    def _judge(self, talk: _Talk, end: str) -> None:
        try:
            orderly = end == "closed"
            answers = judge(talk.exchange, bytes(talk.said), self._known, orderly=orderly)
            self.tally.statuses.update(answer.status for answer in answers)
        except Finding as finding:
            self._found(talk.exchange, str(finding), talk.said)
        self._end(talk, end)

    def _end(self, talk: _Talk, end: str) -> None:
        self.tally.ends[end] += 1
        del self._talks[talk.sock.fileno()]
        self._selector.unregister(talk.sock)
        talk.sock.close()

    def _found(self, exchange: Exchange, what: str, said: bytes | bytearray) -> None:
        self.tally.findings.append(
            f"{exchange.kind}: {what}\n  sent {_short(exchange.pieces)}\n  said {bytes(said[:900])!r}"
        )


def judge(exchange: Exchange, said: bytes, known: Known, *, orderly: bool) -> list[Answer]:
    """Return the answers of one connection.

    Args:
        orderly: the server closed it, without a reset: then nothing may be missing.

    Raises:
        Finding: what it said is more, less, or other than it may be.
    """
    answers = known.read(said, whole=orderly)
    if SMUGGLED_SAID in said:
        raise Finding("a smuggled request was answered")
    if exchange.mark and exchange.mark in said:
        raise Finding("input came back")
    if len(answers) > exchange.most:
        raise Finding(f"{len(answers)} answers to at most {exchange.most} requests")
    if orderly and len(answers) < exchange.least:
        raise Finding(f"{len(answers)} answers to {exchange.least} requests")
    if any(FENCE_SAID in answer.head for answer in answers[:-1]):
        raise Finding("something was answered behind the last request")
    return answers


def _short(pieces: tuple[bytes | Act, ...]) -> str:
    """Return the pieces for a report, long ones cut."""
    return ", ".join(
        piece.name
        if isinstance(piece, Act)
        else repr(piece if len(piece) < 900 else piece[:300] + b"..." + piece[-300:])
        for piece in pieces
    )
