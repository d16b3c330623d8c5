"""Options: what the environment may not do, where calls go, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rotator.errors import ConfigError, StoreDenied
from rotator_vault.settings import VaultSettings
from tests.servers.exchange import Exchange, Request
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, Bench, logins
from tests.vault.roles import approle, secret_id, works


def test_nothing_is_taken_from_the_environment(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables and files that Vault's CLI, hvac and requests read are not read."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".vault-token").write_text(bench.server.token)
    (home / ".netrc").write_text("machine 127.0.0.1 login thief password secret\n")
    (home / ".netrc").chmod(0o600)
    for name, value in {
        "HOME": str(home),
        "VAULT_TOKEN": bench.server.token,
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_NAMESPACE": "elsewhere",
        "VAULT_CACERT": "/nowhere",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    token = bench.secret("token", bench.token(None))
    with Proxy(bench.server.url) as proxy:
        auth = {"method": "token", "token_file": str(token)}
        with pytest.raises(StoreDenied, match="does not permit reading"):
            bench.store(address=proxy.url, auth=auth).rings("orders").load()
        sent = {request.header("X-Vault-Token") for request in proxy.seen}
        assert sent == {token.read_text().strip()}
        assert {request.header("Authorization") for request in proxy.seen} == {""}
        assert {request.header("X-Vault-Namespace") for request in proxy.seen} == {""}


def test_the_address_may_be_in_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because it is named; what does not hold an address is a fault of configuration."""
    monkeypatch.setenv("VAULT_ADDR", f"{bench.server.url}/")
    works(bench.store(address=None, address_env="VAULT_ADDR"))
    for value in ("vault:8200", "http://user:pw@vault", f"{bench.server.url}/v1/"):
        monkeypatch.setenv("VAULT_ADDR", value)
        with pytest.raises(ConfigError, match="VAULT_ADDR does not hold the address") as refused:
            bench.store(address=None, address_env="VAULT_ADDR")
        assert "pw" not in str(refused.value)
    for empty in (True, False):
        monkeypatch.setenv("VAULT_ADDR", "") if empty else monkeypatch.delenv("VAULT_ADDR")
        with pytest.raises(ConfigError, match="variable VAULT_ADDR is not set"):
            bench.store(address=None, address_env="VAULT_ADDR")


def test_namespace_and_proxy(bench: Bench) -> None:
    """The namespace goes along with every call, the login's included; an HTTP proxy is used when named."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    seen: list[Request] = []

    def forward(exchange: Exchange) -> None:
        seen.append(exchange.request)
        exchange.send(exchange.forward())

    with Proxy(bench.server.url) as proxy, proxy.misbehaving(forward):
        store = bench.store(address=proxy.url, namespace="team/keys/", auth=auth, **QUICK)
        assert store.rings("orders").load() is None  # the free edition takes no notice
        assert {request.header("X-Vault-Namespace") for request in seen} == {"team/keys"}
        seen.clear()
        works(bench.store(proxy=proxy.url, auth=auth))
        assert seen
        assert all(request.path.startswith("http://127.0.0.1") for request in seen)


def test_one_login_for_all_key_sets(bench: Bench) -> None:
    """However many key sets and calls."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    store = bench.store(auth=auth)
    with capture_logs() as logged:
        for number in range(50):
            assert store.rings(f"set-{number}").load() is None
        store.close()
        store.close()
    assert list(logins(logged)) == ["login.approle", "logout"]


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"method": "token"}, "needs exactly one of token_file and token_env"),
        ({"method": "token", "token_file": "a", "token_env": "B"}, "needs exactly one of"),
        ({"method": "approle", "secret_id_file": "s"}, "needs exactly one of role_id"),
        ({"method": "approle", "role_id": "r"}, "needs exactly one of secret_id_file"),
        ({"method": "jwt", "role": "r"}, "needs exactly one of jwt_file"),
        ({"method": "userpass", "username": "u"}, "needs exactly one of password_file"),
        ({"method": "userpass", "username": "a/b", "password_env": "P"}, "username"),
        ({"method": "cert"}, "needs cert_file and key_file"),
        ({"method": "github"}, "method"),
        ({"method": "token", "token": "hvs.secret"}, "token"),
    ],
)
def test_settings_that_cannot_be(auth: dict[str, Any], said: str) -> None:
    """Each with a sentence; a secret in the text is no option."""
    with pytest.raises(ValueError, match=said):
        VaultSettings(address="https://vault", auth=auth)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"address": "vault:8200"},
        {"address": "ftp://vault"},
        {"address": "https://vault?x=1"},
        {"address": "https://vault/v1"},
        {"address": "https://vault/v1/secret"},
        {"address": "https://user:pw@vault"},
        {"address": "https://vault", "address_env": "VAULT_ADDR"},
        {"address": "https://vault", "prefix": "../x"},
        {"address": "https://vault", "prefix": "a//b"},
        {"address": "https://vault", "prefix": "a*"},
        {"address": "https://vault", "mount": ""},
        {"address": "https://vault", "cert_file": "c"},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """A path that Vault's policies would read as a pattern is none."""
    auth: Any = {"method": "token", "token_env": "T"}
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's, in many words
        VaultSettings(**options, auth=auth)
