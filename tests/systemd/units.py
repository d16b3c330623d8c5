"""The units of deploy/systemd as they stand there, and the command lines in them."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
UNITS: Final = ROOT / "deploy" / "systemd"
INSTALLED: Final = "/usr/local/bin/rotator"
CONFIGURED: Final = "/etc/rotator/rotator.yaml"

Unit = dict[str, dict[str, list[str]]]


def read(name: str) -> Unit:
    """Return the sections of a unit; in each, the values of each key in their order (systemd.syntax(7))."""
    unit: Unit = {}
    section: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = unit.setdefault(found[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return unit


def one(unit: Unit, section: str, key: str) -> str:
    """Return the value of a key that stands there once."""
    (value,) = unit[section][key]
    return value


def command(line: str, config: Path, variables: Mapping[str, str] | None = None) -> list[str]:
    """Return a command line of a unit as arguments, with this checkout's program and another configuration."""
    words = [(variables or {}).get(word.removeprefix("$"), word) for word in shlex.split(line)]
    if words[0] == INSTALLED:
        assert CONFIGURED in words
        words[:1] = [sys.executable, "-P", "-m", "rotator"]
    return [str(config) if word == CONFIGURED else word for word in words]


def copies(folder: Path, drop_ins: Iterable[str] = ()) -> list[Path]:
    """Put copies of all units into a folder that name a program which exists here; return them."""
    program = folder / "rotator"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = folder / "units"
    made = []
    for file in sorted(UNITS.glob("rotator*")):
        made.append(_copy(file, units / file.name, program))
        if file.suffix == ".service":
            for name in drop_ins:
                _copy(UNITS / "drop-ins" / name, units / f"{file.name}.d" / name, program)
    return made


def _copy(file: Path, to: Path, program: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(file.read_text().replace(INSTALLED, str(program)))
    return to
