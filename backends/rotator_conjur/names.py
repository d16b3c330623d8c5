"""Which variables of Conjur a key set has, and which of their names are possible."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from rotator.plugin import ConfigError, StoreCorrupt, StoreUnavailable

RING: Final = "ring"
MATERIAL: Final = "material"
MOST_SLOTS: Final = 200
"""No key set publishes as many keys."""

_KEY_SET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DOCUMENT: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})*"
)
_SERVICE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_KID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_SLOT: Final = re.compile(r"slot-[0-9]{2,3}")
_VARIABLE: Final = re.compile(r"(k-[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9_-]{0,127})(\.[0-9]{1,4})?")


class Names:
    """The variables of one store.

    Args:
        prefix: the policy branch in which they all lie.
        numbered: whether material lies in numbered slots; else each kid has a variable of its own.
        slots: how many slots a key set has; None for as many as policy declares.
    """

    def __init__(self, prefix: str, *, numbered: bool = True, slots: int | None = None) -> None:
        self.prefix = prefix
        self.numbered = numbered
        self.slots = slots

    def ring(self, key_set: str) -> str:
        """Return the variable of a ring.

        Raises:
            ConfigError: the key set's name cannot be part of one.
        """
        return f"{self.key_set(key_set)}/{RING}"

    def key_set(self, key_set: str) -> str:
        """Return the branch of a key set.

        Raises:
            ConfigError: its name cannot be part of one.
        """
        if _KEY_SET.fullmatch(key_set) is None:
            raise ConfigError(
                f"the Conjur store cannot hold a key set named {key_set!r}",
                hint="use at most 63 of a-z 0-9 . _ - and begin with a letter or digit",
            )
        return f"{self.prefix}/{key_set}"

    def document(self, name: str) -> str:
        """Return the variable of a document named KEY_SET/DOCUMENT.

        Raises:
            ConfigError: it has no such name, or that of the ring or of material.
        """
        key_set, _, rest = name.partition("/")
        if _DOCUMENT.fullmatch(rest) is None or rest.partition("/")[0] in (RING, MATERIAL):
            raise ConfigError(
                f"the Conjur store cannot hold a document named {name!r}",
                hint="name it KEY_SET/DOCUMENT, such as orders/signing; `ring` and `material` are taken",
            )
        return f"{self.key_set(key_set)}/{rest}"

    @staticmethod
    def verifier_keys(service: str) -> str:
        """Return the variable of the keys that an authn-jwt service verifies with; the branch is Conjur's own.

        Raises:
            ConfigError: no service can be called that.
        """
        if _SERVICE.fullmatch(service) is None:
            raise ConfigError(
                f"Conjur can have no authn-jwt service {service!r}",
                hint="name it as in `conjur/authn-jwt/SERVICE`",
            )
        return f"conjur/authn-jwt/{service}/public-keys"

    def material(self, key_set: str, locator: str) -> str:
        """Return the variable of a locator.

        Raises:
            StoreCorrupt: this store never allocated such a locator.
        """
        form = _SLOT if self.numbered else _VARIABLE
        if form.fullmatch(locator) is None:
            raise StoreCorrupt(
                f"the ring of key set {key_set!r} names the locator {locator!r}, which is none of this store's",
                hint="was `material` changed between slots and variables? put it back, or see who changed the ring",
            )
        return f"{self.key_set(key_set)}/{MATERIAL}/{locator}"

    def slot_count(self, max_keys: int) -> int:
        """Return how many slots a key set has: as configured, or two more than it publishes keys."""
        return self.slots or min(max_keys + 2, MOST_SLOTS)

    @staticmethod
    def slot(number: int) -> str:
        """Return the locator of a slot, counted from 1."""
        return f"slot-{number:02}"

    def allocate(self, key_set: str, kid: str, taken: frozenset[str]) -> str:
        """Return a locator that is none of `taken`.

        Raises:
            StoreUnavailable: every slot is taken.
        """
        if not self.numbered:
            return _own(kid, taken)
        count = self.slots or MOST_SLOTS
        for number in range(1, count + 1):
            if self.slot(number) not in taken:
                return self.slot(number)
        raise StoreUnavailable(
            f"all {count} slots for material of key set {key_set!r} are taken",
            hint="raise `slots` (at least max_keys + 2) and load the policy that `rotator policy` then prints",
            lasting=True,
        )


def _own(kid: str, taken: frozenset[str]) -> str:
    base = kid
    if _KID.fullmatch(kid) is None or kid.startswith("k-"):
        base = f"k-{hashlib.sha256(kid.encode('utf-8', 'surrogatepass')).hexdigest()}"
    locator, number = base, 1
    while locator in taken:
        number += 1
        locator = f"{base}.{number}"
    return locator
