"""What is loaded when: naming the backend costs nothing, opening it hvac and requests, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

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
