"""The material of a key set: one KV secret for each key, written once, destroyed with its metadata."""

from __future__ import annotations

from typing import Final

from rotator.plugin import Calls, JustWritten, Secret, StoreCorrupt, StoreDenied
from rotator_vault.envelopes import material_data, material_of
from rotator_vault.kv import Engine, Found, Gone
from rotator_vault.names import locator_for, material_path

_NEEDS: Final = "create read"
_MOST: Final = 1000  # versions named in one call; older ones go with the metadata


class VaultMaterial:
    """The keys of one key set.

    Args:
        engine: the KV engine.
        calls: logs and retries.
        prefix: the path below the mount that is rotator's.
        key_set: whose keys; a safe name.
    """

    def __init__(self, engine: Engine, calls: Calls, prefix: str, key_set: str) -> None:
        self._engine = engine
        self._calls = calls
        self._prefix = prefix
        self._key_set = key_set
        self._fresh = JustWritten()

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a locator for a new key that is none of `taken`: the kid where it is safe in a path."""
        return locator_for(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write the material of one key. The same again is harmless.

        Raises:
            StoreCorrupt: another kid's material, or other material of this kid, is or was there.
            StoreDenied, StoreUnavailable, ConfigError: nothing is known to be written.
        """
        path = self._path(locator)
        data = material_data(self._key_set, kid, material)

        def step() -> None:
            found = self._engine.read(path, whole=_NEEDS)
            if found is None and not self._written(path, data):
                found = self._engine.read(path, whole=_NEEDS)  # somebody was faster
            if found is not None and self._held(found, path, kid) != material:
                raise StoreCorrupt(
                    f"{self._place(path)} holds other material than that of kid {kid!r}",
                    hint="material is written once; nothing was changed",
                )

        self._calls.attempt("material.put", self._key_set, step)
        self._fresh.note(path)

    def _written(self, path: str, data: dict[str, str]) -> bool:
        try:
            return self._engine.write(path, data, cas=0, needs=_NEEDS) is not None
        except StoreDenied:
            # Who may create and not update is refused where something is there by now.
            if self._engine.read(path, whole=_NEEDS) is None:
                raise
            return False

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return the material of one key, or None when it never was there or was destroyed.

        Raises:
            StoreCorrupt: it was deleted and not destroyed, is another kid's, or cannot be parsed.
            StoreDenied, StoreUnavailable, ConfigError: no answer.
        """
        path = self._path(locator)

        def step() -> Found | Gone | None:
            found = self._engine.read(path, whole=_NEEDS)
            if found is None:
                self._fresh.refuse(path, f"Vault at {self._engine.address}")
            return found

        found = self._calls.attempt("material.get", self._key_set, step)
        if found is None or (isinstance(found, Gone) and found.destroyed):
            return None
        material = self._held(found, path, kid)
        if material is None:
            raise StoreCorrupt(
                f"{self._place(path)} is not material that rotator wrote",
                hint=f"`vault kv rollback -version=1 -mount={self._engine.mount} {path}`, or revoke the kid",
            )
        return material

    def destroy(self, locator: str, kid: str) -> None:
        """Destroy every version of one key's material, then its metadata; harmless when it is gone.

        What cannot be parsed is destroyed all the same, and so is what was only deleted: a locator is never
        shared, and a deleted version can be undeleted.

        Raises:
            StoreCorrupt: it is another kid's material, which stays.
            StoreDenied, StoreUnavailable, ConfigError: it may still be there.
        """
        path = self._path(locator)
        self._fresh.forget(path)
        destroyed = False

        def step() -> None:
            nonlocal destroyed
            found = self._engine.read(path, whole=_NEEDS)
            if found is None and destroyed:
                return  # an attempt before removed the metadata too, and its answer was lost
            if isinstance(found, Found):
                material_of(found.data, self._key_set, kid, self._place(path))
            # A standby may not show yet what is there: the one version that there ever is goes all the same.
            newest = 1 if found is None else found.version
            # First the keys, which is final; the metadata only makes room for the name.
            self._engine.destroy(path, range(max(1, newest - _MOST), newest + 1))
            destroyed = True
            self._engine.erase(path)

        self._calls.attempt("material.destroy", self._key_set, step)

    def _held(self, found: Found | Gone, path: str, kid: str) -> Secret | None:
        if isinstance(found, Found):
            return material_of(found.data, self._key_set, kid, self._place(path))
        hint = f"`vault kv undelete -versions={found.version} -mount={self._engine.mount} {path}`"
        raise StoreCorrupt(
            f"{self._place(path)} was {'destroyed' if found.destroyed else 'deleted'}",
            hint="a locator is used once: see who destroyed it" if found.destroyed else hint,
        )

    def _path(self, locator: str) -> str:
        return f"{self._prefix}/{material_path(self._key_set, locator)}"

    def _place(self, path: str) -> str:
        return f"{self._engine.mount}/{path} of Vault at {self._engine.address}"
