"""What goes to the terminal: results on stdout, refusals and questions on stderr, colour only where wanted."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from shlex import quote
from typing import Any, Final, TextIO

import click

from rotator.errors import RotatorError, UsageError

# A command in a hint; what makes or describes a configuration reads none, nor does `rotator --help`.
_COMMAND: Final = re.compile(r"`(rotator (?!init|config schema)[a-z][^`]*)`")


class Console:
    """Prints for one command.

    Args:
        options: what was said for all commands, see `rotator.cli.options.Options`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.json = bool(options.get("json"))
        self._color = options.get("color") or "auto"
        self._config = options.get("config")

    def say(self, text: str = "") -> None:
        """Print one line of the result for people; nothing with `--json`."""
        if not self.json:
            _write(sys.stdout, text)

    def document(self, content: Mapping[str, Any]) -> None:
        """Print the result for programs; nothing without `--json`."""
        if self.json:
            _write(sys.stdout, json.dumps(content, indent=2, ensure_ascii=False))

    def tell(self, text: str) -> None:
        """Print a line for people that is not the result."""
        if not self.json:
            _write(sys.stderr, text)

    def refuse(self, error: RotatorError) -> None:
        """Print what went wrong and the way out, on stderr."""
        if self.json:
            _write(
                sys.stderr, json.dumps({"format": "rotator.error/1", "error": error_view(error)})
            )
            return
        _write(sys.stderr, f"rotator: {self.paint('error', 'red', sys.stderr)}: {error.message}")
        if error.hint:
            _write(
                sys.stderr,
                f"rotator: {self.paint('hint', 'cyan', sys.stderr)}: {self.hint(error.hint)}",
            )

    def hint(self, text: str) -> str:
        """Return a hint whose commands can be typed as they stand: with the `--config` of this run."""
        if self._config is None:
            return text
        named = f" --config {quote(str(self._config))}`"
        return _COMMAND.sub(
            lambda found: found[0] if "--help" in found[1] else f"`{found[1]}{named}", text
        )

    def paint(self, text: str, color: str, stream: TextIO | None = None) -> str:
        """Return a text in a colour if the stream, stdout unless named, shows colours."""
        wanted = self._colored(stream or sys.stdout)
        return click.style(text, fg=color) if wanted else text

    def _colored(self, stream: TextIO) -> bool:
        if self._color != "auto":
            return bool(self._color == "always")
        # https://no-color.org: present and not empty, whatever the value.
        return stream.isatty() and not os.environ.get("NO_COLOR")

    def table(self, rows: Iterable[Sequence[str]], indent: str = "  ") -> None:
        """Print rows with their columns aligned."""
        lines = [tuple(row) for row in rows]
        if self.json or not lines:
            return
        widths = [max(len(row[i]) for row in lines if i < len(row)) for i in range(len(lines[0]))]
        for row in lines:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            self.say((indent + "  ".join(cells)).rstrip())

    def confirm(self, statement: Sequence[str], *, yes: bool, word: str) -> None:
        """Say what will happen, and ask for it unless `--yes` was given.

        Args:
            word: what has to be typed, so that a slip of the hand is not enough.

        Raises:
            UsageError: nobody is there to be asked, or the answer is another one; nothing was changed.
        """
        for line in statement:
            self.tell(line)
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            # With --json the statement was not printed; it belongs to the refusal then.
            what = f": {'; '.join(statement)}" if self.json else ""
            raise UsageError(
                f"this needs a confirmation{what}",
                hint="nothing was changed; add `--yes` if that is what you want",
            )
        try:
            answer = click.prompt(
                f"Type the word {word} to go on", default="", show_default=False, err=True
            )
        except OSError:  # the terminal went away
            answer = ""
        if answer.strip() != word:
            raise UsageError("not confirmed, nothing was changed")


def error_view(error: RotatorError) -> dict[str, Any]:
    """Return an error as programs read it."""
    return {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}


unwritten: Final[list[OSError]] = []
"""Why output of this process got lost, for whoever ends it."""


def unwritable(error: OSError) -> RotatorError:
    """Say that the output could not be written; exit code 1."""
    return RotatorError(
        f"the output cannot be written: {error.strerror or type(error).__name__}",
        hint="what the command did is done; `rotator status` shows it",
    )


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        # Nobody reads any more. What the command does, and its exit code, are not the reader's business.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as error:
        # A full disk behind `>`, say. What the command does goes on; its end says so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        unwritten.append(error)
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode() + "\n")
