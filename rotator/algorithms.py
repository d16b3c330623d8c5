"""The JWS algorithms that a key set may use, and what a key of each looks like.

Sources: RFC 7518 §3.1 (names), §3.2 (HMAC secrets are at least as long as the hash), §3.3 and §3.5
(RSA keys of 2048 bits or more), §3.4 (a curve per ECDSA algorithm); RFC 8037 §3.1 (EdDSA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key set wants its keys to be: an algorithm and, where there is a choice, a size in bits."""

    algorithm: str
    size: int

    @property
    def kty(self) -> str:
        """The JWK key type (RFC 7518 §6.1)."""
        return ALGORITHMS[self.algorithm].kty

    @property
    def symmetric(self) -> bool:
        """True for HMAC: such a key never reaches a JWKS."""
        return self.kty == "oct"

    def __str__(self) -> str:
        return f"{self.algorithm}/{self.size}" if self.kty == "RSA" else self.algorithm


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One JWS algorithm: the key type, the sizes in bits, the default first, and the curve if any."""

    kty: str
    sizes: tuple[int, ...]
    curve: str | None = None


_RSA = (3072, 2048, 4096)

ALGORITHMS: Final[dict[str, Algorithm]] = {
    "RS256": Algorithm("RSA", _RSA),
    "RS384": Algorithm("RSA", _RSA),
    "RS512": Algorithm("RSA", _RSA),
    "PS256": Algorithm("RSA", _RSA),
    "PS384": Algorithm("RSA", _RSA),
    "PS512": Algorithm("RSA", _RSA),
    "ES256": Algorithm("EC", (256,), "P-256"),
    "ES384": Algorithm("EC", (384,), "P-384"),
    "ES512": Algorithm("EC", (521,), "P-521"),
    "EdDSA": Algorithm("OKP", (256,), "Ed25519"),
    "HS256": Algorithm("oct", (256,)),
    "HS384": Algorithm("oct", (384,)),
    "HS512": Algorithm("oct", (512,)),
}

PUBLIC_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "RSA": ("e", "n"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
}
"""The public parameters of a JWK by key type: a whitelist (RFC 7518 §6.2.1, §6.3.1; RFC 8037 §2)."""

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
"""JWK members that are secret whatever the key type (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 9964 §3)."""


def kind_of(algorithm: str, size: int | None = None) -> Kind:
    """Return the kind of key for an algorithm name and an optional size in bits.

    Raises:
        ValueError: unknown algorithm, or a size that it does not offer; the text names what it does.
    """
    known = ALGORITHMS.get(algorithm)
    if known is None:
        raise ValueError(f"unknown algorithm {algorithm!r}; known are {', '.join(ALGORITHMS)}")
    if size is None:
        return Kind(algorithm, known.sizes[0])
    if size not in known.sizes:
        offered = ", ".join(str(bits) for bits in sorted(known.sizes))
        raise ValueError(f"{algorithm} has no {size}-bit key; it offers {offered}")
    return Kind(algorithm, size)
