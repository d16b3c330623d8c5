"""A real Vault in development mode: in memory, unsealed, plain HTTP on loopback, KV version 2 at `secret/`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.servers import free_port, launch, left_out

BINARY: Final = "ROTATOR_VAULT"
"""The environment variable that names a vault to use instead of what `make servers` builds."""

_BUILT: Final = Path(__file__).resolve().parents[2] / ".servers" / "vault"


def binary() -> Path:
    """Return the vault to run; without one, the test is left out."""
    found = Path(os.environ.get(BINARY) or _BUILT)
    if not found.is_file():
        left_out("Vault")
    return found


class VaultServer:
    """One server; its root token is in a file that only this user reads."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="rotator-vault-"))
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.token_file = self.scratch / "root-token"
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.token + "\n")
        self._process = self._launch()

    def _launch(self) -> subprocess.Popen[bytes]:
        # The token by the environment: arguments are read by everybody on the machine.
        return launch(
            [
                binary(),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-listen-address=127.0.0.1:{self.port}",
            ],
            self.scratch / "log",
            self._ready,
            env={
                "HOME": str(self.scratch),
                "PATH": os.environ["PATH"],
                "VAULT_DEV_ROOT_TOKEN_ID": self.token,
            },
        )

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            status, _ = self.request("GET", "secret/config")
            return status == 200
        return False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> Mapping[str, str]:
        """Nothing: the login of the settings is a file."""
        return {}

    def settings(self, prefix: str, *, url: str | None = None) -> dict[str, Any]:
        """Return the options of a store that logs in with the root token and has a path of its own."""
        return {
            "address": url or self.url,
            "prefix": f"rotator/{prefix}",
            "auth": {"method": "token", "token_file": str(self.token_file)},
        }

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        wrap: str | None = None,
    ) -> tuple[int, Any]:
        """Make one call of the API as root, or with another token; return status and JSON.

        Args:
            wrap: how long the answer is kept behind a wrapping token, such as `60s`.
        """
        headers = {"X-Vault-Token": self.token if token is None else token}
        if wrap is not None:
            headers["X-Vault-Wrap-TTL"] = wrap
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(
                method,
                f"/v1/{path}",
                None if body is None else json.dumps(body),
                headers,
            )
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None

    def do(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        wrap: str | None = None,
    ) -> Any:
        """Make one call as root that must succeed; return its JSON."""
        status, answer = self.request(method, path, body, wrap=wrap)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def forget_everything(self) -> None:
        """Restart it: what it held was in memory, and only the root token is the same."""
        self._end()
        self._process = self._launch()

    def stop(self) -> None:
        """End it, and remove its files."""
        self._end()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start() -> VaultServer:
    """Start a server."""
    return VaultServer()
