"""One API server for all tests of this folder, in one worker (`tests/scheduling.py`); each test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rotator.kubernetes.cluster import Cluster
from rotator.kubernetes.settings import ClusterSettings
from tests.servers.kubernetes import KubernetesServer, start

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api() -> Iterator[KubernetesServer]:
    """The API server."""
    server = start()
    yield server
    server.stop()


@dataclass(frozen=True)
class Space:
    """An empty namespace, and a kubeconfig of its administrator in it."""

    api: KubernetesServer
    name: str
    kubeconfig: Path
    cluster: Cluster


@pytest.fixture
def space(api: KubernetesServer, tmp_path: Path) -> Iterator[Space]:
    """An empty namespace."""
    name = api.namespace(f"space-{next(_numbers)}")
    kubeconfig = api.kubeconfig(tmp_path / "kubeconfig", name)
    cluster = Cluster(ClusterSettings(kubeconfig))
    yield Space(api, name, kubeconfig, cluster)
    cluster.close()
