"""`docs/events.md` and the code name the same events, with the same levels and fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from rotator.reconcile import telling
from rotator.ring import ENDED

ROOT = Path(__file__).resolve().parents[2]
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
LEVELS = frozenset({"debug", "info", "warning", "error"})
# Functions that take an event: those of the tick, of the server's child, of structlog's loggers.
SPEAKERS = LEVELS | {"emit", "_emit", "_once", "report", "_report", "log", "Entry"}
EVERYWHERE = frozenset({"key_set", "component"})  # bound to the logger, or passed on by name
FOLDERS = ("rotator", "backends")
NOT_OURS = ("rotator/testing", "rotator/rehearsal")  # they speak in nobody's log


@dataclass
class Spoken:
    """An event as the code says it, all places together."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    places: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Listed:
    """An event as the document lists it."""

    levels: frozenset[str]
    fields: frozenset[str]


@cache
def listed() -> dict[str, Listed]:
    """The rows of the tables."""
    found = {}
    for line in (ROOT / "docs" / "events.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`"):
            name = cells[0].strip("`")
            assert name not in found, f"{name} is listed twice"
            found[name] = Listed(_words(cells[1]), _words(cells[2]))
    return found


def _words(cell: str) -> frozenset[str]:
    return frozenset(word.strip() for word in cell.split(",") if word.strip())


@cache
def spoken() -> dict[str, Spoken]:
    """Every event that a call anywhere in the program names."""
    found: dict[str, Spoken] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = str(path.relative_to(ROOT))
            if not place.startswith(NOT_OURS):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                for call in ast.walk(tree):
                    if isinstance(call, ast.Call):
                        _note(found, call, place)
    for name in telling._WRITES.values():
        found.setdefault(name, Spoken()).places.append("rotator/telling.py")
    return found


def _note(found: dict[str, Spoken], call: ast.Call, place: str) -> None:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in SPEAKERS:
        return
    for event in _events(call):
        item = found.setdefault(event, Spoken())
        item.places.append(f"{place}:{call.lineno}")
        words = {arg.value for arg in call.args if isinstance(arg, ast.Constant)}
        item.levels |= LEVELS & {word for word in words if isinstance(word, str)}
        item.levels |= LEVELS & {name}
        item.fields |= {keyword.arg for keyword in call.keywords if keyword.arg}


def _events(call: ast.Call) -> Iterator[str]:
    for argument in call.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            if EVENT.fullmatch(argument.value):
                yield argument.value
                return
        elif isinstance(argument, ast.JoinedStr):
            first = argument.values[0]
            if isinstance(first, ast.Constant) and first.value == "key.":
                # The phases in which a key ends; see `rotator.transitions`.
                yield from (f"key.{phase.value}" for phase in ENDED)


def test_the_scan_finds_what_is_there() -> None:
    """One of each kind of speaker, so that the comparison below is not one of two empty lists."""
    found = spoken()
    for name in ("key.created", "key.revoked", "jwks.published", "store.call", "daemon.started"):
        assert name in found
    assert {"jwks.served", "target.failing", "clock.suspicious", "library.said"} <= set(found)
    assert len(found) > 40


def test_every_event_of_the_code_is_listed() -> None:
    """Whoever adds an event says what it means."""
    missing = {name: item.places for name, item in spoken().items() if name not in listed()}
    assert missing == {}


def test_every_listed_event_is_in_the_code() -> None:
    """Whoever builds an alert on one of them gets it."""
    assert sorted(set(listed()) - set(spoken())) == []


@pytest.mark.parametrize("name", sorted(listed()))
def test_levels_and_fields_agree(name: str) -> None:
    """A level that the code names is one of those listed, and so is every field."""
    row, said = listed()[name], spoken().get(name, Spoken())
    assert row.levels <= LEVELS
    assert row.levels, "an event has a level"
    assert said.levels <= row.levels
    assert said.fields - {"exc_info"} <= row.fields | EVERYWHERE
    if name in telling._WARNINGS:
        assert row.levels == {"warning"}


def test_a_warning_of_the_history_is_an_event() -> None:
    """A misspelt name among those told as warnings would be told as information."""
    assert set(spoken()) >= telling._WARNINGS
