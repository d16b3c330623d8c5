"""The material of a key set: private and symmetric keys, not encrypted at rest."""

from __future__ import annotations

import os

from rotator.plugin import Secret, StoreCorrupt
from rotator_file.access import MATERIAL, Access
from rotator_file.envelopes import material_bytes, parse_material
from rotator_file.files import read_file, remove_file, replace_file
from rotator_file.meaning import explained
from rotator_file.names import locator_for, material_file


class FileMaterial:
    """The keys of one key set: one file for each kid, written once."""

    def __init__(self, access: Access, key_set: str) -> None:
        self._access = access
        self._key_set = key_set

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a locator for a new key that is none of `taken`: the kid where it is a safe file name."""
        return locator_for(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write the material of one key; durable on return. The same again is harmless.

        Raises:
            StoreCorrupt: another kid's material, or other material of this kid, is there already.
            StoreDenied, StoreUnavailable: nothing is known to be written.
        """
        name = material_file(locator)
        with (
            self._access.call("material.put", self._key_set),
            self._access.changing(self._key_set, MATERIAL) as directory,
        ):
            found = read_file(directory, name)
            if found is None:
                replace_file(directory, name, material_bytes(self._key_set, kid, material))
                return
            if parse_material(found, self._key_set, kid, directory.path / name) != material:
                raise StoreCorrupt(
                    f"{directory.path / name} holds other material than that of kid {kid!r}",
                    hint="material is written once; nothing was changed",
                )
            with explained("sync", directory.path):
                os.fsync(directory.descriptor)

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return the material of one key, or None when there is no file of it.

        Raises:
            StoreCorrupt: the file is another kid's, or cannot be parsed.
            StoreDenied, StoreUnavailable: no answer.
        """
        name = material_file(locator)
        with (
            self._access.call("material.get", self._key_set),
            self._access.tree.reading(self._key_set, MATERIAL) as directory,
        ):
            found = None if directory is None else read_file(directory, name)
            if directory is None or found is None:
                return None
            place = directory.path / name
            material = parse_material(found, self._key_set, kid, place)
            if material is None:
                raise StoreCorrupt(
                    f"{place} is not a file of material",
                    hint="restore it from a backup, or revoke the kid",
                )
            return material

    def destroy(self, locator: str, kid: str) -> None:
        """Remove the file of one key; harmless when it is gone. Durable on return.

        A file that others may read is removed all the same, and so is one that cannot be parsed: a locator
        is never shared, and a damaged file may still hold most of the key.

        Raises:
            StoreCorrupt: it is another kid's material, which stays; or not a regular file.
            StoreDenied, StoreUnavailable: it may still be there.
        """
        name = material_file(locator)
        with self._access.call("material.destroy", self._key_set):
            with self._access.tree.reading(self._key_set, MATERIAL) as present:
                if present is None:
                    return
            with self._access.changing(self._key_set, MATERIAL) as directory:
                found = read_file(directory, name, private=False)
                if found is not None:
                    parse_material(found, self._key_set, kid, directory.path / name)
                remove_file(directory, name)
