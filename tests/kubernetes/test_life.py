"""Key sets that live in Secrets and ConfigMaps: ten rotations under a kubelet's delay, exactly the printed rights."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from ruamel.yaml import YAML

from rotator.assemble import Assembly
from rotator.reconcile.site import Site
from rotator.reconcile.tick import tick
from rotator.settings import load_settings
from rotator.step import Do
from tests.campaign.processes import until
from tests.kubernetes.conftest import Space
from tests.unit.daemon_world import MINUTE, SECOND, Log, MovedClock

POLICY = {
    "token_ttl": "5m",
    "signer_lag": "2m",
    "rotate_every": "30m",
    "propagation": "13m",
    "verifier_cache": "5m",
    "leeway": "1s",
    "clock_skew": "5s",
    "jwks_max_age": "1m",
    "jwks_stale": "1m",
    "resync": "5m",
}


def configure(home: Path, kubeconfig: Path, **key_set: Any) -> Path:
    """Write a configuration with one key set whose targets are all in the cluster."""
    path = home / "rotator.json"
    document = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "store"}},
        "key_sets": {
            "web": {
                "algorithm": "ES256",
                "policy": POLICY,
                "deliver": [{"to": "secret", "name": "signing", "kubeconfig": str(kubeconfig)}],
                "publish": [{"to": "configmap", "name": "jwks", "kubeconfig": str(kubeconfig)}],
                **key_set,
            }
        },
    }
    path.write_text(json.dumps(document))
    return path


@dataclass
class Kubelet:
    """Copies a Secret into a pod's volume some time after it changed, as a whole (its atomic writer)."""

    space: Space
    clock: MovedClock
    delay: timedelta
    mounted: dict[str, bytes] = field(default_factory=dict)
    _seen: tuple[str, datetime, dict[str, bytes]] | None = None

    def sync(self) -> None:
        """Look at the Secret, and mount what it has shown for long enough."""
        status, answer = self.space.api.request(
            "GET", f"/api/v1/namespaces/{self.space.name}/secrets/signing"
        )
        if status == 404:
            return
        version = answer["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            parts = {
                name: base64.b64decode(text) for name, text in (answer.get("data") or {}).items()
            }
            self._seen = (version, self.clock.now(), parts)
        if self.clock.now() - self._seen[1] >= self.delay:
            self.mounted = self._seen[2]


def jwks_of(space: Space) -> bytes:
    """What verifiers fetch."""
    status, answer = space.api.request("GET", f"/api/v1/namespaces/{space.name}/configmaps/jwks")
    assert status == 200
    return str(answer["data"]["jwks.json"]).encode()


@dataclass(frozen=True)
class Token:
    """One token, and until when it should verify."""

    text: str
    until: datetime


def sign(mounted: Mapping[str, bytes], now: datetime) -> Token:
    """What the issuer does with the mounted files."""
    document = json.loads(mounted["signing.json"])
    until = now + 5 * MINUTE
    claims = {"iat": now, "exp": until}
    text = jwt.encode(claims, document["pem"], document["alg"], {"kid": document["kid"]})
    return Token(text, until)


def verifies(token: Token, jwks: bytes) -> bool:
    """What a verifier says that fetched the JWKS; its clock is not what is tested."""
    keys = jwt.PyJWKSet.from_json(jwks.decode())
    kid = jwt.get_unverified_header(token.text)["kid"]
    found = [key for key in keys.keys if key.key_id == kid]
    if not found:
        return False
    jwt.decode(token.text, found[0], ["ES256"], options={"verify_exp": False, "verify_iat": False})
    return True


def test_ten_rotations_under_the_kubelets_delay(space: Space, tmp_path: Path) -> None:
    """Show 2: the pod has each key up to `signer_lag` late, verifiers keep what they fetched; none is rejected."""
    clock, log = MovedClock(), Log()
    settings = load_settings(configure(tmp_path, space.kubeconfig), {})
    with Assembly(settings, log.emit, clock=clock) as assembly:
        site = assembly.site("web")
        kubelet = Kubelet(space, clock, 2 * MINUTE - SECOND)
        live: list[Token] = []
        cached: tuple[datetime, bytes] | None = None
        signed = rejected = 0
        while len(log.named("key.promoted")) < 11:
            settle(site)
            kubelet.sync()
            if kubelet.mounted:
                live.append(sign(kubelet.mounted, clock.now()))
                signed += 1
            # As late as a verifier behind a cache may fetch: max-age, stale, its own cache.
            if cached is None or clock.now() - cached[0] >= 7 * MINUTE:
                cached = (clock.now(), jwks_of(space)) if kubelet.mounted else None
            live = [token for token in live if token.until > clock.now()]
            for jwks in (cached[1], jwks_of(space)) if cached else ():
                rejected += sum(not verifies(token, jwks) for token in live)
            clock.advance(MINUTE)
        assert signed > 250
        assert rejected == 0
        assert len(json.loads(jwks_of(space))["keys"]) <= 3


def settle(site: Site) -> None:
    """Tick until nothing is due."""
    for _ in range(12):
        outcome = tick(site)
        assert not outcome.failures
        if not outcome.changed and outcome.step.do is Do.WAIT:
            return
    raise AssertionError("it does not come to rest")


def rotator(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(config.parent)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "rotator", *words, "--config", str(config)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
        timeout=60,
    )


PLURALS = {
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
}


def apply(space: Space, manifests: str) -> list[dict[str, Any]]:
    """Create what `rotator policy` printed, as its administrator; return it."""
    documents = list(YAML(typ="safe").load_all(manifests))
    for document in documents:
        version = document["apiVersion"]
        base = "/api/v1" if version == "v1" else f"/apis/{version}"
        path = f"{base}/namespaces/{space.name}/{PLURALS[document['kind']]}"
        if document["kind"] == "RoleBinding":
            document["subjects"][0]["namespace"] = space.name
        status, answer = space.api.request("POST", path, document)
        assert status == 201, answer
    return documents


def role_in(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The Role among manifests."""
    return next(item for item in documents if item["kind"] == "Role")


def in_force(space: Space, role: Mapping[str, Any]) -> None:
    """Wait until the API server goes by the Role of the account."""
    names = {"secrets": "signing", "configmaps": "jwks"}
    wanted = {
        (verb, rule["resources"][0]) for rule in role.get("rules") or () for verb in rule["verbs"]
    }
    until(
        lambda: all(
            space.api.may(space.name, "rotator", verb, resource, name)
            == ((verb, resource) in wanted)
            for resource, name in names.items()
            for verb in ("get", "patch")
        )
    )


@pytest.fixture
def account(space: Space, tmp_path: Path) -> Path:
    """The kubeconfig of a service account without any right."""
    token = space.api.account_token(space.name, "rotator")
    return space.api.kubeconfig(tmp_path / "account", space.name, token=token)


def test_exactly_the_printed_rights_suffice(space: Space, account: Path, tmp_path: Path) -> None:
    """Show 8: with the printed Role all works; every other verb or name is refused by the API server."""
    config = configure(tmp_path, account)
    before = rotator(config, "check")
    assert before.returncode == 77
    assert f"may not get secrets/signing in namespace {space.name}" in before.stdout
    printed = rotator(config, "policy", "kubernetes", "--role", "rotator")
    assert printed.returncode == 0, printed.stderr
    in_force(space, role_in(apply(space, printed.stdout)))
    ran = rotator(config, "rotate")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checked = rotator(config, "check")
    assert checked.returncode == 0, checked.stdout
    assert "may read and change 2 objects" in checked.stdout
    status, answer = space.api.request("GET", f"/api/v1/namespaces/{space.name}/secrets/signing")
    assert json.loads(base64.b64decode(answer["data"]["signing.json"]))["key_set"] == "web"
    token = json.loads(account.read_text())["users"][0]["user"]["token"]
    for resource, name in (("secrets", "signing"), ("configmaps", "jwks")):
        base = f"/api/v1/namespaces/{space.name}/{resource}"
        allowed = {"GET", "PATCH"}
        for method, path, body in (
            ("GET", base, None),
            ("GET", f"{base}/other", None),
            ("GET", f"{base}/{name}", None),
            ("POST", base, {"metadata": {"name": "other"}}),
            ("PUT", f"{base}/{name}", {"metadata": {"name": name}}),
            ("PATCH", f"{base}/other", {}),
            ("PATCH", f"{base}/{name}", {}),
            ("DELETE", f"{base}/{name}", None),
            ("DELETE", base, None),
            ("GET", f"/api/v1/{resource}", None),
        ):
            status, _ = (
                space.api.request(
                    method, path, body, token=token, content_type="application/merge-patch+json"
                )
                if method == "PATCH"
                else space.api.request(method, path, body, token=token)
            )
            ours = path == f"{base}/{name}" and method in allowed
            assert status == (200 if ours else 403), (method, path)
    secret = f"/api/v1/namespaces/{space.name}/secrets/signing"
    assert space.api.request("DELETE", secret)[0] == 200
    gone = rotator(config, "rotate")
    assert gone.returncode == 77
    assert f"secrets/signing in namespace {space.name} is not there" in gone.stderr


def test_each_missing_right_is_named(space: Space, account: Path, tmp_path: Path) -> None:
    """Withheld one by one, `rotate` says which, and `check` too; nothing is lost by it."""
    config = configure(tmp_path, account)
    manifests = rotator(config, "policy", "kubernetes", "--role", "rotator").stdout
    role = role_in(apply(space, manifests))
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space.name}/roles/rotator"
    # The JWKS first: whoever has nothing to write needs no right to write.
    for position, rule in reversed(list(enumerate(role["rules"]))):
        for verb in rule["verbs"]:
            lesser = json.loads(json.dumps(role))
            lesser["rules"][position]["verbs"].remove(verb)
            if not lesser["rules"][position]["verbs"]:
                del lesser["rules"][position]
            assert space.api.request("PUT", path, lesser)[0] == 200
            in_force(space, lesser)
            resource, (name,) = rule["resources"][0], rule["resourceNames"]
            what = f"{verb} {resource}/{name} in namespace {space.name}"
            checked = rotator(config, "check")
            assert checked.returncode == 77
            assert what in checked.stdout
            ran = rotator(config, "rotate")
            assert ran.returncode in {75, 77}
            assert what in ran.stdout + ran.stderr
    assert space.api.request("PUT", path, role)[0] == 200
    in_force(space, role)
    assert rotator(config, "rotate").returncode == 0


def test_no_key_material_in_any_log(space: Space, tmp_path: Path) -> None:
    """Every logger at DEBUG, the SDK's too: not one byte of the key, and not the token."""
    config = configure(tmp_path, space.kubeconfig)
    script = (
        "import logging, sys; logging.basicConfig(level=1, stream=sys.stderr);"
        "from rotator.cli import main; sys.exit(main())"
    )
    ran = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            script,
            "--log-level",
            "debug",
            "rotate",
            "--config",
            str(config),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout + ran.stderr
    assert "store.call" in said
    status, answer = space.api.request("GET", f"/api/v1/namespaces/{space.name}/secrets/signing")
    assert status == 200
    document = json.loads(base64.b64decode(answer["data"]["signing.json"]))
    pem = "".join(document["pem"].splitlines()[1:-1])
    for secret in (
        document["jwk"]["d"],
        pem,
        pem[:40],
        answer["data"]["signing.json"][:200],
        answer["data"]["private.pem"][:60],
        space.api.admin_token,
    ):
        assert secret not in said
