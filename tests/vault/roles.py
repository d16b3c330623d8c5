"""Logins for the tests to use: an AppRole, what it is wrapped in, and the end of a token."""

from __future__ import annotations

from typing import Any

from rotator_vault.store import VaultStore
from tests.vault.bench import RING, Bench


def works(store: VaultStore) -> None:
    """Save and load a ring."""
    store.rings("orders").save(RING, replacing=None)
    assert store.rings("orders").load() is not None


def approle(bench: Bench, **role: Any) -> tuple[str, str]:
    """Make a role; return the mount, and the role-id."""
    mount = bench.enable("approle")
    policy = bench.policy(bench.store())
    body = {"token_policies": policy, "token_ttl": "1h", **role}
    bench.server.do("POST", f"auth/{mount}/role/rotator", body)
    role_id = bench.server.do("GET", f"auth/{mount}/role/rotator/role-id")["data"]["role_id"]
    return mount, str(role_id)


def revoke(bench: Bench, store: VaultStore) -> None:
    """End the token of a store behind its back."""
    token = store._identity.token().reveal().decode()
    bench.server.do("POST", "auth/token/revoke", {"token": token})


def secret_id(bench: Bench, mount: str) -> str:
    """Issue a secret-id."""
    made = bench.server.do("POST", f"auth/{mount}/role/rotator/secret-id", {})
    return str(made["data"]["secret_id"])


def wrapped(bench: Bench, path: str, body: dict[str, Any] | None = None) -> str:
    """Ask for something, and return the wrapping token around it."""
    made = bench.server.do("POST", path, body or {}, wrap="60s")
    return str(made["wrap_info"]["token"])


def wrapped_secret_id(bench: Bench, mount: str) -> str:
    """Issue a secret-id, wrapped."""
    return wrapped(bench, f"auth/{mount}/role/rotator/secret-id")
