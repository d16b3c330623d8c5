"""Which API server is meant, and as whom. Plain and frozen: equal settings share one login."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """One API server as one identity.

    Attributes:
        kubeconfig: None takes the pod's own service account, else `KUBECONFIG`, else `~/.kube/config`.
        context: of the kubeconfig; None takes its current one.
        connect_timeout, read_timeout: seconds.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    connect_timeout: float = 3.0
    read_timeout: float = 10.0

    @property
    def title(self) -> str:
        """What people call it: the context, or `kubernetes` for the only one."""
        return self.context or "kubernetes"
