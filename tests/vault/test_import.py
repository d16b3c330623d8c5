"""What is loaded when: naming the backend costs nothing, opening it hvac and requests, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from rotator_vault import backend
named = set(sys.modules)
settings = backend.settings()(address="https://vault", auth={"method": "token", "token_env": "T"})
configured = set(sys.modules)
store = backend.open(settings)
store.rings("orders"), store.material("orders"), store.documents()
store.close()
opened = set(sys.modules)
print(json.dumps([sorted(named), sorted(configured), sorted(opened)]))
"""


def test_lazily() -> None:
    """The SDK at opening; no signing library, no other SDK and no code of `check` at all."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT], capture_output=True, check=True, text=True
    )
    named, configured, opened = (
        {name.split(".")[0] for name in modules} for modules in json.loads(ran.stdout)
    )
    assert not {"pydantic", "hvac", "requests", "urllib3"} & named
    assert not {"hvac", "requests", "urllib3"} & configured
    assert {"hvac", "requests"} <= opened
    assert not {"botocore", "boto3", "cryptography", "joserfc", "aiohttp", "structlog"} & opened
    assert "rotator_vault.inspection" not in ran.stdout
    assert "rotator_vault.policies" not in ran.stdout


MISSING = """
import sys
sys.modules[sys.argv[1]] = None
from rotator.errors import BackendMissing
from rotator_vault import backend
settings = backend.settings()(address="https://vault", auth={"method": "token", "token_env": "T"})
try:
    backend.open(settings)
except BackendMissing as error:
    print(error)
"""


@pytest.mark.parametrize("package", ["hvac", "requests"])
def test_without_the_sdk(package: str) -> None:
    """Opening says what to install."""
    command = [sys.executable, "-P", "-c", MISSING, package]
    ran = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "which is not installed: pip install 'jwks-rotator[vault]'" in ran.stdout
    assert package in ran.stdout
