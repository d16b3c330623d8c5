"""YAML 1.2 without the parts that surprise people: no aliases, no tags, no duplicate keys.

Built on the events of ruamel.yaml instead of its constructor, since that gives the line of every key for
nothing, all duplicate keys at once, and the core schema of YAML 1.2 (§10.3.2) exactly: `no` is text, and
so are `12:30` and the file mode `0640`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from rotator.errors import ConfigError
from rotator.settings.document import MAX_DEPTH, Document, Lines
from rotator.settings.faults import Fault, Path, Place

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})", re.ASCII)
_OCTAL_OR_HEX: Final = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


def read_yaml(text: str, file: str, faults: list[Fault], prefix: Path = ()) -> Document:
    """Parse a YAML document that has one mapping at its top.

    Args:
        faults: where duplicate keys, aliases and tags are added; they do not stop the reading.

    Raises:
        ConfigError: it is not YAML, or not one mapping.
    """
    builder = _Builder(text, file, faults, prefix)
    try:
        data = builder.document()
    except MarkedYAMLError as error:
        raise _not_yaml(error, file) from None
    except (YAMLError, YAMLStreamError) as error:
        raise ConfigError(f"{file}: is not YAML: {_first_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested more than {MAX_DEPTH} levels deep") from None
    except (ValueError, IndexError, TypeError, AttributeError, AssertionError, KeyError):
        # What the scanner trips over when it meets something that its authors did not think of.
        raise ConfigError(
            f"{file}: is not YAML", hint="`rotator config schema` describes it"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{file}: holds {'a list' if isinstance(data, list) else 'a single value'} instead of keys",
            hint="`rotator init` writes a configuration to start from",
        )
    return Document(file, data, lambda: builder.lines, prefix)


def _not_yaml(error: MarkedYAMLError, file: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}" if mark is not None else file
    what = " ".join(part for part in (error.context, error.problem) if part)
    return ConfigError(
        f"{where}: is not YAML: {what}" if what else f"{where}: is not YAML",
        hint="a truncated file ends in the middle of a value; indentation is spaces, never tabs",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0]


class _Builder:
    """Turns the events of one document into plain values, noting the line of every path."""

    def __init__(self, text: str, file: str, faults: list[Fault], prefix: Path) -> None:
        self._events = YAML(typ="safe", pure=True).parse(text)
        self._file = file
        self._faults = faults
        self._prefix = prefix
        self.lines: Lines = {}

    def document(self) -> Any:
        data: Any = None
        seen = False
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if seen:
                    self._fault(event, (), "a second document starts here; one file holds one")
                    break
                seen = True
                self.lines[()] = 1
                data = self._value(next(self._events), ())
            elif isinstance(event, StreamEndEvent):
                break
            elif isinstance(event, StreamStartEvent):
                continue
        return data

    def _value(self, event: Any, path: Path) -> Any:
        if isinstance(event, AliasEvent):
            self._fault(
                event,
                path,
                "aliases (`*name`) are not read here; write the value out, or use `defaults`",
            )
            return None
        if event.anchor is not None:
            self._fault(
                event,
                path,
                "anchors (`&name`) are not read here; write the value out, or use `defaults`",
            )
        if event.tag is not None and not (isinstance(event, ScalarEvent) and event.tag == "!"):
            self._fault(event, path, f"the tag `{event.tag}` is not read here; leave it out")
        if isinstance(event, ScalarEvent):
            return resolve(event.value) if event.implicit[0] else event.value
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            here = (*path, len(items))
            self.lines[here] = event.start_mark.line + 1
            items.append(self._value(event, here))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path)
            here = (*path, key)
            if key in values:
                first = self.lines[here]
                self._fault(
                    event, here, f"is given twice, first on line {first}; remove one of the two"
                )
                self._value(next(self._events), here)
                continue
            self.lines[here] = event.start_mark.line + 1
            values[key] = self._value(next(self._events), here)
        return values

    def _key(self, event: Any, path: Path) -> str:
        if isinstance(event, ScalarEvent):
            return str(event.value)
        self._fault(event, path, "a key must be a plain word, not a list, mapping or alias")
        if isinstance(event, (SequenceStartEvent, MappingStartEvent)):
            self._value(event, path)
        return "?"

    def _fault(self, event: Any, path: Path, text: str) -> None:
        place = Place(self._file, event.start_mark.line + 1)
        self._faults.append(Fault(place, self._prefix + path, text))


def resolve(text: str) -> object:
    """Return what an unquoted scalar means by the core schema of YAML 1.2 (§10.3.2).

    A decimal with a leading zero stays text: `mode: 0640` is what its writer means by it.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if not text.startswith("0") or text[1:2] in {"", ".", "e", "E"}:
        return float(text) if _FLOAT.fullmatch(text) else text
    return text
