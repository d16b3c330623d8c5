"""Which secret holds what, and what the version ids of AWS tell."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from rotator.plugin import ConfigError, StoreCorrupt, Version

RING: Final = "ring"
MATERIAL: Final = "material"

_KEY_SET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DOCUMENT: Final = re.compile(r"[A-Za-z0-9_+=.@-]{1,100}(/[A-Za-z0-9_+=.@-]{1,100}){0,2}")
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOCATOR: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,159}")
_HASHED: Final = re.compile(r"k-[0-9a-f]{64}")
# What AWS adds to a name in an ARN looks like this; a name that ends so can be taken for another's ARN.
_SUFFIX: Final = re.compile(r".*-[A-Za-z0-9]{6}", re.DOTALL)


def key_set_name(name: str) -> str:
    """Return the name of a key set, as a part of the names of its secrets.

    Raises:
        ConfigError: it could leave the key set's own place.
    """
    if _KEY_SET.fullmatch(name) is None:
        raise ConfigError(
            f"the AWS store cannot hold a key set named {name!r}",
            hint="use at most 63 of a-z 0-9 . _ - and begin with a letter or digit",
        )
    return name


def locator_for(kid: str, taken: frozenset[str]) -> str:
    """Return a locator for a new kid: the kid, or its hash when it is no safe name, numbered if taken.

    Two names that differ only in case count as the same, for people and other tools may mix them up.
    """
    safe = _SAFE.fullmatch(kid) and not _HASHED.fullmatch(kid) and not _SUFFIX.fullmatch(kid)
    base = kid if safe else f"k-{hashlib.sha256(kid.encode('utf-8', 'surrogatepass')).hexdigest()}"
    used = {locator.casefold() for locator in taken}
    locator, number = base, 1
    while locator.casefold() in used:
        number += 1
        locator = f"{base}.{number}"
    return locator


def material_name(prefix: str, key_set: str, locator: str) -> str:
    """Return the name of the secret that a locator of the ring stands for.

    Raises:
        StoreCorrupt: this store never allocated such a locator.
    """
    if _LOCATOR.fullmatch(locator) is None:
        raise StoreCorrupt(
            f"the ring names the locator {locator!r}, which is none of the AWS store's",
            hint="see who changed the ring; `rotator recover --ring` puts a good one back",
        )
    return f"{prefix}/{key_set}/{MATERIAL}/{locator}"


def split_document(name: str) -> tuple[str, str]:
    """Split the name of a document, `KEY_SET/DOCUMENT`; consumers read the secret of that very name.

    Raises:
        ConfigError: there is no key set in it, AWS allows no such name, or ring or material has it.
    """
    key_set, _, rest = name.partition("/")
    first = rest.partition("/")[0]
    if _DOCUMENT.fullmatch(rest) is None or first in (RING, MATERIAL):
        raise ConfigError(
            f"the AWS store cannot hold a document named {name!r}",
            hint=f"name it KEY_SET/DOCUMENT, such as orders/signing, of A-Z a-z 0-9 / _ + = . @ -; "
            f"{RING} and {MATERIAL} are taken",
        )
    return key_set_name(key_set), rest


def ring_token(document: bytes, replacing: Version | None) -> Version:
    """Return the version id for one save of a ring: the same value in all attempts of this save, in no other.

    Derived from what is saved and replaced, so that an id never stands for two values, and from chance: two
    replicas that save the same bytes at once must not both be told that they did. A ring holds no secret,
    so everybody who may describe it may see a digest of it.
    """
    chance = secrets.token_hex(16)
    return Version(hashlib.sha256(f"{replacing or ''}\n{chance}\n".encode() + document).hexdigest())


def new_token() -> str:
    """Return a version id that was never used, for what must not be told by its digest."""
    return secrets.token_hex(_TOKEN_LENGTH // 2)


_TOKEN: Final = re.compile(
    r"rotator-r(?P<revision>[0-9]{1,15})(-m(?P<max_age>[0-9]{1,9}))?(-s(?P<stale>[0-9]{1,9}))?"
    r"(?P<empty>-e)?-[0-9a-f]{8,}"
)
_TOKEN_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the version id of a document says of it, for AWS keeps nothing else beside a value.

    Attributes:
        empty: whether the document has no body, which AWS cannot store: one blank stands for it.
    """

    revision: int
    max_age: int | None = None
    stale: int | None = None
    empty: bool = False

    def new_token(self) -> str:
        """Return a version id that was never used: random, for a digest of a signing key would be a leak."""
        said = f"rotator-r{self.revision}"
        if self.max_age is not None:
            said += f"-m{self.max_age}"
        if self.stale is not None:
            said += f"-s{self.stale}"
        said += "-e-" if self.empty else "-"
        return said + secrets.token_hex(_TOKEN_LENGTH // 2)[: _TOKEN_LENGTH - len(said)]

    @classmethod
    def of(cls, token: str) -> Stamp | None:
        """Return what a version id says, None for a version that `rotator` did not write."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        max_age, stale = found["max_age"], found["stale"]
        return cls(
            int(found["revision"]),
            None if max_age is None else int(max_age),
            None if stale is None else int(stale),
            found["empty"] is not None,
        )
