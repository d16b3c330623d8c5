"""The shape of the targets in Kubernetes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from rotator.kubernetes.settings import ClusterSettings
from rotator.settings.model import DOCUMENT, Absolute, Model
from rotator.settings.targets import ConfigMapSettings, SecretSettings
from rotator.settings.values import Name, PathText, PositiveDuration
from rotator.stores import DocumentKind

ObjectName = Annotated[
    str,
    Field(
        max_length=253, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
    ),
]
Namespace = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
Workload = Annotated[
    str,
    Field(
        max_length=270,
        pattern=r"^(deployment|statefulset|daemonset)/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
    ),
]
Label = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$")
]
DataKey = Annotated[str, Field(max_length=253, pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]


class InCluster(Model):
    """What the kinds of target in Kubernetes share."""

    namespace: Namespace | None = Field(
        None, description="The namespace. Default: that of the pod, or of the kubeconfig's context."
    )
    kubeconfig: PathText | None = Field(
        None,
        description="A kubeconfig. Default: the service account of the pod, else `KUBECONFIG`, else `~/.kube/config`.",
    )
    context: Name | None = Field(None, description="The context of the kubeconfig.")
    connect_timeout: PositiveDuration = Field(
        timedelta(seconds=3), description="How long a connection may take to be made."
    )
    read_timeout: PositiveDuration = Field(
        timedelta(seconds=10), description="How long the API server may take to answer one request."
    )
    labels: dict[Label, LabelValue] = Field(
        {}, description="Labels that the object gets when rotator makes it."
    )

    def cluster(self, absolute: Absolute) -> ClusterSettings:
        """Return which API server is meant, and as whom."""
        return ClusterSettings(
            absolute(self.kubeconfig) if self.kubeconfig is not None else None,
            self.context,
            self.connect_timeout.total_seconds(),
            self.read_timeout.total_seconds(),
        )


class DeliverSecret(InCluster):
    """A delivery as a Secret."""

    to: Literal["secret"] = Field(description="The kind of target: a Kubernetes Secret.")
    name: ObjectName = Field(description="The name of the Secret.")
    document: Literal["signing", "verification"] = Field("signing", description=DOCUMENT)
    restart: list[Workload] = Field(
        [],
        description="Workloads of the same namespace whose pods are rolled when the Secret got another key, "
        "as `deployment/NAME`, `statefulset/NAME` or `daemonset/NAME`: for programs that read it only at their start.",
    )

    def settings(self, absolute: Absolute) -> SecretSettings:
        """Return the delivery."""
        return SecretSettings(
            self.to,
            self.name,
            self.cluster(absolute),
            self.namespace,
            DocumentKind(self.document),
            tuple(self.labels.items()),
            tuple(self.restart),
        )


class PublishConfigMap(InCluster):
    """A publication as a key of a ConfigMap."""

    to: Literal["configmap"] = Field(description="The kind of target: a Kubernetes ConfigMap.")
    name: ObjectName = Field(description="The name of the ConfigMap.")
    key: DataKey = Field("jwks.json", description="Which of its keys is the JWKS.")

    def settings(self, absolute: Absolute) -> ConfigMapSettings:
        """Return the publication."""
        return ConfigMapSettings(
            self.to,
            self.name,
            self.cluster(absolute),
            self.namespace,
            self.key,
            tuple(self.labels.items()),
        )
