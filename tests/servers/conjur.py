"""The in-repo Conjur server (`rotator.testing.conjur`) in a process of its own, in memory, plain HTTP on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.servers import free_port, launch

ACCOUNT: Final = "dev"
LOGIN: Final = "host/rotator"

WITH_MATERIAL: Final = ("orders", "billing", "payments", "sessions", "rotator-check")
"""The key sets of every place that have slots; the contract fills those of `orders` with all its difficult kids."""

RING_ONLY: Final = ("elsewhere", "a", "a.b", "a-b", "a_b", "a.b.c", "1", "ring", "lock", "x" * 63)
"""More key sets, of which the contract saves rings alone."""

DOCUMENTS: Final = ("signing", "verification", "jwks")
SLOTS: Final = 18


class ConjurProcess:
    """One server, and a host that may use what `settings` declares."""

    def __init__(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="rotator-conjur-"))
        self.port = free_port()
        self.admin_key_file = self._secret("admin-key", secrets.token_hex(26))
        host = self.scratch / "host.yml"
        host.write_text("- !host rotator\n", encoding="ascii")
        self.process = launch(
            [
                *(sys.executable, "-P", "-m", "rotator.testing.conjur", "--port", str(self.port)),
                *("--account", ACCOUNT, "--admin-key-file", self.admin_key_file, "--policy", host),
            ],
            self.scratch / "log",
            self._ready,
            env={"PATH": os.environ["PATH"]},
        )
        log = (self.scratch / "log").read_text(encoding="ascii")
        keys = dict(line.split() for line in log.splitlines() if line.startswith("host/"))
        self.api_key_file = self._secret("api-key", keys[LOGIN])

    def _secret(self, name: str, value: str) -> Path:
        path = self.scratch / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(value + "\n")
        return path

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().status == 200
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
        """Declare the variables of a place, and return the options of a store in it."""
        branch = f"rotator/{prefix}"
        self.load_policy(place_policy(branch))
        return {
            "url": url or self.url,
            "account": ACCOUNT,
            "prefix": branch,
            "slots": SLOTS,
            "auth": {"method": "api-key", "login": LOGIN, "api_key_file": str(self.api_key_file)},
        }

    def declare(self, prefix: str, key_sets: Sequence[str], *, slots: int = 12) -> None:
        """Declare the variables of more key sets in the place of a prefix."""
        self.load_policy(place_policy(f"rotator/{prefix}", key_sets, (), slots=slots))

    def load_policy(self, text: str) -> None:
        """Load policy into root, as the administrator."""
        import base64

        headers = {"Content-Type": "application/x-yaml"}
        key = self.admin_key_file.read_text(encoding="ascii").strip()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", f"/authn/{ACCOUNT}/admin/authenticate", key, headers)
            token = base64.b64encode(connection.getresponse().read()).decode("ascii")
            headers["Authorization"] = f'Token token="{token}"'
            connection.request("PATCH", f"/policies/{ACCOUNT}/policy/root", text, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 201, said

    def forget_everything(self) -> None:
        """Drop every value: what policy declared stays, as the identity provider of a company would."""
        self._signal(signal.SIGHUP)

    def expire_tokens(self) -> None:
        """Make every access token worthless, as time would."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: int) -> None:
        """Send a signal, and wait until the server has said that it heard it."""
        log = self.scratch / "log"
        before = log.stat().st_size
        self.process.send_signal(number)
        for _ in range(6_000):
            if log.stat().st_size > before:
                return
            threading.Event().wait(0.01)
        raise AssertionError("the server did not hear the signal")

    def stop(self) -> None:
        """End it, and remove its files."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)


def place_policy(
    branch: str,
    key_sets: Sequence[str] = WITH_MATERIAL,
    ring_only: Sequence[str] = RING_ONLY,
    *,
    slots: int = SLOTS,
) -> str:
    """Return the policy that declares the variables of some key sets and gives them to the host."""
    names = [f"{key_set}/ring" for key_set in (*key_sets, *ring_only)]
    names += [f"{one}/material/slot-{n:02}" for one in key_sets for n in range(1, slots + 1)]
    names += [f"{one}/{document}" for one in key_sets for document in DOCUMENTS]
    names += ["orders/signing2", "orders-2/signing"] if ring_only else []
    listed = "\n".join(f"      - !variable {name}" for name in names)
    return f"""
- !policy
  id: {branch}
  body:
    - &variables
{listed}
    - !permit
      role: !host /rotator
      privileges: [ read, execute, update ]
      resources: *variables
"""


def start() -> ConjurProcess:
    """Start a server."""
    return ConjurProcess()
