"""The Vault store: one login and one connection pool for all key sets."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final

from rotator.plugin import SCRATCH, Calls, ConfigError, Report, Role, Scope, Secret
from rotator_vault.connection import Connection
from rotator_vault.documents import VaultDocuments
from rotator_vault.identity import Identity
from rotator_vault.kv import Engine, Found
from rotator_vault.logins import Logins
from rotator_vault.material import VaultMaterial
from rotator_vault.names import key_set_name
from rotator_vault.rings import VaultRings
from rotator_vault.settings import VaultSettings, base_url

_DEPTH: Final = 4  # folders of the scratch key set that are looked into


class VaultStore:
    """All key sets below one path of one KV engine of Vault or OpenBao.

    Opening makes no call; the first one logs in.

    Args:
        settings: the options.

    Raises:
        BackendMissing: hvac is not installed.
        ConfigError: the environment variable of the address does not hold one.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self.address = _address(settings)
        self._prefix = settings.prefix
        self._calls = Calls(
            "vault", self.address, attempts=settings.attempts, patience=settings.patience
        )
        self._connection = Connection(settings, self.address)
        self._identity = Identity(self._connection, Logins(self._connection, settings), self._calls)
        self._engine = Engine(self._identity, self.address, settings.mount, settings.namespace)

    def rings(self, key_set: str) -> VaultRings:
        """Return the ring store of one key set; no I/O.

        Raises:
            ConfigError: the name is not possible in a path of Vault.
        """
        return VaultRings(self._engine, self._calls, self._prefix, key_set_name(key_set))

    def material(self, key_set: str) -> VaultMaterial:
        """Return the material store of one key set; no I/O.

        Raises:
            ConfigError: the name is not possible in a path of Vault.
        """
        return VaultMaterial(self._engine, self._calls, self._prefix, key_set_name(key_set))

    def documents(self) -> VaultDocuments:
        """Return where derived documents can be kept; no I/O."""
        return VaultDocuments(self._engine, self._calls, self._prefix)

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:
        """Report the server's state, identity, capabilities, rings, clock and hardening advice; writes nothing."""
        from rotator_vault.inspection import inspect

        with self._calls.logged("inspect", None):
            return inspect(self._connection, self._engine, self._prefix, scopes)

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:
        """Return the least-privilege policy of a role, in HCL.

        Raises:
            ConfigError: a key set or document has a name that is not possible here.
        """
        from rotator_vault.policies import render

        return render(role, scopes, self._engine.mount, self._prefix)

    def erase_scratch(self) -> None:
        """Remove every trace of the key set `SCRATCH`; harmless when none is there.

        Raises:
            StoreDenied, StoreUnavailable, ConfigError: something may be left.
        """
        self._calls.attempt(
            "scratch.erase", SCRATCH, lambda: self._erase(f"{self._prefix}/{SCRATCH}", _DEPTH)
        )

    def _erase(self, path: str, depth: int) -> None:
        for name in self._engine.names(path):
            if not name.endswith("/"):
                self._engine.erase(f"{path}/{name}")
            elif depth:
                self._erase(f"{path}/{name.rstrip('/')}", depth - 1)

    def fetch(self, address: str) -> Secret | None:
        """Return the fields of a KV secret that somebody else wrote, as a JSON object.

        Args:
            address: `MOUNT/PATH` as `vault kv get` takes it, or a PATH of this store's mount.

        Raises:
            StoreDenied, StoreUnavailable: no answer.
            ConfigError: no such address is possible.
        """
        path = address.strip("/")
        if not path or ".." in path:
            raise ConfigError(
                f"{address!r} is no path of a KV secret", hint="write MOUNT/PATH, or PATH"
            )
        return self._calls.attempt("fetch", None, lambda: self._fetched(path))

    def _fetched(self, path: str) -> Secret | None:
        seen = self._identity.send("GET", f"sys/internal/ui/mounts/{path}")
        mount = str(seen.data.get("path", "")).strip("/")
        if seen.status == 200 and seen.data.get("type") == "kv" and path.startswith(f"{mount}/"):
            found = self._read(mount, path.removeprefix(f"{mount}/"), seen.data.get("options"))
            if found is not None:
                return found
            if mount != self._engine.mount:
                return None
        return self._read(self._engine.mount, path, {"version": "2"})

    def _read(self, mount: str, path: str, options: object) -> Secret | None:
        engine = Engine(self._identity, self.address, mount, None)
        if isinstance(options, dict) and options.get("version") == "2":
            found = engine.read(path)
            return _json(dict(found.data)) if isinstance(found, Found) else None
        data = engine.read_version_1(path)
        return None if data is None else _json(data)

    def close(self) -> None:
        """End a login of our own, and let go of connections; harmless twice."""
        self._identity.end()
        self._connection.close()


def _json(data: dict[str, object]) -> Secret:
    return Secret(json.dumps(data).encode())


def _address(settings: VaultSettings) -> str:
    if settings.address is not None:
        return settings.address
    name = settings.address_env or ""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(
            f"the address of Vault is not there: the environment variable {name} is not set",
            hint="set it where rotator runs, or write `address:`",
        )
    try:
        return base_url(value)
    except ValueError as error:
        raise ConfigError(
            f"the environment variable {name} does not hold the address of Vault: it {error}",
            hint="set it where rotator runs, or write `address:`",
        ) from None
