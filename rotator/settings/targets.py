"""What a checked delivery or publication is: one frozen class per kind of target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rotator.stores import DocumentKind


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """One delivery as files: where the signing or verification document goes."""

    to: str
    path: Path
    document: DocumentKind = DocumentKind.SIGNING
    mode: int | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """One publication as a file: where the JWKS goes."""

    to: str
    path: Path
    mode: int | None = None
    document: DocumentKind = DocumentKind.JWKS


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """One delivery or publication that is a document in a store."""

    to: str
    store: str
    document: DocumentKind


TargetSettings = DeliverSettings | PublishSettings | DocumentSettings
"""A delivery or a publication. A kind that is no path and no document of a store has an `address`."""
