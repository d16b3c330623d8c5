"""What of the Dockerfile must follow the code: the data of the AWS SDK that stays in the image."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import botocore
import botocore.loaders
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KEPT = set(re.findall(r"! -name ([\w-]+)", DOCKERFILE))


def named(folder: Path, pattern: str) -> set[str]:
    """Return what a pattern finds in the sources of a folder."""
    return {
        found
        for path in folder.rglob("*.py")
        for found in re.findall(pattern, path.read_text(encoding="utf-8"))
    }


def test_the_services_that_the_program_asks_stay() -> None:
    """A call of a service whose data is gone would fail in the image only."""
    every = set(botocore.loaders.Loader().list_available_services("service-2"))
    ours = named(ROOT / "backends" / "rotator_aws", r'"([a-z0-9-]+)"') & every
    assert {"cloudfront", "iam", "s3", "secretsmanager", "sts"} <= ours
    # Words of the sources that are services as well, and are no call of one.
    assert ours - {"config", "account"} <= KEPT


def test_the_services_that_the_sdk_logs_in_with_stay() -> None:
    """SSO, web identity, roles, `aws login`: the SDK's own credential providers make clients as well."""
    sdk = Path(botocore.__file__).parent
    logins = named(sdk, r"(?:client_creator|create_client)\(\s*['\"]([\w-]+)['\"]")
    assert {"sso", "sts"} <= logins
    assert logins <= KEPT


@pytest.mark.parametrize("word", ["http://", "https://", "index-url", "trusted-host"])
def test_no_address_is_written_down(word: str) -> None:
    """Packages come from wherever the builder's own pip takes them; hashes say what they must be."""
    assert word not in DOCKERFILE


def test_the_label_has_the_version() -> None:
    """Of the program that is in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"^ARG VERSION=(\S+)", DOCKERFILE, re.MULTILINE) == [project["version"]]


def test_both_stages_are_of_one_base() -> None:
    """Else the environment's interpreter would not be where it was."""
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
