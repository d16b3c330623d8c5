"""What stands in the files of material and documents: JSON that names whose it is.

No error of this module carries a piece of what it could not parse, for that may be key material: a
`JSONDecodeError` keeps the whole text, so it is let go of before anything is raised.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any, Final

from rotator.plugin import Document, Secret, StoreCorrupt, VersionToken

_MATERIAL: Final = "rotator.material/1"
_DOCUMENT: Final = "rotator.document/1"


def material_bytes(key_set: str, kid: str, material: Secret) -> bytes:
    """Return the file of one key's material."""
    return _dump(
        {
            "format": _MATERIAL,
            "key_set": key_set,
            "kid": kid,
            "material": base64.b64encode(material.reveal()).decode("ascii"),
        }
    )


def parse_material(data: bytes, key_set: str, kid: str, place: Path) -> Secret | None:
    """Return the material in a file, or None when nothing can be read in it.

    Raises:
        StoreCorrupt: it is another key set's, or another kid's.
    """
    found = _load(data)
    if found.get("format") != _MATERIAL:
        return None
    if found.get("key_set") != key_set or found.get("kid") != kid:
        raise StoreCorrupt(
            f"{place} does not hold the material of kid {kid!r} of key set {key_set!r}",
            hint="a locator is never shared: see who wrote it; nothing was changed",
        )
    material = _decode(found.get("material"))
    return None if material is None else Secret(material)


def document_bytes(document: Document) -> bytes:
    """Return the file of one derived document."""
    return _dump(
        {
            "format": _DOCUMENT,
            "key_set": document.key_set,
            "revision": document.revision,
            "max_age": document.max_age,
            "stale": document.stale,
            "body": base64.b64encode(document.body).decode("ascii"),
        }
    )


def parse_document(data: bytes, token: VersionToken) -> Document:
    """Return the document in a file; one that `rotator` did not write has no key set and no revision."""
    found = _load(data)
    body = _decode(found.get("body"))
    key_set, revision = found.get("key_set"), found.get("revision")
    if found.get("format") != _DOCUMENT or body is None:
        return Document(data, None, None, token)
    return Document(
        body,
        key_set if isinstance(key_set, str) else None,
        _whole(revision),
        token,
        max_age=_whole(found.get("max_age")),
        stale=_whole(found.get("stale")),
    )


def _dump(members: dict[str, object]) -> bytes:
    return json.dumps(members).encode("ascii") + b"\n"


def _load(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one when there is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _decode(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
