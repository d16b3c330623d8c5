"""Handing key documents to signers, and to HMAC verifiers: one small module per kind of target."""

from __future__ import annotations

from rotator.delivery.files import FilesDelivery

__all__ = ["FilesDelivery"]
