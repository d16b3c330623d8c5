"""Reading a key's material for those who are to be given it."""

from __future__ import annotations

from rotator.errors import StoreCorrupt
from rotator.keys import KeyMaker
from rotator.ring import Key, KeyRing
from rotator.secret import Secret
from rotator.stores import MaterialStore


def read_material(material: MaterialStore, ring: KeyRing, key: Key, keys: KeyMaker) -> Secret:
    """Return a key's material, after comparing it with the ring's half: no foreign key is delivered.

    Raises:
        StoreCorrupt: it is missing, or another key's.
        StoreUnavailable, StoreDenied: the store gave no answer.
    """
    found = material.get(key.locator, key.kid) if key.locator else None
    if found is None:
        raise StoreCorrupt(
            f"the material of key {key.kid} of key set {ring.key_set} is missing",
            hint="targets are left as they are; `rotator revoke "
            f"{ring.key_set} {key.kid} --reason lost` replaces the key",
        )
    if not is_half_of(key, found, keys):
        raise StoreCorrupt(
            f"the material stored for key {key.kid} of key set {ring.key_set} is another key's",
            hint="nothing was delivered; restore the material, or revoke the key",
        )
    return found


def is_half_of(key: Key, material: Secret, keys: KeyMaker) -> bool:
    """True when the public half inside the material is the ring's; no signature is made for it."""
    try:
        jwk = keys.private_jwk(key, material)
    except ValueError:
        return False
    if key.kind.symmetric:
        return keys.matches(key, dict(jwk))
    return all(jwk.get(name) == value for name, value in (key.public or {}).items())
