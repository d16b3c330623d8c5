"""Which names become paths of Vault, so that none of them can leave its place or be rewritten on the way."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from rotator.plugin import ConfigError, StoreCorrupt

RING: Final = "ring"
MATERIAL: Final = "material"

_KEY_SET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOCATOR: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,159}")
_HASHED: Final = re.compile(r"k-[0-9a-f]{64}")


def key_set_name(name: str) -> str:
    """Return the name of a key set, which is a segment of its paths.

    Raises:
        ConfigError: Vault would refuse or change it (`..` anywhere in a path is refused).
    """
    if _KEY_SET.fullmatch(name) is None or ".." in name or name.endswith("."):
        raise ConfigError(
            f"the Vault store cannot hold a key set named {name!r}",
            hint="use at most 63 of a-z 0-9 . _ -, begin with a letter or digit, no two dots in a row",
        )
    return name


def locator_for(kid: str, taken: frozenset[str]) -> str:
    """Return a locator for a new kid: the kid, or its hash when it is no safe segment, numbered if taken."""
    safe = _SAFE.fullmatch(kid) and not _HASHED.fullmatch(kid) and _plain(kid)
    base = kid if safe else f"k-{hashlib.sha256(kid.encode('utf-8', 'surrogatepass')).hexdigest()}"
    locator, number = base, 1
    while locator in taken:
        number += 1
        locator = f"{base}.{number}"
    return locator


def material_path(key_set: str, locator: str) -> str:
    """Return the path, below the prefix, of what a locator of the ring stands for.

    Raises:
        StoreCorrupt: this store never allocated such a locator.
    """
    if _LOCATOR.fullmatch(locator) is None or not _plain(locator):
        raise StoreCorrupt(
            f"the ring names the locator {locator!r}, which is none of the Vault store's",
            hint="see who changed the ring; `rotator recover --ring` puts a good one back",
        )
    return f"{key_set}/{MATERIAL}/{locator}"


def document_path(name: str) -> tuple[str, str]:
    """Return the key set of a document named `KEY_SET/DOCUMENT`, and its path below the prefix.

    Raises:
        ConfigError: it is no such name, or that of the ring or of material.
    """
    key_set, _, rest = name.partition("/")
    if _SAFE.fullmatch(rest) is None or not _plain(rest) or rest in (RING, MATERIAL):
        raise ConfigError(
            f"the Vault store cannot hold a document named {name!r}",
            hint="name it KEY_SET/DOCUMENT, such as orders/signing; ring and material are taken",
        )
    return key_set, f"{key_set_name(key_set)}/{rest}"


def _plain(segment: str) -> bool:
    return ".." not in segment and not segment.endswith(".")
