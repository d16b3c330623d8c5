"""A live key that somebody made elsewhere, and what it can sign by.

How one is read is in `rotator.operations.live_formats`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.algorithms import ALGORITHMS, Kind
from rotator.errors import UsageError
from rotator.secret import Secret

CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
"""The only algorithm of each curve (RFC 7518 §3.4, RFC 8037 §3.1)."""

_MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3 and §3.5
_ANEW: Final = "make a key set with a new key instead, and move signers and verifiers to it"


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A private or symmetric key that is in use, as far as it says itself what it is.

    Attributes:
        public: the public parameters with `kty`; None for HMAC.
        size: bits of the RSA modulus, of the curve, or of the HMAC secret.
        material: the private JWK, as `rotator.keys` writes it.
        kid: its own kid, None when it does not name one.
        algorithm: its own `alg`, None when it does not name one.
        note: how it was read, where that was a choice.
    """

    public: Mapping[str, str] | None
    size: int
    material: Secret = field(repr=False)
    kid: str | None = None
    algorithm: str | None = None
    note: str = ""

    @property
    def symmetric(self) -> bool:
        """True for an HMAC secret."""
        return self.public is None

    def fits(self, algorithm: str) -> bool:
        """True when a key of this type and curve can sign by an algorithm."""
        wanted = ALGORITHMS[algorithm]
        if self.public is None:
            return wanted.kty == "oct"
        return wanted.kty == self.public["kty"] and wanted.curve == self.public.get("crv")

    @property
    def only_algorithm(self) -> str | None:
        """The algorithm that the type and curve leave no choice of, None for RSA and HMAC."""
        return CURVES.get((self.public or {}).get("crv", ""))

    @property
    def described(self) -> str:
        """What it is, for messages."""
        if self.public is None:
            return f"an HMAC secret of {self.size} bits"
        on = f" on {self.public['crv']}" if "crv" in self.public else f" of {self.size} bits"
        return f"a key of type {self.public['kty']}{on}"

    def same_public_half(self, jwk: Mapping[str, Any]) -> bool:
        """True when a JWK found elsewhere has the public half of this key pair, however it is written."""
        if self.public is None or jwk.get("kty") != self.public["kty"]:
            return False
        return all(_plain(jwk.get(name)) == _plain(value) for name, value in self.public.items())


def _plain(value: object) -> object:
    """Return the number behind a member of a JWK: some write leading zeros or padding (RFC 7518 §6.3.1)."""
    if not isinstance(value, str):
        return None
    try:
        number = base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
    except ValueError:
        return value
    return number.lstrip(b"\0")


def refuse_short_rsa(bits: int) -> None:
    """Refuse an RSA key that is too weak for every algorithm.

    Raises:
        UsageError: the message has the numbers.
    """
    if bits < _MIN_RSA_BITS:
        raise UsageError(
            f"an RSA key of {bits} bits is too weak: {_MIN_RSA_BITS} bits are the least (RFC 7518 §3.3)",
            hint=_ANEW,
        )


def kind_of_live(key: LiveKey, algorithm: str) -> Kind:
    """Return the kind of a live key under an algorithm.

    Raises:
        UsageError: they do not go together, or an HMAC secret is shorter than the hash (RFC 7518 §3.2).
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(
            f"unknown algorithm {algorithm!r}", hint=f"known are {', '.join(ALGORITHMS)}"
        )
    if not key.fits(algorithm):
        raise UsageError(
            f"{key.described} cannot sign by {algorithm}",
            hint="name the algorithm that the tokens carry in `alg` with `--algorithm`",
        )
    kty, sizes = ALGORITHMS[algorithm].kty, ALGORITHMS[algorithm].sizes
    if key.symmetric and key.size < sizes[0]:
        raise UsageError(
            f"{key.described} is too weak for {algorithm}: {sizes[0]} bits are the least (RFC 7518 §3.2)",
            hint=_ANEW,
        )
    return Kind(algorithm, key.size if kty == "RSA" else sizes[0])
