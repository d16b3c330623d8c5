"""moto's server of AWS behind the strict layer: Secrets Manager, STS and IAM at one address."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.servers import free_port, launch

REGION: Final = "eu-central-1"
ACCOUNT: Final = "123456789012"
_ROOT: Final = Path(__file__).resolve().parents[2]


class AwsServer:
    """One server. IAM is enforced only where a test asks for it."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="rotator-aws-"))
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process = self._launch()

    def _launch(self) -> subprocess.Popen[bytes]:
        environ = {key: text for key, text in os.environ.items() if not key.startswith("AWS_")}
        return launch(
            [sys.executable, "-m", "tests.servers.strict_aws", self.url.rpartition(":")[2]],
            self.scratch / "log",
            self._ready,
            env={**environ, "PYTHONPATH": str(_ROOT), "HOME": str(self.scratch)},
        )

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            self._ask("GET", "/moto-api/")
            return True
        return False

    @property
    def environ(self) -> Mapping[str, str]:
        """Credentials that moto takes, no profile of this machine's user, and nothing that leaves it."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIAROTATORTESTS0000",
            "AWS_SECRET_ACCESS_KEY": "rotator-tests",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": str(self.scratch / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.scratch / "credentials"),
        }

    def settings(self, prefix: str, *, url: str | None = None) -> dict[str, Any]:
        """Return the options of a store whose secrets begin with `prefix`."""
        return {"region": REGION, "prefix": prefix, "endpoint_url": url or self.url}

    def calls(self) -> list[tuple[str, str]]:
        """Return operation and secret of each call of Secrets Manager since they were last forgotten."""
        return [
            (operation, name) for operation, name in json.loads(self._ask("GET", "/strict/calls"))
        ]

    def forget_calls(self) -> None:
        """Begin to count anew."""
        self._ask("DELETE", "/strict/calls")

    def enforce_iam(self, *, enforced: bool) -> None:
        """Let IAM policies decide from the next call on, or not any more."""
        self._ask("POST", "/moto-api/reset-auth", b"0" if enforced else b"inf")

    def forget_everything(self) -> None:
        """Make it empty; credentials stay what they were."""
        self._ask("POST", "/moto-api/reset", b"")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.url + path, body, plain, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content


def start() -> AwsServer:
    """Start it; moto is a Python package, so it is always there."""
    return AwsServer()
