"""The chart's objects as the manifests of `deploy/kubernetes` have them.

`python -m tests.kubernetes.deploy.as_manifests` writes those again after a change of the chart.
"""

from __future__ import annotations

import io
import json
import tempfile
from typing import Any, Final

from ruamel.yaml import YAML

from tests.kubernetes.deploy.hands import CHART, ROOT, VERSION, Manifest, documents, helm

MANIFESTS: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final[dict[str, dict[str, Any]]] = {
    "daemon": {"replicas": 2},
    "cronjob": {"mode": "cronjob"},
    "sharded": {"shards": 3},
}

_VALUES: Final = {"projectedTokens": [{"name": "vault", "audience": "vault"}]}
_HEADS: Final = {
    "base/access.yaml": "The account that rotates: each object by its name.",
    "base/edge.yaml": "The JWKS over HTTP from the mounted ConfigMap, without credentials: it goes on when nothing else does.",
    "first-run/first-run.yaml": "The first key. Delete what is in this file once the Job is complete.",
    "objects/objects.yaml": "What rotator writes, made empty: `create` cannot be bound to a name, so nobody is given it.",
    "overlays/daemon/daemon.yaml": "Daemons; any number is safe, for none leads.",
    "overlays/cronjob/cronjob.yaml": "`rotator rotate` at fixed times.",
    "overlays/sharded/sharded.yaml": "Daemons, each with a part of the key sets; `replicas` and the number in ROTATOR_SHARD are the same.",
}
_MARK: Final = "app.kubernetes.io/managed-by"
_DROPPED: Final = ("helm.sh/", "checksum/", "app.kubernetes.io/version")


def manifests() -> dict[str, list[Manifest]]:
    """Return the objects of each file, from the chart."""
    config = YAML(typ="safe").load((MANIFESTS / "configuration" / "rotator.yaml").read_text())
    made: dict[str, list[Manifest]] = {name: [] for name in _HEADS}
    for overlay, settings in OVERLAYS.items():
        for item in _rendered({**_VALUES, **settings, "config": config}):
            file = _file_of(item, overlay)
            plain = _plain(item)
            if file is not None and plain not in made[file]:
                made[file].append(plain)
    return made


def _rendered(values: Manifest) -> list[Manifest]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as held:
        json.dump(values, held)
        held.flush()
        ran = helm("template", "rotator", str(CHART), "--kube-version", VERSION, "-f", held.name)
    assert ran.returncode == 0, ran.stderr
    return documents(ran.stdout)


def _file_of(item: Manifest, overlay: str) -> str | None:
    """Return where an object is; the configuration's ConfigMap is made by Kustomize."""
    if item["metadata"]["labels"][_MARK] == "rotator":
        return "objects/objects.yaml"
    if item["kind"] == "ConfigMap":
        return None
    component = item["metadata"]["labels"]["app.kubernetes.io/component"]
    shared = {
        "rotator": "base/access.yaml",
        "edge": "base/edge.yaml",
        "first-run": "first-run/first-run.yaml",
    }
    return shared.get(component, f"overlays/{overlay}/{overlay}.yaml")


def _plain(part: Any) -> Any:
    """Return an object without what is Helm's: its labels and hooks, and how it names the configuration."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    made = {key: _plain(value) for key, value in part.items() if not _is_helms(key, value)}
    for key in ("labels", "annotations"):
        if made.get(key) == {}:
            del made[key]
    if made.get("name") == "configuration" and "configMap" in made:
        made["configMap"] = {"name": "rotator"}
    if made.get("name") == "ROTATOR_CONFIG":
        made["value"] = "/etc/rotator/rotator.yaml"
    if "image" in made:
        made["image"] = "rotator"
    return made


def _is_helms(key: str, value: Any) -> bool:
    if key == "namespace":
        return bool(value == "default")
    return key.startswith(_DROPPED) or (key == _MARK and value == "Helm")


def write() -> None:
    """Write every file."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    for name, items in manifests().items():
        out = io.StringIO()
        out.write(
            f"# {_HEADS[name]}\n# The chart's objects without Helm (deploy/helm/rotator); a test keeps them equal.\n"
        )
        for item in items:
            out.write("---\n")
            yaml.dump(item, out)
        (MANIFESTS / name).write_text(out.getvalue())


if __name__ == "__main__":
    write()
