"""The material of a key set: private and symmetric keys, each a secret of its own."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from rotator.plugin import Conflict, JustWritten, Secret, StoreCorrupt
from rotator_aws.client import Client
from rotator_aws.names import locator_for, material_name, new_token
from rotator_aws.values import Scheduled, Values
from rotator_aws.writes import Write

_FORMAT: Final = "rotator.material/1"


class AwsMaterial:
    """The keys of one key set: one secret `PREFIX/KEY_SET/material/LOCATOR` for each kid, written once."""

    def __init__(self, client: Client, values: Values, key_set: str) -> None:
        self._client = client
        self._values = values
        self._key_set = key_set
        self._fresh = JustWritten()

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a locator for a new key that is none of `taken`: the kid where it is a safe name."""
        return locator_for(kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write the material of one key. The same again is harmless.

        Raises:
            StoreCorrupt: another kid's material, or other material of this kid, is there already.
            StoreUnavailable, StoreDenied: nothing is known to be written; a name whose secret is
                scheduled for deletion is not free.
        """
        name = self._name(locator)
        body = _envelope(self._key_set, kid, material)
        write = Write(self._client, self._values, name, body, new_token())
        about = f"rotator: the key of one kid of key set {self._key_set}"

        def step() -> None:
            try:
                write.create(about=about)
            except Conflict:
                found = self._read(name, kid)
                if found is None or found != material:
                    raise StoreCorrupt(
                        f"{name} holds other material than that of kid {kid!r}",
                        hint="material is written once; nothing was changed",
                    ) from None

        self._client.step("material.put", self._key_set, step)
        self._fresh.note(name)

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return the material of one key; None when its secret is not there, or scheduled for deletion.

        Raises:
            StoreCorrupt: it is another kid's, or cannot be parsed.
            StoreUnavailable, StoreDenied: no answer.
        """
        name = self._name(locator)

        def step() -> Secret | None:
            found = self._read(name, kid)
            if found is None:
                self._fresh.refuse(name, self._client.place)
            return found

        return self._client.step("material.get", self._key_set, step)

    def destroy(self, locator: str, kid: str) -> None:
        """Delete the secret of one key, for good after `recovery_window`; harmless when it is gone.

        One that cannot be parsed is deleted all the same: a locator is never shared, and a damaged one
        may still hold most of the key.

        Raises:
            StoreCorrupt: it is another kid's material, which stays.
            StoreUnavailable, StoreDenied: it may still be there.
        """
        name = self._name(locator)
        self._fresh.forget(name)

        def step() -> None:
            try:
                found = self._values.current(name)
            except Scheduled:
                return
            if found is not None:
                _parse(found.body, self._key_set, kid, name)
            # Also one without a value: it may have others than the current one.
            self._values.delete(name, self._client.settings.recovery_window)

        self._client.step("material.destroy", self._key_set, step)

    def _name(self, locator: str) -> str:
        return material_name(self._client.settings.prefix, self._key_set, locator)

    def _read(self, name: str, kid: str) -> Secret | None:
        try:
            found = self._values.current(name)
        except Scheduled:
            return None
        if found is None:
            return None
        material = _parse(found.body, self._key_set, kid, name)
        if material is None:
            raise StoreCorrupt(
                f"the secret {name} is not one of material",
                hint="put back its version before (`aws secretsmanager list-secret-version-ids`), or "
                "revoke the kid",
            )
        return material


def _envelope(key_set: str, kid: str, material: Secret) -> bytes:
    members = {
        "format": _FORMAT,
        "key_set": key_set,
        "kid": kid,
        "material": base64.b64encode(material.reveal()).decode("ascii"),
    }
    return json.dumps(members).encode("ascii")


def _parse(data: bytes, key_set: str, kid: str, name: str) -> Secret | None:
    """Return the material in a secret, or None when nothing can be read in it.

    No error carries a piece of what could not be parsed, for that may be key material.

    Raises:
        StoreCorrupt: it is another key set's, or another kid's.
    """
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    found: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    if found.get("format") != _FORMAT:
        return None
    if found.get("key_set") != key_set or found.get("kid") != kid:
        raise StoreCorrupt(
            f"the secret {name} does not hold the material of kid {kid!r} of key set {key_set!r}",
            hint="a locator is never shared: see who wrote it; nothing was changed",
        )
    text = found.get("material")
    try:
        return Secret(base64.b64decode(text, validate=True)) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None
