"""All that a backend may import from `rotator`: the walls, the errors, the secret type, settings, logger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.errors import (
    BackendMissing,
    ConfigError,
    Conflict,
    RotatorError,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from rotator.secret import Secret
from rotator.stores import (
    Backend,
    Document,
    DocumentKind,
    DocumentStore,
    Finding,
    Inspectable,
    MaterialStore,
    Report,
    RingStore,
    Role,
    ServerTime,
    Store,
    Stored,
    Version,
    VersionToken,
)

if TYPE_CHECKING:
    import structlog

__all__ = [
    "Backend",
    "BackendMissing",
    "ConfigError",
    "Conflict",
    "Document",
    "DocumentKind",
    "DocumentStore",
    "Finding",
    "Inspectable",
    "MaterialStore",
    "Report",
    "RingStore",
    "Role",
    "RotatorError",
    "Secret",
    "ServerTime",
    "Store",
    "StoreCorrupt",
    "StoreDenied",
    "StoreError",
    "StoreUnavailable",
    "Stored",
    "Version",
    "VersionToken",
    "get_logger",
]


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a backend; every call to a store is one DEBUG event without its payload."""
    import structlog

    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger
