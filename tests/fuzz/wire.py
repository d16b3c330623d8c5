"""What a server may say: the answers it gives to honest requests, and not one byte besides.

An answer that was never seen in an honest conversation is a finding. That is stricter than to look for
reflected input, injected headers or a status of 500 one by one, and finds all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_DATE: Final = re.compile(
    rb"date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
)
_CONNECTION: Final = re.compile(rb"connection: (close|keep-alive)")
_REMEMBERED: Final = 4096
_END: Final = b"\r\n\r\n"


class Finding(AssertionError):
    """The server did what it must not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response: its head without what differs between two of the same, and whether a body came."""

    head: bytes
    with_body: bool

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head[9:12])


@dataclass(slots=True)
class Known:
    """The honest answers, learned before the attack.

    Attributes:
        volatile: the media types whose bodies differ from one time to the next (metrics).
    """

    volatile: tuple[bytes, ...] = ()
    _bodies: dict[bytes, bytes | None] = field(default_factory=dict)
    _normal: dict[bytes, bytes] = field(default_factory=dict)

    def learn(self, raw: bytes) -> Answer:
        """Take one whole response, as a connection that then ended gave it."""
        head, end, body = raw.partition(_END)
        if not end:
            raise Finding(f"an honest request got {raw!r}")
        normal = self._normalised(head)
        if self._is_volatile(normal):
            self._bodies[normal] = None
        elif body or normal not in self._bodies:
            self._bodies[normal] = body
        return Answer(normal, bool(body))

    def read(self, raw: bytes, *, whole: bool) -> list[Answer]:
        """Take a conversation apart.

        Args:
            raw: all that the server said.
            whole: the end was orderly, so the last response must be there to its last byte.

        Raises:
            Finding: anything but a row of honest answers.
        """
        answers: list[Answer] = []
        at = 0
        while at < len(raw):
            end = raw.find(_END, at)
            if end < 0:
                break
            head, at = self._normalised(raw[at:end]), end + len(_END)
            if head not in self._bodies:
                raise Finding(
                    f"an answer that no honest request gets: {raw[max(at - 600, 0) : at + 200]!r}"
                )
            length = self._length(head, raw, at)
            if at + length > len(raw):
                at = end
                break
            answers.append(Answer(head, length > 0))
            at += length
        if at < len(raw) and whole:
            raise Finding(f"the last answer is cut off, or is none: {raw[at : at + 400]!r}")
        return answers

    def _length(self, head: bytes, raw: bytes, at: int) -> int:
        """Return how many bytes at `at` are the body of this answer; none if a HEAD was answered."""
        if at == len(raw) or raw.startswith(b"HTTP/1.", at):
            return 0
        body = self._bodies[head]
        if body is None:
            match = re.search(
                rb"content-length: (\d+)", raw[raw.rfind(b"HTTP/1.", 0, at) : at].lower()
            )
            if match is None:
                raise Finding("a body without a length")
            return int(match[1])
        present = raw[at : at + len(body)]
        if present == body or (body.startswith(present) and at + len(present) == len(raw)):
            return len(body)
        raise Finding(f"a body that no honest request gets: {raw[at : at + 300]!r}")

    def _normalised(self, head: bytes) -> bytes:
        known = self._normal.get(head)
        if known is None:
            known = _normalise(head, self.volatile)
            if len(self._normal) >= _REMEMBERED:
                self._normal.clear()
            self._normal[head] = known
        return known

    def _is_volatile(self, head: bytes) -> bool:
        return any(b"content-type: " + media in head for media in self.volatile)


def _normalise(head: bytes, volatile: tuple[bytes, ...]) -> bytes:
    first, *lines = head.split(b"\r\n")
    if first[:8] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise Finding(f"no status line: {first[:200]!r}")
    kept = [b"HTTP/1.x" + first[8:]]
    lines = [
        name.lower() + colon + rest for name, colon, rest in (x.partition(b":") for x in lines)
    ]
    changing = any(line.startswith(b"content-type: " + m) for m in volatile for line in lines)
    dates = 0
    for line in lines:
        if line.startswith(b"date:"):
            dates += 1
            if not _DATE.fullmatch(line):
                raise Finding(f"no date: {line[:200]!r}")
        elif line.startswith(b"connection:"):
            if not _CONNECTION.fullmatch(line):
                raise Finding(f"an unknown connection option: {line[:200]!r}")
        elif not (changing and line.startswith(b"content-length:")):
            kept.append(line)
    if dates > 1:
        raise Finding("two dates in one answer")
    return b"\r\n".join(kept)
