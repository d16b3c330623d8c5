"""What a checked delivery or publication is: one frozen class per kind of target."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotator.kubernetes.settings import ClusterSettings
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
    """One delivery or publication that is a document in a store.

    Attributes:
        verifier: the one verifier that a verification document is for; None for all of them.
    """

    to: str
    store: str
    document: DocumentKind
    verifier: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectSettings:
    """One publication that is an object in a bucket.

    Attributes:
        backend: whose object storage it is.
        options: an instance of that backend's own model, already validated; None where it has faults.
        plain_json: a verifier asks for `application/json` only.
    """

    to: str
    backend: str
    key: str
    options: Any = field(repr=False)
    plain_json: bool = False
    document: DocumentKind = DocumentKind.JWKS

    @property
    def address(self) -> str:
        """The target's name: bucket and key, and the server where it is not the usual one."""
        return f"{self.bucket}/{self.key}"

    @property
    def bucket(self) -> str:
        """The bucket, as operators name it: the kind, a colon, its place."""
        return f"{self.to}:{getattr(self.options, 'place', '')}"

    @property
    def login(self) -> str:
        """What is equal for publications that share a bucket, a login and connections; no option is a secret."""
        return f"{self.backend} {self.options.model_dump_json()}"


@dataclass(frozen=True, slots=True)
class AuthenticatorSettings:
    """One publication that is what an authenticator of a store verifies with."""

    to: str
    store: str
    service: str
    document: DocumentKind = DocumentKind.JWKS

    @property
    def address(self) -> str:
        """The target's name."""
        return f"{self.to}:{self.store}/{self.service}"


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """One delivery that is a Kubernetes Secret; `namespace` None is that of the identity."""

    to: str
    name: str
    cluster: ClusterSettings
    namespace: str | None = None
    document: DocumentKind = DocumentKind.SIGNING
    labels: tuple[tuple[str, str], ...] = ()
    restart: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The target's name."""
        return _in_cluster(self.to, self.cluster, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class ConfigMapSettings:
    """One publication that is a key of a Kubernetes ConfigMap."""

    to: str
    name: str
    cluster: ClusterSettings
    namespace: str | None = None
    key: str = "jwks.json"
    labels: tuple[tuple[str, str], ...] = ()
    document: DocumentKind = DocumentKind.JWKS

    @property
    def address(self) -> str:
        """The target's name."""
        return _in_cluster(self.to, self.cluster, self.namespace, self.name)


def _in_cluster(kind: str, cluster: ClusterSettings, namespace: str | None, name: str) -> str:
    return f"{kind}:{'/'.join(part for part in (cluster.context, namespace, name) if part)}"


TargetSettings = (
    DeliverSettings
    | PublishSettings
    | DocumentSettings
    | ObjectSettings
    | AuthenticatorSettings
    | SecretSettings
    | ConfigMapSettings
)
"""A delivery or a publication. A kind that is no path and no document of a store has an `address`."""
