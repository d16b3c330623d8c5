"""One configuration document: what it holds, and where each value of it was written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from rotator.errors import ConfigError
from rotator.settings.faults import Fault, Path, Place

MAX_BYTES: Final = 1 << 20
"""No configuration, and no file of `key_sets_dir`, is larger."""

MAX_DEPTH: Final = 32
"""No configuration is nested deeper; the deepest that means anything is 6."""

Lines = dict[Path, int]


class Document:
    """A parsed file, with the environment laid over it.

    Args:
        file: the name to show in faults.
        data: what the file holds.
        lines: finds the line of every path. Called once and only when a line is asked for: for JSON and
            TOML that is a second pass which a configuration without faults never needs.
        prefix: the path at which this document belongs: `("key_sets", "web")` for a file of
            `key_sets_dir`, nothing for the configuration itself.
    """

    def __init__(
        self, file: str, data: dict[str, Any], lines: Callable[[], Lines], prefix: Path = ()
    ) -> None:
        self.file = file
        self.data = data
        self.prefix = prefix
        self._find_lines: Callable[[], Lines] | None = lines
        self._lines: Lines = {}
        self._variables: dict[Path, str] = {}

    def override(self, path: Path, value: object, variable: str) -> bool:
        """Set the value of a path from an environment variable; False if a value in between is no mapping."""
        at: Any = self.data
        for part in path[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                return False
        at[path[-1]] = value
        self._variables[path] = variable
        return True

    def place(self, path: Path) -> Place:
        """Return where the value of a path was written, or what is nearest above it."""
        if self._find_lines is not None:
            self._lines, self._find_lines = self._find_lines(), None
        if path not in self._lines:
            # A section that only the environment made.
            for below, variable in self._variables.items():
                if below[: len(path)] == path:
                    return Place(self.file, variable=variable)
        for length in range(len(path), -1, -1):
            above = path[:length]
            if above in self._variables:
                return Place(self.file, variable=self._variables[above])
            if line := self._lines.get(above):
                return Place(self.file, line)
        return Place(self.file)

    def has(self, path: Path) -> bool:
        """Tell whether the document says anything at a path."""
        at: Any = self.data
        for part in path:
            try:
                at = at[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def fault(self, path: Path, text: str, *, at: Path | None = None) -> Fault:
        """Return a fault at a path of this document; `at` is where to point instead."""
        return Fault(self.place(path if at is None else at), self.prefix + path, text)


def decode(content: bytes, file: str) -> str:
    """Return the text of a file, after everything that can be refused without parsing it.

    Raises:
        ConfigError: too large, empty, binary, or nested too deeply.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{file}: is larger than {MAX_BYTES >> 20} MiB",
            hint="a fleet keeps one key set per file in `key_sets_dir`",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: is not text in UTF-8 (byte {error.start})",
            hint="is this the configuration file? if so, save it as UTF-8",
        ) from None
    if control := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(
            f"{file}:{line}: holds the control character {control[0]!r}",
            hint="is this the configuration file? a file full of NUL bytes comes from a crash while it was written",
        )
    if not re.search(r"^[^\S\n]*[^\s#]", text, re.MULTILINE):
        raise ConfigError(
            f"{file}: is empty", hint="`rotator init` writes a configuration to start from"
        )
    if deep := too_deep(text):
        raise ConfigError(
            f"{file}:{deep}: is nested more than {MAX_DEPTH} levels deep",
            hint="look for brackets that are never closed, or for indentation gone astray",
        )
    return text


def too_deep(text: str) -> int | None:
    """Return the line at which a document becomes too deep, looking only at brackets and indentation.

    Brackets in quotes and comments count too. That errs on the side of refusing, and only for a document
    that leaves more than `MAX_DEPTH` of them open.
    """
    depth, columns = 0, [0]
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            if character in "[{":
                depth += 1
                if depth > MAX_DEPTH:
                    return number
            elif character in "]}" and depth:
                depth -= 1
        if _indented(line, columns) > MAX_DEPTH:
            return number
    return None


def _indented(line: str, columns: list[int]) -> int:
    """Follow the indentation of YAML's blocks, `- - - x` included; return how deep they are."""
    body = line.lstrip(" \t")
    if not body or body.startswith("#"):
        return len(columns)
    column = len(line) - len(body)
    while True:
        while len(columns) > 1 and columns[-1] >= column:
            columns.pop()
        if column > columns[-1]:
            columns.append(column)
        marker = re.match(r"[-?:][ \t]+", body)
        if marker is None or len(columns) > MAX_DEPTH:
            return len(columns)
        column += marker.end()
        body = body[marker.end() :]
