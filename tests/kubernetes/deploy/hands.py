"""The chart and the manifests rendered by their real tools, applied to a real API server, and their containers run as processes."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.campaign.processes import until
from tests.kubernetes.conftest import Space
from tests.servers import left_out
from tests.servers.kubernetes import KubernetesServer

ROOT: Final = Path(__file__).resolve().parents[3]
CHART: Final = ROOT / "deploy" / "helm" / "rotator"
VALUES: Final = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*.yaml"))
VERSION: Final = "1.36"
BOUND: Final = 240.0  # seconds; only a test that fails waits so long

Manifest = dict[str, Any]

_PLURALS: Final = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
_OPERATORS: Final = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of Prometheus' operator, which no API server has by itself."""


def tool(name: str) -> str:
    """Return a program that `make servers` builds; without it, the test is left out."""
    found = Path(os.environ.get(f"ROTATOR_{name.upper()}") or ROOT / ".servers" / name)
    if not found.is_file():
        left_out(name)
    return str(found)


def helm(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    return subprocess.run(
        [tool("helm"), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"HELM_CACHE_HOME": "/nonexistent"} | environ,
        check=False,
        timeout=BOUND,
    )


@functools.cache
def rendered(values: str, namespace: str = "login", *more: str) -> str:
    """Return what `helm template` prints for a file of `ci/`."""
    words = (
        "--kube-version",
        VERSION,
        "--namespace",
        namespace,
        "--values",
        str(values_file(values)),
    )
    ran = helm("template", "rot", str(CHART), *words, *more)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def values_file(values: str) -> Path:
    """Return a file of values that the chart is tested with."""
    return CHART / "ci" / f"{values}-values.yaml"


def documents(text: str) -> list[Manifest]:
    """Return the objects of a stream of YAML."""
    return [item for item in YAML(typ="safe", pure=False).load_all(text) if item]


@functools.cache
def chart(values: str, namespace: str = "login", *more: str) -> list[Manifest]:
    """Return the objects of `rendered`; nobody changes them."""
    return documents(rendered(values, namespace, *more))


def the(found: Iterable[Manifest], kind: str, name: str = "") -> Manifest:
    """Return the one object of a kind, and of a name if given."""
    (one,) = [
        item for item in found if item["kind"] == kind and item["metadata"]["name"].endswith(name)
    ]
    return one


def pod_of(item: Manifest) -> Manifest | None:
    """Return the template of the pods of a workload, None of anything else."""
    spec = item.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    template = spec.get("template")
    return template if isinstance(template, dict) else None


def api_path(item: Manifest, namespace: str) -> str:
    """Return where objects of a kind are."""
    version = item["apiVersion"]
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    plural = _PLURALS.get(item["kind"], f"{item['kind'].lower()}s")
    return f"{base}/namespaces/{item['metadata'].get('namespace', namespace)}/{plural}"


def restricted(api: KubernetesServer, name: str) -> None:
    """Let Pod Security refuse, and warn of, whatever is not restricted in a namespace."""
    levels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    kind = "application/merge-patch+json"
    patch = {"metadata": {"labels": levels}}
    status, answer = api.request("PATCH", f"/api/v1/namespaces/{name}", patch, content_type=kind)
    assert status == 200, answer
    # What it goes by is a copy that follows.
    pod = {"metadata": {"name": "bad"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    tried = f"/api/v1/namespaces/{name}/pods?dryRun=All"
    until(lambda: api.request("POST", tried, pod)[0] == 403)


def apply(space: Space, found: Sequence[Manifest]) -> None:
    """Apply objects, server-side and strictly, and try the pods of the workloads; nothing may be warned of."""
    space.api.warnings.clear()
    for item in found:
        if item["kind"] in _OPERATORS:
            continue
        where = api_path(item, space.name)
        path = f"{where}/{item['metadata']['name']}?fieldManager=tests&fieldValidation=Strict"
        kind = "application/apply-patch+yaml"
        status, answer = space.api.request("PATCH", path, item, content_type=kind)
        assert status in {200, 201}, (item["kind"], answer)
        if (template := pod_of(item)) is not None:
            metadata = {**template["metadata"], "name": f"{item['metadata']['name']}-0"}
            pod = {"metadata": metadata, "spec": template["spec"]}
            where = f"/api/v1/namespaces/{space.name}/pods?dryRun=All&fieldValidation=Strict"
            status, answer = space.api.request("POST", where, pod)
            assert status == 201, answer
    assert space.api.warnings == []
    in_force(space, found)


def in_force(space: Space, found: Sequence[Manifest]) -> None:
    """Wait until the API server goes by the Roles among objects that were applied."""
    roles = {item["metadata"]["name"]: item for item in found if item["kind"] == "Role"}
    rights = [
        (subject["name"], verb, resource, name, group)
        for item in found
        if item["kind"] == "RoleBinding"
        for subject in item["subjects"]
        for rule in roles[item["roleRef"]["name"]]["rules"]
        if item["metadata"].get("namespace", space.name) == space.name
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for group in rule["apiGroups"]
    ]
    until(
        lambda: all(
            space.api.may(space.name, account, verb, resource, name, group=group)
            for account, verb, resource, name, group in rights
        )
    )


@dataclass(frozen=True)
class Container:
    """What a pod's container runs, as a process of this machine.

    Attributes:
        root: what stands in for the root of its file system.
    """

    args: list[str]
    environ: dict[str, str]
    root: Path

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.args, env=self.environ, capture_output=True, text=True, check=False, timeout=BOUND
        )


def container(item: Manifest, found: Iterable[Manifest], root: Path, **environ: str) -> Container:
    """Return the exact command and environment of a workload, its mounts below a directory.

    Args:
        found: where its ConfigMaps are.
        environ: what the kubelet and the image give it, beside what the manifest does.
    """
    template = pod_of(item)
    assert template is not None
    spec = template["spec"]
    (only,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in only["volumeMounts"]}
    mounts["published"] = "/published"  # what the edge's are all below
    for volume in spec["volumes"]:
        here = root / mounts[volume["name"]].lstrip("/")
        here.mkdir(parents=True, exist_ok=True)
        name = volume.get("configMap", {}).get("name")
        held = [
            one for one in found if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", name)
        ]
        for one in held[:1]:
            files = {key: below(root, text, mounts) for key, text in one.get("data", {}).items()}
            mount(here, files)
    given = {
        variable["name"]: below(root, variable["value"], mounts)
        for variable in only["env"]
        if "value" in variable
    }
    assert only["command"] == ["rotator"]
    args = [below(root, word, mounts) for word in only["args"]]
    base = {"PATH": os.environ["PATH"], "HOME": str(root)}
    return Container([sys.executable, "-P", "-m", "rotator", *args], base | given | environ, root)


def below(root: Path, text: str, mounts: Mapping[str, str]) -> str:
    """Return a text with its mount paths put below a directory."""
    for path in sorted(mounts.values(), key=len, reverse=True):
        text = text.replace(path, f"{root}\0{path[1:]}")
    return text.replace("\0", "/")


def mount(volume: Path, files: Mapping[str, str]) -> None:
    """Show files as the kubelet does: a directory for each version, switched by one symbolic link."""
    number = len(list(volume.glob("..v*")))
    folder = volume / f"..v{number}"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    (volume / "..data_tmp").symlink_to(folder.name)
    (volume / "..data_tmp").replace(volume / "..data")


def read(space: Space, resource: str, name: str) -> dict[str, str]:
    """Return the data of a Secret or ConfigMap."""
    status, answer = space.api.request("GET", f"/api/v1/namespaces/{space.name}/{resource}/{name}")
    assert status == 200, answer
    return dict(answer.get("data") or {})


def quick(path: Path, config: Mapping[str, Any], **values: Any) -> Path:
    """Write values, the configuration among them."""
    path.write_text(json.dumps({"config": config, **values}))
    return path
