"""What is wrong with a configuration: each fault with its place, its path and the way out; all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rotator.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands in a document: `("key_sets", "web", "deliver", 0, "path")`."""

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a line of a file, or an environment variable."""

    file: str
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return f"environment {self.variable}"
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, at which path, and what to write instead."""

    place: Place
    path: Path
    text: str

    def __str__(self) -> str:
        path = dotted(self.path)
        return f"{self.place}: {path}: {self.text}" if path else f"{self.place}: {self.text}"


class InvalidSettings(ConfigError):
    """The configuration has faults; `faults` holds each of them, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        ordered = sorted(faults, key=lambda fault: (fault.place.file, fault.place.line or 0))
        self.faults = tuple(dict.fromkeys(ordered))
        super().__init__(
            _message(self.faults), hint="correct that, then run `rotator config validate`"
        )


def _message(faults: tuple[Fault, ...]) -> str:
    if len(faults) == 1:
        return str(faults[0])
    lines = [f"the configuration has {len(faults)} faults"]
    lines += [f"  {fault}" for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"  … and {len(faults) - _SHOWN} more")
    return "\n".join(lines)


def dotted(path: Path) -> str:
    """Write a path the way people read it: `key_sets.web.deliver[0].path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for a misspelt name, or the list of known ones, or nothing."""
    from difflib import get_close_matches

    names = sorted(known)
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in names}
    close = get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{folded[close[0]]}`?"
    if 0 < len(names) <= 15:
        return f"; known are {', '.join(names)}"
    return ""


def fault_of(error: ConfigError, file: str, path: Path) -> Fault:
    """Turn what stopped the reading of one file among many into one fault among many."""
    said = re.fullmatch(r"(?::(\d+))?: (.*)", error.message.removeprefix(file), re.DOTALL)
    if said is None:
        return Fault(Place(file), path, str(error))
    return Fault(Place(file, int(said[1]) if said[1] else None), path, said[2])
