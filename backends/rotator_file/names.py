"""Which names become names of files, so that none of them can leave its directory."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from rotator.plugin import ConfigError, StoreCorrupt

_KEY_SET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# No leading dot: those are temporary files. No leading dash: somebody will type it after `rm`.
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOCATOR: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,159}")
_HASHED: Final = re.compile(r"[kd]-[0-9a-f]{64}")


def key_set_name(name: str) -> str:
    """Return the name of a key set, which is the name of its directory.

    Raises:
        ConfigError: it could leave the store's directory, or the file system might change it.
    """
    if _KEY_SET.fullmatch(name) is None:
        raise ConfigError(
            f"the file store cannot hold a key set named {name!r}",
            hint="use at most 63 of a-z 0-9 . _ - and begin with a letter or digit",
        )
    return name


def locator_for(kid: str, taken: frozenset[str]) -> str:
    """Return a locator for a new kid: the kid, or its hash when it is no safe name, numbered if taken.

    Two names that differ only in case are one on some file systems, so they count as the same.
    """
    base = _plain(kid, "k")
    used = {locator.casefold() for locator in taken}
    locator, number = base, 1
    while locator.casefold() in used:
        number += 1
        locator = f"{base}.{number}"
    return locator


def material_file(locator: str) -> str:
    """Return the name of the file that a locator of the ring stands for.

    Raises:
        StoreCorrupt: this store never allocated such a locator.
    """
    if _LOCATOR.fullmatch(locator) is None:
        raise StoreCorrupt(
            f"the ring names the locator {locator!r}, which is none of the file store's",
            hint="see who changed the ring; `rotator recover --ring` puts a good one back",
        )
    return f"{locator}.json"


def document_file(name: str) -> tuple[str, str]:
    """Split the name of a document, `KEY_SET/REST`, into a key set and the name of a file.

    Raises:
        ConfigError: there is no key set in it, or nothing after it.
    """
    key_set, _, rest = name.partition("/")
    if not rest:
        raise ConfigError(
            f"the file store cannot hold a document named {name!r}",
            hint="name it KEY_SET/DOCUMENT, such as orders/signing",
        )
    return key_set_name(key_set), f"{_plain(rest, 'd')}.json"


def _plain(name: str, prefix: str) -> str:
    if _SAFE.fullmatch(name) and not _HASHED.fullmatch(name):
        return name
    return f"{prefix}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
