"""Somebody's hands in a Secret and in a ConfigMap, for the tests of drift that every kind of place goes through."""

from __future__ import annotations

import base64
from typing import Any, Final

from rotator.delivery.secret import KEYS, SecretDelivery
from rotator.kubernetes.held import CONFIG_MAPS, SECRETS
from rotator.kubernetes.held import Place as InCluster
from rotator.publication.config_map import ConfigMapPublication, keys_of
from rotator.stores import DocumentKind, Target
from tests.kubernetes.conftest import Space

_MERGE: Final = "application/merge-patch+json"


class Object:
    """One object, changed as its administrator changes it."""

    def __init__(self, space: Space, resource: str, main: str, target: Target) -> None:
        self.target = target
        self._space, self._main, self._secret = space, main, resource == SECRETS
        self._all = f"/api/v1/namespaces/{space.name}/{resource}"
        self._path = f"{self._all}/web"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        kind = _MERGE if method == "PATCH" else "application/json"
        status, answer = self._space.api.request(method, path, body, content_type=kind)
        assert status < 300, answer
        return answer

    def _kept(self, text: str) -> str:
        return base64.b64encode(text.encode()).decode() if self._secret else text

    def change(self) -> None:
        self._ask("PATCH", self._path, {"data": {self._main: self._kept("{}")}})

    def empty(self) -> None:
        self._ask("DELETE", self._path)

    def fill(self) -> None:
        self.empty()
        made = {"metadata": {"name": "web"}, "data": {self._main: self._kept('{"not": "ours"}')}}
        self._ask("POST", self._all, made)

    def save(self) -> Any:
        return self._ask("GET", self._path)

    def restore(self, saved: Any) -> None:
        self.empty()
        kept = {name: saved["metadata"].get(name) for name in ("name", "labels", "annotations")}
        self._ask("POST", self._all, {**saved, "metadata": kept})


def secret(space: Space) -> Object:
    """A Secret with the signing document."""
    kind = DocumentKind.SIGNING
    place = InCluster(lambda: space.cluster, SECRETS, space.name, "web", KEYS[kind], {})
    target = SecretDelivery(f"secret:{space.name}/web", place, "web", kind)
    return Object(space, SECRETS, "signing.json", target)


def config_map(space: Space) -> Object:
    """A ConfigMap with the JWKS."""
    ours = keys_of("jwks.json")
    place = InCluster(lambda: space.cluster, CONFIG_MAPS, space.name, "web", ours, {})
    target = ConfigMapPublication(f"configmap:{space.name}/web", place, "jwks.json", "web")
    return Object(space, CONFIG_MAPS, "jwks.json", target)
