"""What the tests of object storage share: one server, a bucket for each test, and the plain SDK beside ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config

from rotator.algorithms import kind_of
from rotator.documents import jwks_document
from rotator.keys import Keys
from rotator.policy import RotationPolicy
from rotator.publication.objects import ObjectPublication
from rotator.ring import Key, KeyRing, Phase
from rotator.stores import Document
from rotator_aws.object_settings import ObjectSettings
from rotator_aws.objects import Bucket
from tests.servers import running
from tests.servers.moto import REGION, AwsServer
from tests.servers.proxy import Proxy

_NUMBERS = itertools.count()
KEY = "web/jwks.json"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def key(number: int) -> Key:
    """Return one key, the same for each number."""
    keys, kind = Keys(), kind_of("ES256")
    made = keys.make(kind)
    phase = Phase.ACTIVE if number == 0 else Phase.RETIRING
    return Key(
        made.kid, kind.algorithm, kind.size, phase, "here", NOW, public=made.public, activated_at=NOW
    )  # fmt: skip


def jwks(revision: int, *numbers: int, key_set: str = "web", **policy: timedelta) -> Document:
    """Return the JWKS of some keys."""
    ring = KeyRing(
        key_set, revision=revision, keys=tuple(key(number) for number in numbers or (0,))
    )
    given = RotationPolicy(kind_of("ES256"), timedelta(hours=1), timedelta(minutes=5), **policy)  # type: ignore[arg-type]  # durations only
    return jwks_document(ring, given)


@dataclass
class Place:
    """A bucket of its own on the server."""

    server: AwsServer
    bucket: str
    sdk: Any

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the options of an entry of `publish` for it."""
        return {"bucket": self.bucket, "region": REGION, "endpoint_url": self.server.url, **more}

    def open(self, **more: Any) -> Bucket:
        """Open it as the program does."""
        return Bucket(ObjectSettings(**self.options(**more)))

    def target(self, bucket: Bucket | None = None, key_set: str = "web") -> ObjectPublication:
        """Return the publication of a key set in it."""
        opened = bucket or self.open()
        return ObjectPublication(lambda: opened, f"s3:{self.bucket}/{KEY}", KEY, key_set)

    def read(self, name: str = KEY) -> Any:
        """Return an object as the plain SDK reads it."""
        return self.sdk.get_object(Bucket=self.bucket, Key=name)


@pytest.fixture
def server() -> AwsServer:
    """The server, with its login in the environment."""
    found = running("aws")
    assert isinstance(found, AwsServer)
    return found


@pytest.fixture
def place(server: AwsServer) -> Place:
    """A new bucket."""
    sdk = client(server, "s3")
    bucket = f"bucket-{next(_NUMBERS)}"
    sdk.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Place(server, bucket, sdk)


@pytest.fixture
def proxy(server: AwsServer) -> Iterator[Proxy]:
    """Stands before the server and misbehaves when told."""
    with Proxy(server.url) as between:
        yield between


@cache
def client(server: AwsServer, service: str) -> Any:
    """Return a client of the plain SDK, as an administrator has it."""
    once = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(service, endpoint_url=server.url, region_name=REGION, config=once)


def is_method(*methods: str) -> Callable[[Any], bool]:
    """Pick requests by their method."""
    return lambda request: request.method in methods
