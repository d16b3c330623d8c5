"""All that a backend may import from `rotator`: the walls, errors, secrets, settings, retries, the logger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotator.calls import Calls, JustWritten, get_logger, server_time
from rotator.errors import (
    BackendMissing,
    ConfigError,
    Conflict,
    RotatorError,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from rotator.fence import still_time
from rotator.inspection import (
    NOTIFY,
    SCRATCH,
    Exercisable,
    Finding,
    Inspectable,
    Report,
    Role,
    Scope,
)
from rotator.objects import Authenticating, Object, Objects, ObjectStore, Purged
from rotator.secret import Secret
from rotator.stores import (
    Backend,
    Document,
    DocumentKind,
    DocumentStore,
    Fetching,
    MaterialStore,
    RingStore,
    ServerTime,
    Store,
    Stored,
    Version,
    VersionToken,
)

if TYPE_CHECKING:
    from rotator.remote import HttpUrl, RemoteSettings, Seconds, http_url, read_secret

__all__ = [
    "NOTIFY",
    "SCRATCH",
    "Authenticating",
    "Backend",
    "BackendMissing",
    "Calls",
    "ConfigError",
    "Conflict",
    "Document",
    "DocumentKind",
    "DocumentStore",
    "Exercisable",
    "Fetching",
    "Finding",
    "HttpUrl",
    "Inspectable",
    "JustWritten",
    "MaterialStore",
    "Object",
    "ObjectStore",
    "Objects",
    "Purged",
    "RemoteSettings",
    "Report",
    "RingStore",
    "Role",
    "RotatorError",
    "Scope",
    "Seconds",
    "Secret",
    "ServerTime",
    "Store",
    "StoreCorrupt",
    "StoreDenied",
    "StoreError",
    "StoreMisconfigured",
    "StoreUnavailable",
    "Stored",
    "Version",
    "VersionToken",
    "get_logger",
    "http_url",
    "read_secret",
    "server_time",
    "still_time",
]


def __getattr__(name: str) -> Any:
    """Load what needs pydantic only when a backend asks for it: naming a backend must cost nothing."""
    if name in {"HttpUrl", "RemoteSettings", "Seconds", "http_url", "read_secret"}:
        from rotator import remote

        return getattr(remote, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
