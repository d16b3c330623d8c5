"""Handing key documents to signers, and to HMAC verifiers: one small module per kind of target."""

from __future__ import annotations

from rotator.delivery.files import FilesDelivery
from rotator.delivery.store import StoreDocument

__all__ = ["FilesDelivery", "StoreDocument"]
