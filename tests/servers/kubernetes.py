"""A real Kubernetes API: kube-apiserver over etcd, with RBAC and service account tokens, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.servers import free_port, launch, left_out

BINARIES: Final = {"kube-apiserver": "ROTATOR_KUBE_APISERVER", "etcd": "ROTATOR_ETCD"}
"""By program: the environment variable that names one to use instead of what `make servers` makes."""

_MADE: Final = Path(__file__).resolve().parents[2] / ".servers"


def binary(name: str) -> Path:
    """Return a program to run; without it, the test is left out."""
    found = Path(os.environ.get(BINARIES[name]) or _MADE / name)
    if not found.is_file():
        left_out(name)
    return found


class KubernetesServer:
    """One API server; the token of its administrator is in a file that only this user reads."""

    def __init__(self) -> None:
        programs = {name: binary(name) for name in BINARIES}
        self.scratch = Path(tempfile.mkdtemp(prefix="rotator-kubernetes-"))
        self.port = free_port()
        self.admin_token = secrets.token_hex(16)
        self.warnings: list[str] = []
        """What it warned of (RFC 9111 §5.5, Kubernetes "Warning mechanism"), since whoever cares emptied this."""
        self._etcd, self._peer = free_port(), free_port()
        self._stores = self._launch_etcd(programs["etcd"])
        self._key = self._private_key()
        try:
            self._process = self._launch(programs["kube-apiserver"])
        except BaseException:
            self._stores.kill()
            raise

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that it identifies itself with; it signed it itself."""
        return self.scratch / "certificates" / "apiserver.crt"

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = "",
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        """Ask the API as its administrator, or with another token; return the status and the answer."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=30, context=context
        )
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {token or self.admin_token}"}
            data = None
            if body is not None:
                data, headers["Content-Type"] = json.dumps(body), content_type
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            self.warnings += answer.headers.get_all("Warning") or []
            text = answer.read()
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(text) if kind == "application/json" else text

    def namespace(self, name: str) -> str:
        """Make an empty namespace and return its name."""
        status, answer = self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status == 201, answer
        return name

    def account_token(self, namespace: str, account: str) -> str:
        """Make a service account if there is none, and return a token of it (TokenRequest)."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        status, answer = self.request("POST", accounts, {"metadata": {"name": account}})
        assert status in {201, 409}, answer
        asked = {"spec": {"expirationSeconds": 3600}}
        status, answer = self.request("POST", f"{accounts}/{account}/token", asked)
        assert status == 201, answer
        return str(answer["status"]["token"])

    def may(
        self, namespace: str, account: str, verb: str, resource: str, name: str, *, group: str = ""
    ) -> bool:
        """Tell what a service account may do by now: the server learns of a Role a moment after that was written."""
        asked = {"verb": verb, "group": group, "resource": resource, "name": name}
        spec = {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "resourceAttributes": {"namespace": namespace, **asked},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        status, answer = self.request("POST", path, {"spec": spec})
        assert status == 201, answer
        return bool(answer["status"]["allowed"])

    def kubeconfig(self, path: Path, namespace: str, *, token: str = "", url: str = "") -> Path:
        """Write a kubeconfig for a token (the administrator's), and return its path."""
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "contexts": [
                        {
                            "name": "here",
                            "context": {"cluster": "here", "user": "me", "namespace": namespace},
                        }
                    ],
                    "clusters": [
                        {
                            "name": "here",
                            "cluster": {
                                "server": url or self.url,
                                "certificate-authority": str(self.ca_file),
                            },
                        }
                    ],
                    "users": [{"name": "me", "user": {"token": token or self.admin_token}}],
                }
            )
        )
        path.chmod(0o600)
        return path

    def stop(self) -> None:
        """End both programs."""
        for process in (self._process, self._stores):
            process.kill()
            process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _launch_etcd(self, program: Path) -> subprocess.Popen[bytes]:
        here, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd, self._peer))
        return launch(
            [
                program,
                f"--data-dir={self.scratch / 'etcd'}",
                f"--listen-client-urls={here}",
                f"--advertise-client-urls={here}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
            ],
            self.scratch / "etcd.log",
            self._etcd_ready,
            env={"HOME": str(self.scratch), "PATH": os.environ["PATH"]},
        )

    def _etcd_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd, timeout=5)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", "/health")
            return b"true" in connection.getresponse().read()
        return False

    def _launch(self, program: Path) -> subprocess.Popen[bytes]:
        tokens = self.scratch / "tokens.csv"
        tokens.write_text(f'{self.admin_token},admin,1,"system:masters"\n')
        tokens.chmod(0o600)
        return launch(
            [
                program,
                f"--etcd-servers=http://127.0.0.1:{self._etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--cert-dir={self.ca_file.parent}",
                "--service-account-issuer=https://kubernetes.test",
                f"--service-account-key-file={self._key}",
                f"--service-account-signing-key-file={self._key}",
                "--authorization-mode=RBAC",
                f"--token-auth-file={tokens}",
                "--service-cluster-ip-range=10.0.0.0/24",
                # There is no controller that would make the accounts' default objects.
                "--disable-admission-plugins=ServiceAccount",
            ],
            self.scratch / "apiserver.log",
            self._ready,
            env={"HOME": str(self.scratch), "PATH": os.environ["PATH"]},
        )

    def _ready(self) -> bool:
        if not self.ca_file.is_file():
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = self.request("GET", "/readyz")
            return status == 200
        return False

    def _private_key(self) -> Path:
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        made = generate_private_key(SECP256R1())
        path = self.scratch / "accounts.key"
        path.write_bytes(
            made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        path.chmod(0o600)
        return path


def start() -> KubernetesServer:
    """Start an API server."""
    return KubernetesServer()
