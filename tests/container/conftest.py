"""Images, built once for this folder; what builds them takes minutes and is `make container-test`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.container.images import Buildah, Image

HEAVY = ["test_image.py", "test_release.py"]
collect_ignore = [] if os.environ.get("ROTATOR_CONTAINER") else HEAVY


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """A place for images that is gone afterwards."""
    made = Buildah(tmp_path_factory.mktemp("images"))
    yield made
    made("rm", "--all")
    made("rmi", "--all", "--force")


@pytest.fixture(scope="session")
def image(buildah: Buildah) -> Image:
    """The default image: every backend."""
    return buildah.built("all")


@pytest.fixture(scope="session")
def aws_image(buildah: Buildah) -> Image:
    """The largest image of one backend."""
    return buildah.built("aws")
