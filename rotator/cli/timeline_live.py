"""The timeline where `rotator status` shows it: once on a terminal, or live with `--watch`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.cli.console import Console
    from rotator.reconcile.site import Site
    from rotator.ring import KeyRing

Found = TypeVar("Found")

EVERY: Final = timedelta(seconds=5)
"""Between two looks of `--watch`: each reads every ring that is shown, and some stores ask money for that."""

_SLICE: Final = timedelta(seconds=0.5)  # a terminal that changed its size is drawn anew as soon

# ECMA-48 and xterm: the other screen and back, lines that do not wrap, home, the rest of a line or screen away.
_ENTER: Final = "\x1b[?1049h\x1b[?7l"
_LEAVE: Final = "\x1b[?7h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


def show(console: Console, site: Site, ring: KeyRing, now: datetime, *, foretold: bool) -> None:
    """Draw the timeline of a key set if stdout is a terminal; a pipe and `--json` get what they always did.

    Args:
        foretold: False where what comes cannot be told.
    """
    if console.json or not ring.revision or not sys.stdout.isatty():
        return
    from rotator.cli.reading import kinds_of
    from rotator.cli.timeline import draw, glyphs_for
    from rotator.timeline import pictured

    picture = pictured(ring, site.policy, now, kinds_of(site), foretold=foretold)
    columns, glyphs = shutil.get_terminal_size().columns, glyphs_for(sys.stdout.encoding)
    for line in draw(picture, columns, glyphs, console.paint):
        console.say(line)


def watch(console: Console, look: Callable[[], Found], pause: Callable[[timedelta], None]) -> Found:
    """Show what a look prints, again and again on one screen, until Ctrl-C or SIGTERM ends the process.

    Args:
        look: prints what is to be seen, on stdout and stderr.
        pause: lets time pass.

    Raises:
        UsageError: there is no terminal; nothing was read.
    """
    screen = sys.stdout
    if console.json or not screen.isatty():
        raise UsageError(
            "--watch shows one screen again and again, and there is no terminal",
            hint="leave it out and run `rotator status` as often as you like; or scrape the metrics of `rotator run`",
        )
    _write(screen, _ENTER)
    try:
        while True:
            _write(screen, _HOME + _fitting(_frame(look, screen)))
            _wait(pause)
    finally:
        _write(screen, _LEAVE)


class _Frame(StringIO):
    """Takes what is printed for a terminal, so that it appears all at once."""

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self._encoding = screen.encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stubs; read-only here
        return self._encoding

    def isatty(self) -> bool:
        return True


def _frame(look: Callable[[], object], screen: TextIO) -> str:
    frame = _Frame(screen)
    with redirect_stdout(frame), redirect_stderr(frame):
        look()
    return frame.getvalue()


def _fitting(text: str) -> str:
    """Return the lines that the screen has room for, each ending in what clears what was there before."""
    rows = shutil.get_terminal_size().lines
    lines = text.splitlines()
    if len(lines) >= rows:
        left = len(lines) - (rows - 2)
        lines = [*lines[: rows - 2], f"… {left} more lines: name the key set that you want to see"]
    return "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN


def _wait(pause: Callable[[timedelta], None]) -> None:
    """Wait for the next look, less long when the terminal changes its size."""
    size, left = shutil.get_terminal_size(), EVERY
    while left > timedelta(0) and shutil.get_terminal_size() == size:
        pause(min(left, _SLICE))
        left -= _SLICE


def _write(screen: TextIO, text: str) -> None:
    encoding = screen.encoding or "ascii"
    screen.write(text.encode(encoding, "replace").decode(encoding))
    screen.flush()
