"""Where each server really holds material of a key set, asked by its own API and not by our store."""

from __future__ import annotations

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


LOCATORS: Final[dict[str, Callable[[Ground], set[str]]]] = {
    "aws": _aws,
    "file": _files,
    "vault": _vault,
}
