"""How far something long has come, on one line of a terminal; nowhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rotator.cli.console import Console

_WIDTH: Final = 24
_COLUMNS: Final = 79
_EVERY: Final = 0.1  # seconds
_CLEAR: Final = "\r\x1b[K"  # to the line's beginning, and the line away


class Progress:
    """One line on stderr that is written over, and gone at the end; nothing when stderr is no terminal.

    Args:
        console: with `--json`, nothing is shown either.
        label: what takes so long.
    """

    def __init__(self, console: Console, label: str) -> None:
        self.label = label
        self._shown = not console.json and sys.stderr.isatty()
        self._at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.clear()

    def part(self, done: float) -> None:
        """Show what part is done, from 0 to 1."""
        filled = round(min(max(done, 0.0), 1.0) * _WIDTH)
        self.say(f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done:4.0%}")

    def say(self, text: str) -> None:
        """Show a few words beside the label, not more than ten times a second."""
        now = time.monotonic()
        if not self._shown or now - self._at < _EVERY:
            return
        self._at = now
        self._write(f"{_CLEAR}{f'{self.label} {text}'[:_COLUMNS]}")

    def clear(self) -> None:
        """Take the line away, so that something else can be printed."""
        if self._shown and self._at:
            self._write(_CLEAR)
            self._at = 0.0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal went away; what is done goes on
            sys.stderr.write(text)
            sys.stderr.flush()
