"""The chart in a real API server: Pod Security, installation in the order of `helm install --wait`, rights, and its containers."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from tests.campaign.processes import Output, until
from tests.kubernetes.conftest import Space
from tests.kubernetes.deploy.controllers import Controllers
from tests.kubernetes.deploy.hands import (
    CHART,
    VALUES,
    VERSION,
    Container,
    Manifest,
    api_path,
    apply,
    chart,
    container,
    documents,
    helm,
    in_force,
    mount,
    pod_of,
    read,
    restricted,
    the,
)
from tests.servers import free_port

POLICY: Final = {
    "token_ttl": "2s",
    "signer_lag": "1s",
    "rotate_every": "3s",
    "propagation": "2s",
    "verifier_cache": "200ms",
    "leeway": "200ms",
    "clock_skew": "100ms",
    "jwks_max_age": "1s",
    "jwks_stale": "0s",
    "resync": "500ms",
}
KEY_SET: Final = {
    "algorithm": "ES256",
    "policy": {"token_ttl": "15m", "signer_lag": "5m"},
    "deliver": [{"to": "secret", "name": "web-signing"}],
    "publish": [{"to": "configmap", "name": "web-jwks"}],
    "probes": ["http://rot-rotator-edge/web/jwks.json"],
}
VOLUME: Final = {
    "config": {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "/var/lib/rotator-store/rings"}},
        "key_sets": {"web": KEY_SET},
    },
    "persistence": {"enabled": True},
}
UNPROBED: Final = {**KEY_SET, "probes": []}


@pytest.fixture
def home(space: Space) -> Space:
    """A namespace in which only restricted pods may be."""
    restricted(space.api, space.name)
    return space


@pytest.mark.parametrize("values", VALUES)
def test_applied_under_restricted_pod_security_without_a_warning(home: Space, values: str) -> None:
    """Show 2, second part."""
    found = chart(values, home.name)
    if values == "everything":
        home.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    apply(home, found)
    apply(home, found)  # once more: nothing of it is immutable, or given a default that differs


def test_pod_security_is_there(home: Space) -> None:
    """What the test above relies on."""
    pod = {"metadata": {"name": "bad"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    status, said = home.api.request("POST", f"/api/v1/namespaces/{home.name}/pods", pod)
    assert status == 403
    assert 'violates PodSecurity "restricted' in said["message"]


def values_of(path: Path, **over: Any) -> Path:
    """Write values."""
    path.write_text(json.dumps({**VOLUME, **over}))
    return path


def template(space: Space, values: Path, *more: str) -> list[Manifest]:
    """Return what Helm would install."""
    words = ("--kube-version", VERSION, "-n", space.name, "-f", str(values), *more)
    ran = helm("template", "rot", str(CHART), *words)
    assert ran.returncode == 0, ran.stderr
    return documents(ran.stdout)


def process(
    space: Space, item: Manifest, found: list[Manifest], root: Path, **more: str
) -> Container:
    """Return a workload's container as a process, with the token that the kubelet would give its account."""
    spec = pod_of(item)["spec"]  # type: ignore[index]
    environ = {}
    root.mkdir(exist_ok=True)
    if spec["automountServiceAccountToken"]:
        token = space.api.account_token(space.name, spec["serviceAccountName"])
        path = root / f"kubeconfig-{spec['serviceAccountName']}"
        environ["KUBECONFIG"] = str(space.api.kubeconfig(path, space.name, token=token))
    return container(item, found, root, **environ, **more)


def left(space: Space) -> set[str]:
    """Return what is in a namespace, but for what belongs to something else, and Helm's own notes."""
    kinds = [
        *(("v1", kind) for kind in ("Secret", "ConfigMap", "Service", "ServiceAccount")),
        ("v1", "PersistentVolumeClaim"),
        *(("apps/v1", kind) for kind in ("Deployment", "StatefulSet")),
        *(("batch/v1", kind) for kind in ("Job", "CronJob")),
        *(("rbac.authorization.k8s.io/v1", kind) for kind in ("Role", "RoleBinding")),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
    ]
    found = set()
    for api, kind in kinds:
        path = api_path({"apiVersion": api, "kind": kind, "metadata": {}}, space.name)
        _, answer = space.api.request("GET", path)
        found |= {
            f"{kind}/{item['metadata']['name']}"
            for item in answer["items"]
            if item.get("type") != "helm.sh/release.v1"
        }
    return found


def installable(folder: Path) -> str:
    """Return a copy of the chart that asks for no version: an API server built from its module says v0.0.0."""
    made = folder / "chart"
    shutil.copytree(CHART, made)
    lines = (made / "Chart.yaml").read_text().splitlines(keepends=True)
    (made / "Chart.yaml").write_text("".join(one for one in lines if "kubeVersion" not in one))
    return str(made)


def release(home: Space, values: Path, folder: Path) -> tuple[str, ...]:
    """Return what `helm install` and `helm upgrade` are told of the release."""
    told = ("-n", home.name, "-f", str(values), "--wait", "--timeout", "200s")
    return ("rot", installable(folder), *told)


KEPT: Final = {
    "Secret/web-signing",
    "ConfigMap/web-jwks",
    "PersistentVolumeClaim/rot-rotator-store",
}


def test_install_upgrade_rollback_and_uninstall_as_helm_orders_them(
    home: Space, tmp_path: Path
) -> None:
    """The first run ends before any workload is made; nothing later can make a first key; keys survive `uninstall`."""
    values = values_of(tmp_path / "values.json")
    ran: list[str] = []

    def run_job(job: Manifest) -> int:
        (only,) = pod_of(job)["spec"]["containers"]  # type: ignore[index]
        name = f"{job['metadata']['name']}"
        config = home.api.request("GET", f"/api/v1/namespaces/{home.name}/configmaps/{name}")[1]
        held = [{"kind": "ConfigMap", **config}]
        in_force(home, first)
        done = process(home, job, held, tmp_path / "root").run()
        ran.append(f"{' '.join(only['args'])}: {done.returncode} {done.stderr}")
        return done.returncode

    words = release(home, values, tmp_path)
    found = template(home, values)
    first = [item for item in found if item["metadata"]["name"].endswith("first-run")]
    with Controllers(home, run_job) as controllers:
        order = controllers.order
        home.api.warnings.clear()
        login = {"KUBECONFIG": str(home.kubeconfig), "HELM_DRIVER": "secret"}
        installed = helm("install", *words, **login)
        assert (installed.returncode, installed.stderr) == (0, ""), (installed, ran)
        assert [line.partition(" {")[0].strip() for line in ran] == ["rotate --first-run web: 0"]
        assert order[0] == "Job/rot-rotator-first-run"
        assert sorted(order[1:]) == ["Deployment/rot-rotator", "Deployment/rot-rotator-edge"]
        signing = read(home, "secrets", "web-signing")
        assert json.loads(base64.b64decode(signing["signing.json"]))["key_set"] == "web"
        assert not {name for name in left(home) if "first-run" in name}

        upgraded = helm("upgrade", *words, "--set", "edge.replicas=3", **login)
        assert (upgraded.returncode, upgraded.stderr) == (0, ""), upgraded
        back = helm("rollback", "rot", "1", "-n", home.name, "--wait", "--timeout", "200s", **login)
        assert (back.returncode, back.stderr) == (0, ""), back
        assert len(ran) == 1
        assert read(home, "secrets", "web-signing") == signing

        gone = helm("uninstall", "rot", "-n", home.name, "--wait", **login)
        assert gone.returncode == 0, gone
        assert left(home) == KEPT
        assert read(home, "secrets", "web-signing") == signing

        again = helm("install", *words, **login)
        assert (again.returncode, again.stderr) == (0, ""), again
        assert read(home, "secrets", "web-signing") == signing
        assert json.loads(read(home, "configmaps", "web-jwks")["jwks.json"])["keys"]
        assert home.api.warnings == []


def test_a_first_run_that_fails_stops_the_installation(home: Space, tmp_path: Path) -> None:
    values = values_of(tmp_path / "values.json")
    words = release(home, values, tmp_path)
    with Controllers(home, lambda _: 78) as controllers:
        installed = helm("install", *words, KUBECONFIG=str(home.kubeconfig))
        assert installed.returncode != 0
        assert "pre-install" in installed.stderr
        assert controllers.order == ["Job/rot-rotator-first-run"]


class Running:
    """A daemon or an edge."""

    def __init__(self, one: Container) -> None:
        self.process = subprocess.Popen(
            one.args, env=one.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.err = Output(self.process.stderr)

    def end(self) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.err.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def tail(self) -> str:
        """Its last lines."""
        return b"".join(self.err.lines[-15:]).decode()


def answer(url: str) -> tuple[int, bytes, dict[str, str]]:
    """Ask an HTTP server; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=60) as got:
            return got.status, got.read(), dict(got.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)
    except OSError:
        return 0, b"", {}


@pytest.fixture
def edge_port() -> int:
    """Where the edge listens."""
    return free_port()


def test_the_daemon_rotates_with_the_charts_own_rights_and_the_edge_serves(
    home: Space, tmp_path: Path, edge_port: int
) -> None:
    """Show 3: Secret and ConfigMap change, what is mounted of them is served, anything else is refused."""
    values = values_of(
        tmp_path / "values.json",
        config={**VOLUME["config"], "key_sets": {"web": {**UNPROBED, "policy": POLICY}}},  # type: ignore[dict-item]
        daemon={"adminPort": free_port()},
        edge={"port": edge_port, "host": "127.0.0.1"},
    )
    found = template(home, values)
    apply(home, found)
    root = tmp_path / "root"
    first = process(home, the(found, "Job"), found, root).run()
    assert first.returncode == 0, first.stderr
    daemon = process(home, the(found, "Deployment", "rot-rotator"), found, root)
    edge = process(home, the(found, "Deployment", "-edge"), found, tmp_path / "edge")
    volume = tmp_path / "edge" / "published" / "web"
    kids: list[str] = []

    def sync() -> None:
        """What the kubelet does."""
        data = read(home, "configmaps", "web-jwks")
        if (
            not (volume / "jwks.json").exists()
            or (volume / "jwks.json").read_text() != data["jwks.json"]
        ):
            mount(volume, data)

    def rotated() -> bool:
        assert running.process.poll() is None, running.tail()
        sync()
        signing = json.loads(base64.b64decode(read(home, "secrets", "web-signing")["signing.json"]))
        if signing["kid"] not in kids:
            kids.append(signing["kid"])
        return len(kids) == 3

    running = Running(daemon)
    serving = Running(edge)
    try:
        admin = f"http://127.0.0.1:{json.loads(values.read_text())['daemon']['adminPort']}"
        until(lambda: answer(f"{admin}/readyz")[0] == 200)
        until(rotated)
        assert running.end() == 143, running.tail()
        sync()
        # The rotator is gone; its JWKS is not.
        published = read(home, "configmaps", "web-jwks")
        url = f"http://127.0.0.1:{edge_port}/web/jwks.json"
        until(lambda: answer(url)[1].decode() == published["jwks.json"])
        status, _, headers = answer(url)
        assert status == 200
        assert headers["cache-control"] == "public, max-age=1"
        said = json.loads(published["jwks.json.meta.json"])
        assert headers["rotator-revision"] == str(said["revision"])
        signing = json.loads(base64.b64decode(read(home, "secrets", "web-signing")["signing.json"]))
        assert signing["kid"] in published["jwks.json"]
        assert answer(f"http://127.0.0.1:{edge_port}/readyz")[0] == 200
    finally:
        for one in (running, serving):
            if one.process.poll() is None:
                one.end()
    refused(home, "rot-rotator")


def refused(space: Space, account: str) -> None:
    """Try what an account has no right to."""
    token = space.api.account_token(space.name, account)
    base, apps = f"/api/v1/namespaces/{space.name}", f"/apis/apps/v1/namespaces/{space.name}"
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}/roles"
    named = {"metadata": {"name": "other"}}
    tried: list[tuple[str, str, object]] = [
        *(("GET", f"{base}/{kind}", None) for kind in ("secrets", "configmaps", "pods")),
        *(("GET", f"{base}/{kind}/other", None) for kind in ("secrets", "configmaps")),
        ("GET", f"{base}/configmaps/rot-rotator", None),
        *(("POST", f"{base}/{kind}", named) for kind in ("secrets", "configmaps", "pods")),
        ("DELETE", f"{base}/secrets/web-signing", None),
        ("DELETE", f"{base}/configmaps/web-jwks", None),
        ("PUT", f"{base}/secrets/web-signing", {"metadata": {"name": "web-signing"}}),
        ("POST", f"{base}/serviceaccounts/{account}-first-run/token", {"spec": {}}),
        ("GET", f"{apps}/deployments", None),
        ("DELETE", f"{apps}/deployments/rot-rotator-edge", None),
        ("GET", roles, None),
        ("GET", "/api/v1/namespaces", None),
        ("GET", "/api/v1/secrets", None),
    ]
    for method, path, body in tried:
        status, said = space.api.request(method, path, body, token=token)
        assert status == 403, (method, path, said)


def judged(code: int, job: Manifest) -> str:
    """Return what becomes of a Job whose pod ended with a code (Kubernetes, "Pod failure policy")."""
    if code == 0:
        return "Complete"
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        wanted = rule.get("onExitCodes")
        if wanted and wanted["operator"] == "In" and code in wanted["values"]:
            return str(rule["action"])
    return "Count"


def cronjob(
    space: Space, home: Path, name: str, *more: str, **over: Any
) -> tuple[Container, Manifest]:
    """Render the CronJob once more, and return its container and its Job."""
    home = home / name
    home.mkdir()
    config = {"version": 1, "stores": VOLUME["config"]["stores"], "key_sets": {"web": UNPROBED}}  # type: ignore[index]
    values = values_of(
        home / "values.json",
        **{"mode": "cronjob", "config": {**config, **over.pop("config", {})}, **over},
    )
    found = template(space, values, *more)
    apply(space, [item for item in found if item["kind"] != "Job"])  # which never changes
    item = the(found, "CronJob")
    return process(space, item, found, home / "root"), item["spec"]["jobTemplate"]


def test_exit_codes_are_those_of_the_pod_failure_policy(home: Space, tmp_path: Path) -> None:
    """Show 4: the CronJob's exact command and environment, for each class of fault."""
    make = functools.partial(cronjob, home, tmp_path)
    good, job = make("good")
    # No ring, and the word was not given: nothing is minted.
    assert codes(good, job) == (75, "FailJob")
    first = Container([*good.args, "--first-run"], good.environ, good.root)
    assert first.run().returncode == 0
    assert codes(good, job) == (0, "Complete")
    base = f"/api/v1/namespaces/{home.name}"
    ring = good.root / "var/lib/rotator-store/rings/web/ring.json"
    saved = ring.read_bytes()
    # An API server that is not there: a target fails.
    away = {**good.environ, "KUBECONFIG": str(elsewhere(home, tmp_path))}
    assert codes(Container(good.args, away, good.root), job) == (75, "FailJob")
    # Another store, which does not answer.
    vault = {
        "backend": "vault",
        "address": f"http://127.0.0.1:{free_port()}",
        "auth": {"method": "token", "token_env": "VAULT_TOKEN"},
        "attempts": 1,
        "patience": "1s",
        "connect_timeout": "1s",
    }
    token = {"extraEnv": [{"name": "VAULT_TOKEN", "value": "none"}]}
    down, job = make(
        "down", config={"stores": {"vault": vault}}, persistence={"enabled": False}, **token
    )
    assert codes(down, job) == (69, "FailJob")
    assert codes(make("wrong", config={"stores": {"vault": {"backend": "vault"}}})[0], job) == (
        78,
        "FailJob",
    )
    assert codes(make("usage", cronjob={"args": ["--no-such-option"]})[0], job) == (2, "FailJob")
    ring.write_bytes(b"{")
    assert codes(good, job) == (65, "FailJob")
    ring.write_bytes(saved)
    # Nothing is mounted where the configuration should be.
    unmounted = {**good.environ, "ROTATOR_CONFIG": str(good.root / "none.yaml")}
    assert codes(Container(good.args, unmounted, good.root), job) == (78, "FailJob")
    # Started twice, and nothing of it lost.
    twice = [subprocess.Popen(good.args, env=good.environ, stderr=subprocess.DEVNULL) for _ in "12"]
    assert [one.wait(60) for one in twice] == [0, 0]
    # The Secret is not there any more; nobody but who installs may make it.
    assert home.api.request("DELETE", f"{base}/secrets/web-signing")[0] == 200
    missing = good.run()
    assert missing.returncode == 77
    assert "create" in missing.stderr
    assert "web-signing" in missing.stderr
    status, _ = home.api.request(
        "DELETE",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{home.name}/rolebindings/rot-rotator",
    )
    assert status == 200
    assert codes(good, job) == (77, "FailJob")
    # What says nothing of rotator: another pod is tried.
    assert [judged(code, job) for code in (1, 137, 143)] == ["Count"] * 3


def codes(one: Container, job: Manifest) -> tuple[int, str]:
    """Run a container; return its exit code and what becomes of the Job."""
    code = one.run().returncode
    return code, judged(code, job)


def elsewhere(space: Space, home: Path) -> Path:
    """Return a kubeconfig of an address where nobody listens."""
    url = f"https://127.0.0.1:{free_port()}"
    return space.api.kubeconfig(home / "elsewhere", space.name, url=url)
