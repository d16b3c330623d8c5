"""What a checked configuration is: plain frozen classes, light enough for ten thousand key sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rotator.policy import RotationPolicy
from rotator.settings.signers import SignerCheckSettings
from rotator.settings.targets import (
    AuthenticatorSettings,
    DocumentSettings,
    ObjectSettings,
    TargetSettings,
)

SHUTDOWN_TIMEOUT: Final = timedelta(seconds=25)
"""Kubernetes kills a container 30 s after its SIGTERM."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """A configured secrets manager.

    `options` is an instance of the backend's own settings model, already validated, its relative paths
    resolved. It may hold credentials and is left out of the repr.
    """

    name: str
    backend: str
    options: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """One probe: the URL at which verifiers really read the JWKS."""

    url: str
    all_addresses: bool = False


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the built-in HTTP server listens; an IPv6 address is without brackets here.

    A Unix socket is a host `unix:/PATH` with port 0. Certificate and key are both there, or neither is.
    """

    host: str
    port: int
    cert_file: Path | None = None
    key_file: Path | None = None
    connections: int = 10_240


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Where the admin listener listens, and for how many key sets there are series of their own."""

    host: str = "127.0.0.1"
    port: int = 8081
    metrics_key_sets: int = 1000


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where events are posted; the URL may be all that it takes to post there, and is left out of the repr."""

    template: str = "generic"
    url: str | None = field(default=None, repr=False)
    url_file: Path | None = None
    url_env: str | None = None
    secret_file: Path | None = None
    secret_env: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Who is told of what: a webhook, or else a command. Nothing in `events` or `key_sets` means all."""

    name: str
    webhook: WebhookSettings | None = None
    command: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=10)
    events: frozenset[str] = frozenset()
    key_sets: frozenset[str] = frozenset()

    def wants(self, event: str, key_set: str) -> bool:
        """Tell whether it is to be told of an event of a key set."""
        return self.listens_to(key_set) and (not self.events or event in self.events)

    def listens_to(self, key_set: str) -> bool:
        """Tell whether it is told anything of a key set."""
        return not self.key_sets or key_set in self.key_sets


@dataclass(frozen=True, slots=True)
class KeySetSettings:
    """One key set as configured: its policy after profiles, its store, its targets."""

    name: str
    policy: RotationPolicy
    store: str
    default: bool = False
    issuer: str | None = None
    verifiers: tuple[str, ...] = ()
    deliver: tuple[TargetSettings, ...] = ()
    publish: tuple[TargetSettings, ...] = ()
    probes: tuple[ProbeSettings, ...] = ()
    signer_checks: tuple[SignerCheckSettings, ...] = ()

    @property
    def documents(self) -> tuple[DocumentSettings, ...]:
        """Every delivery and publication that is a document in a store."""
        targets = (*self.deliver, *self.publish)
        return tuple(item for item in targets if isinstance(item, DocumentSettings))

    @property
    def objects(self) -> tuple[ObjectSettings, ...]:
        """Every publication that is an object in a bucket."""
        return tuple(item for item in self.publish if isinstance(item, ObjectSettings))

    @property
    def authenticators(self) -> tuple[AuthenticatorSettings, ...]:
        """Every publication that is what an authenticator of a store verifies with."""
        return tuple(item for item in self.publish if isinstance(item, AuthenticatorSettings))

    @property
    def digest(self) -> str:
        """A short stable name of the policy: two replicas whose policies differ have different ones."""
        import hashlib

        # What was observed at a probe is no configuration, and differs between replicas by nature.
        names = sorted(item.name for item in fields(self.policy) if item.name != "observed_cache")
        lines = "\n".join(f"{name}={getattr(self.policy, name)}" for name in names)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked. Paths are absolute."""

    source: Path
    state_dir: Path
    stores: Mapping[str, StoreSettings]
    key_sets: Mapping[str, KeySetSettings]
    combine: Mapping[str, tuple[str, ...]]
    server: ServerSettings | None = None
    admin: AdminSettings | None = None
    shutdown_timeout: timedelta = SHUTDOWN_TIMEOUT
    key_sets_dir: Path | None = None
    notify: Mapping[str, ReceiverSettings] = field(default_factory=dict)

    def told(self, key_set: str) -> bool:
        """Tell whether anybody is told what happens to a key set: then its store keeps who was."""
        return any(receiver.listens_to(key_set) for receiver in self.notify.values())

    @property
    def public_dir(self) -> Path:
        """What must be world-readable lives here, apart from the stores."""
        return self.state_dir / "public"
