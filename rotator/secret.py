"""A value that does not let itself be printed, formatted, pickled or copied by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Key material as bytes. Only `reveal()` gives it out, so that every use can be found by name."""

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes. Never log, format or raise what this returns."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret would be a leak

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")
