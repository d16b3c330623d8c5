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


LOCATORS: Final[dict[str, Callable[[Ground], set[str]]]] = {
    "file": _files,
    "vault": _vault,
}
