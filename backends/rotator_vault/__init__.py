"""The Vault store: rings, material and documents in KV version 2 of HashiCorp Vault or OpenBao.

Importing this package costs nothing but `rotator.plugin`; pydantic is loaded by `backend.settings()`, the
store and its SDK by `backend.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.plugin import Backend, Store

if TYPE_CHECKING:
    from rotator_vault.settings import VaultSettings

__all__ = ["backend"]


def _settings() -> type[VaultSettings]:
    from rotator_vault.settings import VaultSettings

    return VaultSettings


def _open(settings: VaultSettings) -> Store:
    from rotator_vault.store import VaultStore

    return VaultStore(settings)


def _removal(settings: VaultSettings, name: str) -> str:
    namespace = f"-namespace={settings.namespace} " if settings.namespace else ""
    return f"vault kv metadata delete {namespace}-mount={settings.mount} {settings.prefix}/{name}"


backend = Backend(
    name="vault",
    settings=_settings,
    open=_open,
    removal=_removal,
    example="""\
# Where it answers: https://vault.example.com:8200, or as here what VAULT_ADDR says.
address_env: VAULT_ADDR
# mount: secret                 # a KV secrets engine, version 2
# namespace: team-a
# ca_file: /etc/rotator/vault-ca.pem
# How to log in. Secrets are in files or in the environment, never here.
auth: {method: token, token_env: VAULT_TOKEN}
# auth: {method: approle, role_id: ROLE_ID, secret_id_file: /run/secrets/secret-id}
# auth: {method: kubernetes, role: rotator}
""",
)
