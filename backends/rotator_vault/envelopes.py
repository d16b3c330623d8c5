"""What stands in the KV secrets of rings, material and documents.

Text is kept as text, for people who look with `vault kv get`; a JSON string gives exactly the bytes back.
What is not UTF-8 is kept in base64 beside it. No error carries a piece of what could not be parsed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from rotator.plugin import Document, Secret, StoreCorrupt, VersionToken

RING: Final = "ring"
_DOCUMENT: Final = "document"
_OURS: Final = "rotator"
_MATERIAL_FORMAT: Final = "rotator.material/1"
_DOCUMENT_FORMAT: Final = "rotator.document/1"


def ring_data(key_set: str, ring: bytes, save: str) -> dict[str, Any]:
    """Return the secret of a ring; `save` tells this very save from every other."""
    return {"key_set": key_set, "save": save, **_packed(RING, ring)}


def ring_of(data: Mapping[str, Any], key_set: str, place: str) -> bytes:
    """Return the ring in a secret.

    Raises:
        StoreCorrupt: there is none, or one of another key set.
    """
    found = _unpacked(RING, data)
    if found is None or data.get("key_set") != key_set:
        raise StoreCorrupt(
            f"{place} does not hold a ring of key set {key_set!r}",
            hint="see who wrote it (`vault kv metadata get`); `vault kv rollback` puts an older version "
            "back, and `rotator recover --ring` makes sure that it may be used",
        )
    return found


def material_data(key_set: str, kid: str, material: Secret) -> dict[str, Any]:
    """Return the secret of one key's material."""
    return {
        "format": _MATERIAL_FORMAT,
        "key_set": key_set,
        "kid": kid,
        "material": base64.b64encode(material.reveal()).decode("ascii"),
    }


def material_of(data: Mapping[str, Any], key_set: str, kid: str, place: str) -> Secret | None:
    """Return the material in a secret, or None when nothing can be read in it.

    Raises:
        StoreCorrupt: it is another key set's, or another kid's.
    """
    if data.get("format") != _MATERIAL_FORMAT:
        return None
    if data.get("key_set") != key_set or data.get("kid") != kid:
        raise StoreCorrupt(
            f"{place} does not hold the material of kid {kid!r} of key set {key_set!r}",
            hint="a locator is never shared: see who wrote it; nothing was changed",
        )
    content = _decoded(data.get("material"))
    return None if content is None else Secret(content)


def document_data(document: Document, write: str) -> dict[str, Any]:
    """Return the secret of a document: its exact text, its members as fields, and what is known of it."""
    return {
        **_members(document.body),
        **_packed(_DOCUMENT, document.body),
        _OURS: {
            "format": _DOCUMENT_FORMAT,
            "key_set": document.key_set,
            "revision": document.revision,
            "max_age": document.max_age,
            "stale": document.stale,
            "write": write,
        },
    }


def document_of(data: Mapping[str, Any], token: VersionToken) -> Document:
    """Return the document in a secret; one that `rotator` did not write has no key set and no revision.

    Where the fields beside the text say something else than it, the body is what they say: so a change
    made by hand is seen by whoever compares the body.
    """
    body, known = _unpacked(_DOCUMENT, data), data.get(_OURS)
    if body is None or not isinstance(known, dict) or known.get("format") != _DOCUMENT_FORMAT:
        return Document(_dumped(data), None, None, token)
    fields = {name: value for name, value in data.items() if name not in _reserved(_DOCUMENT)}
    key_set = known.get("key_set")
    return Document(
        body if fields == _members(body) else _dumped(fields),
        key_set if isinstance(key_set, str) else None,
        _whole(known.get("revision")),
        token,
        max_age=_whole(known.get("max_age")),
        stale=_whole(known.get("stale")),
    )


def mark_of(data: Mapping[str, Any]) -> object:
    """Return what tells the write of a document from every other."""
    known = data.get(_OURS)
    return known.get("write") if isinstance(known, dict) else None


def _members(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object, as fields of a secret; none for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if name not in _reserved(_DOCUMENT)}


def _reserved(name: str) -> tuple[str, ...]:
    return (_OURS, name, f"{name}_base64")


def _packed(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode("ascii")}


def _unpacked(name: str, data: Mapping[str, Any]) -> bytes | None:
    text = data.get(name)
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    return _decoded(data.get(f"{name}_base64"))


def _decoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _dumped(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True).encode("ascii")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
