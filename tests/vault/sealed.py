"""A Vault that is not in development mode: TLS, and sealed at its start."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import free_port, launch
from tests.servers.vault import binary
from tests.servers_e2e.certificates import Authority, authority

CONFIG = """
storage "inmem" {{}}
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{home}/server.pem"
  tls_key_file  = "{home}/server.pem"
}}
disable_mlock = true
api_addr      = "https://127.0.0.1:{port}"
"""


@dataclass
class SealedVault:
    """The server; `token` and `key` are known once it was initialised."""

    home: Path
    port: int
    trusted: Authority
    token: str = ""
    key: str = ""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Make one call as root."""
        context = ssl.create_default_context(cafile=str(self.trusted.ca_file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context, timeout=60
        )
        with contextlib.closing(connection):
            headers = {"X-Vault-Token": self.token} if self.token else {}
            connection.request(
                method, f"/v1/{path}", None if body is None else json.dumps(body), headers
            )
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None

    def do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Make one call that must succeed."""
        status, answer = self.request(method, path, body)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def initialise(self) -> None:
        """Make one unseal key and the root token."""
        made = self.do("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.token, self.key = made["root_token"], made["keys"][0]

    def unseal(self) -> None:
        """Open it."""
        self.do("PUT", "sys/unseal", {"key": self.key})

    def seal(self) -> None:
        """Close it."""
        self.do("PUT", "sys/seal")


@contextlib.contextmanager
def sealed_vault(home: Path) -> Iterator[SealedVault]:
    """Start one that was never initialised."""
    server = SealedVault(home, free_port(), authority(home, "server"))
    (home / "vault.hcl").write_text(CONFIG.format(home=home, port=server.port))

    def ready() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return server.request("GET", "sys/seal-status")[0] == 200
        return False

    process = launch(
        [binary(), "server", f"-config={home / 'vault.hcl'}"],
        home / "log",
        ready,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
    )
    try:
        yield server
    finally:
        process.terminate()
        process.wait(60)
