"""Where each server really holds material of a key set, asked by its own API and not by our store."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.servers_e2e.ground import Ground


def _files(ground: Ground) -> set[str]:
    folder = ground.path / "store" / ground.name / "material"
    return {path.stem for path in folder.iterdir()}


def _vault(ground: Ground) -> set[str]:
    server: Any = ground.server
    path = f"secret/metadata/{ground.settings['prefix']}/{ground.name}/material"
    status, answer = server.request("LIST", path)
    return set(answer["data"]["keys"]) if status == 200 else set()


def aws_client(url: str, region: str) -> Any:
    """Return a client of AWS's own, as an operator has one."""
    import boto3

    return boto3.client("secretsmanager", endpoint_url=url, region_name=region)


def _aws(ground: Ground) -> set[str]:
    below = f"{ground.settings['prefix']}/{ground.name}/material/"
    pages = (
        aws_client(ground.server.url, ground.settings["region"])
        .get_paginator("list_secrets")
        .paginate(Filters=[{"Key": "name", "Values": [below]}])
    )
    names = [item["Name"] for page in pages for item in page["SecretList"]]
    return {name.removeprefix(below) for name in names if name.startswith(below)}


class Administrator:
    """Conjur's administrator, who reads every version that the server keeps."""

    def __init__(self, server: Any) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        key = server.admin_key_file.read_bytes().strip()
        token = self._ask("POST", "/authn/dev/admin/authenticate", key, {})
        encoded = base64.b64encode(token).decode()
        self._headers = {"Authorization": f'Token token="{encoded}"'}

    def variables(self, below: str) -> dict[str, list[int]]:
        """Return the versions kept of each variable whose name begins so."""
        listed = json.loads(self._ask("GET", "/resources/dev?kind=variable"))
        names = {item["id"].partition(":variable:")[2]: item for item in listed}
        return {
            name: [one["version"] for one in item["secrets"]]
            for name, item in names.items()
            if name.startswith(below)
        }

    def value(self, variable: str, version: int) -> bytes:
        """Return one version."""
        quoted = urllib.parse.quote(variable, safe="")
        return self._ask("GET", f"/secrets/dev/variable/{quoted}?version={version}")

    def write(self, variable: str, value: bytes) -> None:
        """Write a version, as somebody who knows nothing of rotator."""
        quoted = urllib.parse.quote(variable, safe="")
        self._ask("POST", f"/secrets/dev/variable/{quoted}", value)

    def rotate_api_key(self, role: str) -> bytes:
        """Give a role a new API key, and return it; the one before is worthless."""
        return self._ask("PUT", f"/authn/dev/api_key?role={role}")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> bytes:
        sent = self._headers if headers is None else headers
        self._connection.request(method, path, body, {"Content-Type": "text/plain", **sent})
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (method, path, answer.status, content)
        return content


def _conjur(ground: Ground) -> set[str]:
    """Locators of which any version that is kept is not a tombstone: history counts."""
    below = f"{ground.settings['prefix']}/{ground.name}/material/"
    found = set()
    with contextlib.closing(Administrator(ground.server)) as administrator:
        for name, versions in administrator.variables(below).items():
            values = (administrator.value(name, version) for version in versions)
            if any(b"rotator.conjur-gone/1" not in value for value in values):
                found.add(name.removeprefix(below))
    return found


LOCATORS: Final[dict[str, Callable[[Ground], set[str]]]] = {
    "aws": _aws,
    "conjur": _conjur,
    "file": _files,
    "vault": _vault,
}
