"""What the tests of the AWS store share: one server, places of their own on it, and the plain SDK beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from rotator.stores import find_backend
from rotator_aws.store import AwsStore
from tests.servers import running
from tests.servers.moto import REGION, AwsServer
from tests.servers.proxy import Proxy

_NUMBERS = itertools.count()

Opener = Callable[..., AwsStore]


@pytest.fixture
def server() -> AwsServer:
    """The server, with its login in the environment."""
    found = running("aws")
    assert isinstance(found, AwsServer)
    return found


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"unit/{next(_NUMBERS)}"


@pytest.fixture
def proxy(server: AwsServer) -> Iterator[Proxy]:
    """Stands before the server and misbehaves when told."""
    with Proxy(server.url) as between:
        yield between


def opened(settings: dict[str, Any]) -> AwsStore:
    """Open a store as the program does."""
    backend = find_backend("aws")
    store = backend.open(backend.settings()(**settings))
    assert isinstance(store, AwsStore)
    return store


@pytest.fixture
def open_store(server: AwsServer, prefix: str) -> Opener:
    """Opens a store in this test's place, with options on top."""

    def open_with(url: str | None = None, **options: Any) -> AwsStore:
        return opened({**server.settings(prefix, url=url), **options})

    return open_with


@pytest.fixture
def store(open_store: Opener) -> AwsStore:
    """A store in this test's place."""
    return open_store()


@pytest.fixture
def sdk(server: AwsServer) -> Any:
    """The plain SDK, as an administrator has it."""
    return client(server, "secretsmanager")


def client(server: AwsServer, service: str, **more: Any) -> Any:
    """Return a client of the plain SDK."""
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        service, endpoint_url=server.url, **{"region_name": REGION, "config": once, **more}
    )


def is_call(*operations: str) -> Callable[[Any], bool]:
    """Pick requests by the operation they ask for."""
    return lambda request: request.header("X-Amz-Target").rpartition(".")[2] in operations
