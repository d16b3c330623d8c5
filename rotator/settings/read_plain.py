"""JSON and TOML: parsed by the standard library, and lines found by a second pass only when needed."""

from __future__ import annotations

import re
from typing import Any, Final

from rotator.errors import ConfigError
from rotator.settings.document import MAX_DEPTH, Document, Lines
from rotator.settings.faults import Fault, Path, Place

_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|\n|[^\s{}\[\]:,"]+')
_TOML_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_TOML_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_TOML_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def read_json(text: str, file: str, faults: list[Fault], prefix: Path = ()) -> Document:
    """Parse a JSON document (RFC 8259) that has one object at its top.

    Args:
        faults: where duplicate names are added; they do not stop the reading.

    Raises:
        ConfigError: it is not JSON, or not one object.
    """
    import json

    duplicates: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(items)
        if len(values) < len(items):
            names = [name for name, _ in items]
            duplicates.extend(name for name in values if names.count(name) > 1)
        return values

    try:
        data = json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file}:{error.lineno}: is not JSON: {error.msg[:1].lower()}{error.msg[1:]}",
            hint="JSON has no comments and no comma after the last value; YAML has neither problem",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is not JSON: {error}") from None
    if duplicates:
        _json_lines(text, file, faults, prefix)
    return Document(file, _mapping(data, file), lambda: _json_lines(text, file, [], prefix), prefix)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON (RFC 8259 §6)")


def _mapping(data: object, file: str) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    raise ConfigError(
        f"{file}: holds {'a list' if isinstance(data, list) else 'a single value'} instead of keys",
        hint="`rotator config schema` describes what belongs there",
    )


def _json_lines(text: str, file: str, faults: list[Fault], prefix: Path) -> Lines:
    """Walk through JSON that is known to be well formed; note lines, and report names given twice."""
    import json

    lines: Lines = {(): 1}
    path: list[str | int] = []
    key: str | None = None
    number = 1
    for piece in _JSON_TOKEN.findall(text):
        if piece == "\n":
            number += 1
        elif piece in "]}":
            path.pop()
        elif piece == ":":
            here = (*path[:-1], str(key))
            if here in lines:
                said = f"is given twice, first on line {lines[here]}; remove one of the two"
                faults.append(Fault(Place(file, number), prefix + here, said))
            path[-1] = str(key)
            lines.setdefault(here, number)
        elif piece == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else ""
        else:
            if path and isinstance(path[-1], int):
                lines.setdefault(tuple(path), number)
            if piece in "[{":
                path.append(0 if piece == "[" else "")
            elif piece[0] == '"':
                key = json.loads(piece)
    return lines


def read_toml(text: str, file: str, faults: list[Fault], prefix: Path = ()) -> Document:
    """Parse a TOML 1.0 document; the parser itself refuses duplicate keys.

    Raises:
        ConfigError: it is not TOML.
    """
    import tomllib

    del faults  # nothing in TOML is wrong without stopping the parser
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".", 0, max(line.find("="), 0) or len(line)) > 8 * MAX_DEPTH:
            raise ConfigError(f"{file}:{number}: is nested more than {MAX_DEPTH} levels deep")
    try:
        data = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"{file}:{at[1]}" if at else file
        what = str(error)[: at.start()] if at else str(error)
        raise ConfigError(f"{where}: is not TOML: {what[:1].lower()}{what[1:]}") from None
    except (RecursionError, ValueError):
        raise ConfigError(
            f"{file}: is not TOML, or nested more than {MAX_DEPTH} levels deep"
        ) from None
    return Document(file, data, lambda: _toml_lines(text), prefix)


def _toml_lines(text: str) -> Lines:
    """Find headers and keys line by line; what is inside an inline table gets the line of its key."""
    lines: Lines = {(): 1}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TOML_HEADER.match(line):
            table = _toml_path(header[2], counts)
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                table = (*table, index)
            _note(lines, table, number)
        elif found := _TOML_KEY.match(line):
            _note(lines, table + _toml_path(found[1], {}), number)
    return lines


def _toml_path(dotted: str, counts: dict[Path, int]) -> Path:
    """Split a dotted key; below an array of tables, the last of its tables is meant."""
    path: Path = ()
    parts = _TOML_PART.findall(dotted)
    for position, part in enumerate(parts):
        path = (*path, part.strip("\"'"))
        if path in counts and position < len(parts) - 1:
            path = (*path, counts[path])
    return path


def _note(lines: Lines, path: Path, number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)
