"""The ring of a key set, with compare-and-set: the version of a ring is that of its KV secret."""

from __future__ import annotations

import os
from typing import Final

from rotator.plugin import Calls, Conflict, StoreCorrupt, Stored, Version
from rotator_vault.envelopes import ring_data, ring_of
from rotator_vault.kv import Engine, Found, Gone
from rotator_vault.names import RING

_NEEDS: Final = "create read update"


class VaultRings:
    """The ring of one key set.

    Args:
        engine: the KV engine.
        calls: logs and retries.
        prefix: the path below the mount that is rotator's.
        key_set: whose ring; a safe name.
    """

    def __init__(self, engine: Engine, calls: Calls, prefix: str, key_set: str) -> None:
        self._engine = engine
        self._calls = calls
        self._key_set = key_set
        self._path = f"{prefix}/{key_set}/{RING}"

    @property
    def place(self) -> str:
        """Where the ring lies, for messages."""
        return f"{self._engine.mount}/{self._path} of Vault at {self._engine.address}"

    def load(self) -> Stored | None:
        """Return the ring, or None when its path never was.

        Raises:
            StoreCorrupt: its latest version was deleted or destroyed, or is no ring of this key set.
            StoreDenied, StoreUnavailable, ConfigError: as `Engine.read`.
        """
        found = self._calls.attempt(
            "ring.load", self._key_set, lambda: self._engine.read(self._path, whole=_NEEDS)
        )
        if found is None:
            return None
        if isinstance(found, Gone):
            raise self._gone(found)
        ring = ring_of(found.data, self._key_set, self.place)
        return Stored(ring, Version(str(found.version)), found.server_time)

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Write the ring if the latest version is still `replacing` (None: if its path never was).

        Raises:
            Conflict: it is another version; nothing was written.
            StoreCorrupt, StoreDenied, StoreUnavailable, ConfigError: as `load`. After StoreUnavailable the
                next load shows whether it was written.
        """
        if replacing is not None and not (replacing.isascii() and replacing.isdigit()):
            raise self._conflict()
        base = 0 if replacing is None else int(replacing)
        mark = os.urandom(16).hex()
        data = ring_data(self._key_set, document, mark)

        def step() -> int | None:
            written = self._engine.write(self._path, data, cas=base, needs=_NEEDS)
            # An earlier try may have been carried out and its answer lost, and others may have gone on.
            return self._mine(base + 1, mark) if written is None else written

        saved = self._calls.attempt("ring.save", self._key_set, step)
        if saved is None:
            raise self._conflict()
        return Version(str(saved))

    def _mine(self, version: int, mark: str) -> int | None:
        found = self._engine.read(self._path, version=version)
        if isinstance(found, Found) and found.data.get("save") == mark:
            return version
        return None

    def _conflict(self) -> Conflict:
        return Conflict(
            f"somebody else saved the ring of key set {self._key_set!r} in between",
            hint="load it again",
        )

    def _gone(self, found: Gone) -> StoreCorrupt:
        path = f"-mount={self._engine.mount} {self._path}"
        what = "destroyed" if found.destroyed else "deleted, by hand or by `delete_version_after`"
        hint = (
            f"`vault kv rollback -version=N {path}` with an older version, or a backup with "
            "`rotator recover --ring FILE`"
            if found.destroyed
            else f"`vault kv undelete -versions={found.version} {path}`"
        )
        return StoreCorrupt(
            f"version {found.version} of the ring at {self.place} was {what}", hint=hint
        )
