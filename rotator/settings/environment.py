"""`ROTATOR__SECTION__KEY` and `…_FILE`: values laid over the file by the environment.

`ROTATOR__KEY_SETS__WEB__POLICY__TOKEN_TTL=30m` sets `key_sets.web.policy.token_ttl`. Names of key sets,
stores and receivers are matched without regard to case, and `_` stands for `-` and `.`, which shells do not allow in names. Lists
and mappings are JSON. With `_FILE` at its end, a variable names a file that holds the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.settings.faults import Fault, Path, Place, nearest

PREFIX: Final = "ROTATOR__"
NAMED: Final = {"stores": "store", "key_sets": "key set", "notify": "receiver"}
"""Sections that hold things by name, and what one of them is."""

_MAX_VALUE: Final = 1 << 16
_ADDRESS: Final = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]:\d+", re.ASCII)  # `[::]:8080` is no list


@dataclass(frozen=True, slots=True)
class Override:
    """One variable: the parts of its name after the prefix, and its value, which may be a secret."""

    variable: str
    parts: tuple[str, ...]
    value: str = field(repr=False)

    @property
    def place(self) -> Place:
        """Where a fault of this variable is."""
        return Place("environment", variable=self.variable)


def overrides(environ: Mapping[str, str]) -> list[Override]:
    """Return the variables that configure something, sorted, so that a run does not depend on their order."""
    found = []
    for variable in sorted(environ):
        if variable.upper().startswith(PREFIX):
            parts = variable[len(PREFIX) :].lower().split("__")
            found.append(Override(variable, tuple(parts), environ[variable]))
    return found


def names_in(override: Override, section: str, known: Collection[str]) -> str | None:
    """Return which of the known names of a section an override means, or None."""
    if override.parts[0] != section or len(override.parts) < 2:
        return None
    wanted = _folded(override.parts[1])
    found = [name for name in known if _folded(name) == wanted]
    return found[0] if len(found) == 1 else None


def path_of(
    override: Override, names: Mapping[str, Collection[str]], faults: list[Fault]
) -> Path | None:
    """Return the path that an override sets, or None and a fault.

    Args:
        names: the stores, key sets and receivers that there are; the environment makes no new ones, since a
            misspelt name would do so without anybody noticing.
    """
    if not all(override.parts):
        faults.append(
            Fault(override.place, (), "is no path; write it like `ROTATOR__SECTION__KEY`")
        )
        return None
    section = override.parts[0]
    if section not in NAMED or len(override.parts) < 2:
        return override.parts
    name = names_in(override, section, names[section])
    if name is None:
        kind = NAMED[section]
        close = nearest(override.parts[1], names[section])
        text = f"there is not one {kind} of that name; the environment changes values, and adds no {kind}{close}"
        faults.append(Fault(override.place, override.parts[:2], text))
        return None
    return (section, name, *override.parts[2:])


def value_of(
    override: Override, path: Path, fields: Callable[[Path], Collection[str]], faults: list[Fault]
) -> tuple[Path, Any] | None:
    """Return the path and the value of an override, read from a file if it names one.

    Args:
        fields: says which keys may stand at a path; a key that really ends in `_file` is no `…_FILE`.
    """
    last = str(path[-1])
    if last.endswith("_file") and last not in fields(path[:-1]):
        text = _read(override, path, faults)
        return None if text is None else ((*path[:-1], last.removesuffix("_file")), text)
    value = override.value
    if value.lstrip()[:1] in {"[", "{"} and not _ADDRESS.fullmatch(value):
        import json

        try:
            return path, json.loads(value)
        except (ValueError, RecursionError):
            faults.append(
                Fault(override.place, path, "looks like a list or a mapping, but is not JSON")
            )
            return None
    return path, value


def _read(override: Override, path: Path, faults: list[Fault]) -> str | None:
    try:
        descriptor = os.open(override.value, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX_VALUE + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        faults.append(Fault(override.place, path, f"cannot read the file that it names: {why}"))
        return None
    if len(content) > _MAX_VALUE:
        faults.append(Fault(override.place, path, "names a file larger than 64 KiB"))
        return None
    return text.removesuffix("\n").removesuffix("\r")


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
