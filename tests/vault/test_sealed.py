"""A server as people run it: initialised, sealed and unsealed, over TLS, with a client certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rotator.errors import StoreDenied, StoreUnavailable
from rotator.inspection import Role, Scope
from rotator_vault.settings import VaultSettings
from rotator_vault.store import VaultStore
from tests.servers_e2e.certificates import authority
from tests.vault.bench import NEXT, QUICK, RING, until
from tests.vault.sealed import SealedVault, sealed_vault


def opened(server: SealedVault, auth: dict[str, Any], **options: Any) -> VaultStore:
    """A store on the server."""
    known = {"address": server.url, "ca_file": str(server.trusted.ca_file)}
    return VaultStore(VaultSettings(**QUICK, **known, **options, auth=auth))  # type: ignore[arg-type]


def said(store: VaultStore) -> str:
    """What `check` says, on one line."""
    return "; ".join(f"{item.level}: {item.text}" for item in store.inspect().findings)


def test_life_of_a_server(tmp_path: Path) -> None:
    """Not initialised, unsealed, sealed under a running store, unsealed again: the ring is there all along."""
    with sealed_vault(tmp_path) as server:
        token = tmp_path / "token"
        token.write_text("none yet")
        auth = {"method": "token", "token_file": str(token)}
        store = opened(server, auth)
        ring = store.rings("orders")
        with pytest.raises(StoreUnavailable, match="cannot answer now"):
            ring.load()
        assert "fault: Vault at" in said(store)
        assert "not initialised" in said(store)

        server.initialise()
        token.write_text(server.token)
        with pytest.raises(StoreUnavailable, match="sealed") as failed:
            ring.load()
        assert "vault operator unseal" in failed.value.hint
        assert "is sealed" in said(store)

        server.unseal()
        until(lambda: server.request("GET", "sys/health")[0] == 200)
        with pytest.raises(StoreUnavailable, match="no secrets engine at 'secret'"):
            ring.load()
        server.do("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        until(lambda: server.request("GET", "secret/config")[0] == 200)
        assert ring.load() is None
        version = ring.save(RING, replacing=None)

        server.seal()
        with pytest.raises(StoreUnavailable, match="sealed"):
            ring.load()
        with pytest.raises(StoreUnavailable, match="sealed"):
            ring.save(NEXT, replacing=version)
        server.unseal()
        until(lambda: server.request("GET", "sys/health")[0] == 200)
        found = ring.load()
        assert found is not None
        assert (found.document, found.version) == (RING, version)
        assert "unsealed and active" in said(store)
        certificate(server, tmp_path)
        store.close()


def certificate(server: SealedVault, home: Path) -> None:
    """Log in by a client certificate: the authority's is let in, another's is not."""
    friend, stranger = authority(home, "friend"), authority(home, "stranger")
    server.do("POST", "sys/auth/cert", {"type": "cert"})
    auth: dict[str, Any] = {"method": "cert", "role": "rotator"}
    files = {"cert_file": str(home / "friend.pem"), "key_file": str(home / "friend.pem")}
    store = opened(server, auth, **files)
    policy = store.policy(Role.ROTATOR, [Scope("orders")])
    server.do("PUT", "sys/policies/acl/rotator", {"policy": policy})
    server.do(
        "POST",
        "auth/cert/certs/rotator",
        {"certificate": friend.ca_file.read_text(), "token_policies": "rotator"},
    )
    assert store.rings("orders").load() is not None
    store.close()
    assert stranger.ca_file.exists()
    files = {"cert_file": str(home / "stranger.pem"), "key_file": str(home / "stranger.pem")}
    with pytest.raises(StoreDenied, match="refuses the login by cert") as refused:
        opened(server, auth, **files).rings("orders").load()
    assert "of an authority that a role at this mount trusts" in refused.value.hint
    files = {"cert_file": str(home / "friend.pem"), "key_file": str(home / "stranger.pem")}
    with pytest.raises(StoreUnavailable) as failed:
        opened(server, auth, **files).rings("orders").load()
    assert "key_file" in failed.value.hint
