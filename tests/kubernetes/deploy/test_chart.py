"""The chart as Helm renders it: every set of values sound, contradictions refused with a sentence, copies equal."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from rotator.settings import load_settings
from tests.kubernetes.deploy.hands import (
    CHART,
    ROOT,
    VALUES,
    VERSION,
    chart,
    documents,
    helm,
    pod_of,
    rendered,
    the,
    tool,
    values_file,
)

INLINE: Final = [name for name in VALUES if "\nconfig:" in values_file(name).read_text()]
BASE: Final = {
    "config": {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "/var/lib/rotator-store/rings"}},
        "key_sets": {
            "web": {
                "policy": {"token_ttl": "15m", "signer_lag": "5m"},
                "deliver": [{"to": "secret", "name": "web-signing"}],
                "publish": [{"to": "configmap", "name": "web-jwks"}],
            }
        },
    }
}


@pytest.mark.parametrize("values", VALUES)
def test_lint(values: str) -> None:
    ran = helm(
        "lint", "--strict", "--kube-version", VERSION, str(CHART), "-f", str(values_file(values))
    )
    assert ran.returncode == 0, ran.stdout
    assert "[WARNING]" not in ran.stdout


def schema_name(kind: str, api: str) -> str:
    """Return the name that a kind's schema has, as kubeconform's ResourceKind and KindSuffix make it."""
    group, _, number = api.rpartition("/")
    return "-".join(part for part in (kind, group.partition(".")[0], number) if part)


def schemas(folder: Path, version: str) -> str:
    """Write the strict schemas of a Kubernetes version where kubeconform finds them; return how to name them."""
    found = importlib.util.find_spec("kubernetes_validate")
    assert found is not None
    assert found.submodule_search_locations is not None
    (package,) = found.submodule_search_locations
    source = Path(package) / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    kinds = {
        (item["kind"].lower(), item["apiVersion"]) for values in VALUES for item in chart(values)
    }
    for name in ("_definitions", *(schema_name(*kind) for kind in kinds)):
        if (source / f"{name}.json").is_file():
            schema = json.loads((source / f"{name}.json").read_text())
            del schema["$id"]  # an address that nobody shall ask
            text = json.dumps(schema).replace("/api/_definitions.json", "_definitions.json")
            (folder / f"{name}.json").write_text(text)
    return f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"


def test_kubeconform_strict(tmp_path: Path) -> None:
    """Show 2, first part: every object of every set of values, against the oldest version; the API server is the newest."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    for values in VALUES:
        (manifests / f"{values}.yaml").write_text(rendered(values))
    words = ["-strict", "-summary", "-output=json", "-skip=ServiceMonitor,PrometheusRule"]
    location = schemas(tmp_path, "1.31")
    ran = subprocess.run(
        [tool("kubeconform"), *words, "-schema-location", location, str(manifests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = json.loads(ran.stdout)["summary"]
    assert summary["valid"] > 100
    assert (summary["invalid"], summary["errors"], summary["skipped"]) == (0, 0, 2)


@pytest.mark.parametrize("values", INLINE)
def test_the_configuration_is_one_that_rotator_takes(values: str, tmp_path: Path) -> None:
    found = [item for item in chart(values) if item["kind"] == "ConfigMap"]
    texts = {
        item["data"]["rotator.json"]
        for item in found
        if "rotator.json" in item.get("data", {})
        and not item["metadata"]["name"].endswith("dashboard")
    }
    (text,) = texts  # the first run's is the same
    path = tmp_path / "rotator.json"
    path.write_text(text)
    environ = {"ROTATOR__DEFAULTS__FIRST_RUN": "operator"}
    settings = load_settings(path, environ)
    assert all(item.policy.first_run == "operator" for item in settings.key_sets.values())


CONTRADICTIONS: Final[list[tuple[dict[str, Any], str]]] = [
    ({"mode": "cronjob", "replicas": 2}, "in mode cronjob each run is one pod"),
    ({"shards": 2, "replicas": 2}, "with shards each part has one pod"),
    ({"replicas": 2, "persistence": {"enabled": True}}, "a file store goes with replicas 1"),
    ({"shards": 2, "persistence": {"enabled": True}}, "a file store goes with shards 1"),
    (
        {"mode": "cronjob", "serviceMonitor": {"enabled": True}},
        "nothing runs that could be scraped",
    ),
    ({"existingConfig": {"secret": "other"}}, "choose one of the two"),
    ({"config": None}, "the configuration of rotator, or else name the object"),
    (
        {
            "config": None,
            "existingConfig": {"configMap": "a", "secret": "b"},
            "keySets": [{"name": "web"}],
        },
        "the configuration is in one of the two",
    ),
    ({"config": None, "existingConfig": {"configMap": "a"}}, "the chart cannot read it"),
    ({"keySets": [{"name": "web"}]}, "keySets goes with existingConfig"),
    ({"config": {"server": {"listen": "127.0.0.1:8080"}}}, "the chart serves by its edge"),
    ({"config": {"admin": {}}}, "set daemon.adminPort"),
    ({"config": {"state_dir": "/tmp"}}, "the chart mounts it"),
    ({"config": {"defaults": {"first_run": "auto"}}}, "firstRun.job makes the first key"),
    ({"config": {"key_sets": {"web": {"first_run": "auto"}}}}, "value must be 'operator'"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "Kubernetes takes one of the two"),
    ({"serviceAccount": {"create": False}}, "the name of your service account"),
    ({"edge": {"ingress": {"enabled": True}}}, "the hosts of the Ingress"),
    ({"runAsUser": 0}, "'/runAsUser': minimum: got 0, want 1"),
    ({"mode": "daemon"}, "value must be one of 'deployment', 'cronjob'"),
    ({"cronjob": {"startingDeadlineSeconds": 5}}, "minimum"),
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"config": {"key_sets": None}}, "there is nothing to rotate"),
    (
        {"config": {"key_sets": {"web": {"publish": None}}}},
        "publishes to no ConfigMap of namespace login",
    ),
    (
        {
            "config": None,
            "existingConfig": {"configMap": "a"},
            "keySets": [{"name": "web", "secrets": ["web-signing"]}],
        },
        "names the ConfigMap that the edge should serve",
    ),
    (
        {"mode": "cronjob", "cronjob": {"schedule": "*/15 * * * *"}},
        "`*/15 * * * *` is rarer than `resync` (5m)",
    ),
    ({"edge": {"host": "::"}}, "'/edge/host'"),
    ({"fullnameOverride": "web-jwks"}, "has the name of the chart's own"),
]


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return values with others laid over them; None takes one away."""
    made = {key: value for key, value in base.items() if over.get(key, "") is not None}
    for key, value in over.items():
        if isinstance(value, dict):
            made[key] = merged(made.get(key, {}), value)
        elif value is not None:
            made[key] = value
    return made


@pytest.mark.parametrize(
    ("values", "said"), CONTRADICTIONS, ids=[said for _, said in CONTRADICTIONS]
)
def test_contradictions_are_refused_with_a_sentence(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(merged(BASE, values)))
    words = ["template", "rot", str(CHART), "--kube-version", VERSION, "-n", "login"]
    ran = helm(*words, "-f", str(wrong))
    assert ran.returncode != 0
    assert said in ran.stderr
    assert ran.stdout == ""


def test_alerts_and_dashboard_are_those_of_the_repository() -> None:
    """The chart cannot reach out of its folder: it has copies."""
    for copy, original in (
        ("alerts.yaml", "prometheus/alerts.yaml"),
        ("rules.yaml", "prometheus/rules.yaml"),
        ("dashboard.json", "grafana/rotator.json"),
    ):
        made, source = CHART / "files" / copy, ROOT / "deploy" / original
        assert made.read_bytes() == source.read_bytes(), f"cp {source} {made}"
    found = chart("daemon")
    yaml = YAML(typ="safe")
    groups = [
        group
        for name in ("alerts.yaml", "rules.yaml")
        for group in yaml.load((CHART / "files" / name).read_text())["groups"]
    ]
    assert the(found, "PrometheusRule")["spec"]["groups"] == groups
    shown = the(found, "ConfigMap", "-dashboard")["data"]["rotator.json"]
    assert json.loads(shown) == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_the_edge_has_no_credentials() -> None:
    for values in VALUES:
        found = [item for item in chart(values) if item["metadata"]["name"].endswith("-edge")]
        for item in found:
            if item["kind"] == "Deployment":
                spec = pod_of(item)["spec"]  # type: ignore[index]
                assert spec["automountServiceAccountToken"] is False
                assert "serviceAccountName" not in spec
                sources = [set(volume) - {"name"} for volume in spec["volumes"]]
                allowed = [{"configMap"}, {"emptyDir"}] + [{"secret"}] * (values == "secret")
                assert all(source in allowed for source in sources)


def test_the_first_run_is_of_the_installation_only() -> None:
    """Nothing that an upgrade makes can mint: only the hook says --first-run, and every pod has `first_run: operator`."""
    seen = 0
    for values in VALUES:
        for item in chart(values):
            template = pod_of(item)
            if template is None or template["spec"]["containers"][0]["name"] == "edge":
                continue
            (only,) = template["spec"]["containers"]
            given = {one["name"]: one.get("value") for one in only["env"]}
            assert given["ROTATOR__DEFAULTS__FIRST_RUN"] == "operator"
            hooked = item["metadata"].get("annotations", {}).get("helm.sh/hook")
            assert (hooked == "pre-install") == ("--first-run" in only["args"])
            seen += hooked == "pre-install"
    assert seen == len(VALUES) - 1


def test_the_first_run_leaves_out_probes_of_its_own_edge() -> None:
    (only,) = pod_of(the(chart("daemon"), "Job"))["spec"]["containers"]  # type: ignore[index]
    given = {one["name"]: one["value"] for one in only["env"]}
    probes = json.loads(given["ROTATOR__KEY_SETS__WEB__PROBES"])
    assert probes == [
        {"url": "https://issuer.example/.well-known/jwks.json", "all_addresses": True}
    ]
    (only,) = pod_of(the(chart("sharded"), "Job"))["spec"]["containers"]  # type: ignore[index]
    given = {one["name"]: one["value"] for one in only["env"]}
    assert given["ROTATOR__KEY_SETS__WEB_1__PROBES"] == "[]"
    assert only["args"] == ["rotate", "--first-run", "jobs", "web-1"]


def test_an_object_with_keys_is_never_deleted_by_helm() -> None:
    """Helm's default deletes a hook's object before it makes it anew: with a live key that would be an outage."""
    for values in VALUES:
        for item in chart(values):
            notes = item["metadata"].get("annotations", {})
            managed = item["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by")
            if managed == "rotator":
                assert notes["helm.sh/hook-delete-policy"] == "hook-failed"
                assert "data" not in item


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    """`additionalProperties: false` finds a value without a schema; this finds a schema without a value."""
    values = YAML(typ="safe").load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(schema) - set(values) == {"global"}
    for name, part in values.items():
        known = set(schema[name].get("properties", {}))
        if isinstance(part, dict) and known and name != "config":
            assert known == set(part), name


def test_the_page_has_values_that_work(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "running" / "kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml values\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "values.yaml"
    path.write_text(block)
    words = ("--namespace", "login", "--kube-version", VERSION, "--values", str(path))
    ran = helm("template", "rotator", str(CHART), *words)
    assert ran.returncode == 0, ran.stderr
    found = documents(ran.stdout)
    (tmp_path / "rotator.json").write_text(
        the(found, "ConfigMap", "rotator")["data"]["rotator.json"]
    )
    settings = load_settings(tmp_path / "rotator.json", {})
    (probe,) = settings.key_sets["web"].probes
    assert urlsplit(probe.url).hostname == the(found, "Service", "-edge")["metadata"]["name"]


def test_no_template_names_an_image_registry() -> None:
    for path in (CHART / "templates").iterdir():
        assert not re.search(r"(docker\.io|ghcr\.io|quay\.io)", path.read_text())
