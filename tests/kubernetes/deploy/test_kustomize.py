"""The manifests without Helm: those of the chart, built by Kustomize, sound, and applied to a real API server."""

from __future__ import annotations

import subprocess

import pytest

from rotator.settings import load_settings
from tests.kubernetes.conftest import Space
from tests.kubernetes.deploy.as_manifests import MANIFESTS, OVERLAYS, manifests
from tests.kubernetes.deploy.hands import Manifest, apply, documents, pod_of, restricted, the, tool


def build(folder: str) -> list[Manifest]:
    """Return what `kubectl apply -k` would apply."""
    ran = subprocess.run(
        [tool("kustomize"), "build", str(MANIFESTS / folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return documents(ran.stdout)


def test_they_are_those_of_the_chart() -> None:
    for name, items in manifests().items():
        written = documents((MANIFESTS / name).read_text())
        assert written == items, f"{name}: python -m tests.kubernetes.deploy.as_manifests"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_applied_under_restricted_pod_security_without_a_warning(
    space: Space, overlay: str
) -> None:
    restricted(space.api, space.name)
    for folder in ("objects", "first-run", f"overlays/{overlay}"):
        found = [item for item in build(folder) if item["kind"] != "Namespace"]
        for item in found:
            assert item["metadata"].pop("namespace") == "rotator"
            for one in item.get("subjects", []):
                assert one.pop("namespace") == "rotator"
                one["namespace"] = space.name
        apply(space, found)


def test_what_pods_mount_is_there() -> None:
    first = the(build("first-run"), "Job")
    for overlay in OVERLAYS:
        found = build(f"overlays/{overlay}")
        configuration = the(found, "ConfigMap")["metadata"]["name"]
        kinds = {"daemon": "Deployment", "cronjob": "CronJob", "sharded": "StatefulSet"}
        workload = [item for item in found if item["kind"] == kinds[overlay]]
        for item in (first, *workload, the(found, "Deployment", "-edge")):
            spec = pod_of(item)["spec"]  # type: ignore[index]
            names = [
                volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume
            ]
            assert set(names) <= {configuration, "web-jwks"}
            assert configuration in names
            assert spec["containers"][0]["image"] == "rotator:0.1.0"


def test_the_configuration_is_one_that_rotator_takes() -> None:
    settings = load_settings(MANIFESTS / "configuration" / "rotator.yaml", {})
    assert list(settings.key_sets) == ["web"]
