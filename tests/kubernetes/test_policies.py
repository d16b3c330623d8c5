"""The policies that are shipped, and the page that names them: exactly what the command prints."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rotator.inspection import Role
from rotator.kubernetes.access import Rule, Wanted, policy, rules
from rotator.settings import load_settings
from rotator.settings.scopes import clusters_of
from rotator.stores import DocumentKind

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "policies" / "kubernetes"
PAGE = ROOT / "docs" / "targets" / "kubernetes.md"


def of_the_page(tmp_path: Path) -> tuple[Wanted, ...]:
    """The targets of the configuration that the page begins with."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    config = tmp_path / "rotator.yaml"
    config.write_text(
        "version: 1\nstores: {local: {backend: file, path: store}}\n"
        "defaults: {policy: {token_ttl: 15m, signer_lag: 5m}}\n" + shown
    )
    settings = load_settings(config, {})
    ((_, wanted),) = clusters_of(settings, list(settings.key_sets))
    return wanted


@pytest.mark.parametrize("role", [Role.ROTATOR, Role.SIGNER, Role.JWKS_READER])
def test_shipped_policies_are_what_is_printed(role: Role, tmp_path: Path) -> None:
    """A file in deploy/policies/kubernetes is what the command prints; ROTATOR_WRITE=1 writes them."""
    path, printed = DEPLOY / f"{role.value}.yaml", policy(of_the_page(tmp_path), role)
    if os.environ.get("ROTATOR_WRITE"):
        path.write_text(printed)
    assert path.read_text() == printed
    for document in YAML(typ="safe").load_all(printed):
        assert document["metadata"]["namespace"] == "login"


def test_each_role_may_do_its_own_and_no_more() -> None:
    """Readers get what they read; nobody deletes, lists or creates."""
    signing = Wanted("web", DocumentKind.SIGNING, "a", "key", ("statefulset/issuer",))
    jwks = Wanted("web", DocumentKind.JWKS, "b", "jwks")
    verification = Wanted("web", DocumentKind.VERIFICATION, None, "hmac")
    every = (signing, jwks, verification)
    assert list(rules(every, Role.ROTATOR)) == [
        Rule("a", "secrets", "key", ("get", "patch")),
        Rule("a", "statefulsets", "issuer", ("patch",)),
        Rule("b", "configmaps", "jwks", ("get", "patch")),
        Rule(None, "secrets", "hmac", ("get", "patch")),
    ]
    assert list(rules(every, Role.SIGNER)) == [Rule("a", "secrets", "key", ("get",))]
    assert list(rules(every, Role.VERIFIER)) == [Rule(None, "secrets", "hmac", ("get",))]
    assert list(rules(every, Role.JWKS_READER)) == [Rule("b", "configmaps", "jwks", ("get",))]
