"""A release, built once, and an environment made from it, shared by the tests of this folder."""

from __future__ import annotations

import sys

import pytest

from tests.packaging.environment import Built, Installed, environment, must


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist of this tree, and the wheel made from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    must(sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", out)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    assert set(out.iterdir()) == {wheel, sdist}
    return Built(wheel, sdist)


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A fresh environment with the runtime lock and the wheel, and nothing else."""
    return environment(tmp_path_factory.mktemp("environment") / "venv", built)
