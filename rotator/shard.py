"""One part of many of the key sets: `--shard 3/16`. Pure.

The hash is of the name alone and the same everywhere and always, so that every process agrees without
asking another which part a key set belongs to; to overlap while the number of parts changes is harmless,
since compare-and-set arbitrates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self

from rotator.errors import UsageError
from rotator.settings.result import Settings

VARIABLE: Final = "ROTATOR_SHARD"
_MOST: Final = 10_000
_FORM: Final = re.compile(r"(\d{1,5})/(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the key sets.

    Attributes:
        index: from 0 to `count - 1`, as Kubernetes counts the pods of an Indexed Job or a StatefulSet.
        count: how many parts there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, said_by: str = "--shard") -> Self:
        """Read `3/16`.

        Args:
            said_by: the option or the variable, for the message.

        Raises:
            UsageError: it is not that, or counts from one.
        """
        match = _FORM.fullmatch(text)
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 <= index < count <= _MOST:
            raise UsageError(
                f"{said_by} {text!r} is no part of the key sets",
                hint="write INDEX/COUNT; INDEX counts from 0: with 16 parts, `0/16` to `15/16`",
            )
        return cls(index, count)

    def has(self, key_set: str) -> bool:
        """Tell whether a key set is in this part: the first 8 bytes of the SHA-256 of its name, modulo `count`."""
        digest = hashlib.sha256(key_set.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def of(self, key_sets: Iterable[str]) -> list[str]:
        """Return those in this part."""
        return [name for name in key_sets if self.has(name)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def only(settings: Settings, shard: Shard | None) -> Settings:
    """Return a configuration with the key sets of one part; all of it without one.

    A combined document whose key sets are in several parts can be made by none of them, and is left out.
    """
    if shard is None:
        return settings
    kept = {name: item for name, item in settings.key_sets.items() if shard.has(name)}
    combine = {path: names for path, names in settings.combine.items() if kept.keys() >= {*names}}
    return replace(settings, key_sets=kept, combine=combine)
