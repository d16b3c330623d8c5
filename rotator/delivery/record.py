"""What was written into a directory of files: whose it is, and the digest of every file.

It makes an edited document drift, which is mended, and not somebody else's, which is left alone; and a
look needs no cryptography to see that `public.pem` is the right one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rotator.delivery.payload import Origin, origin
from rotator.documents import read_json

RECORD: Final = ".rotator.json"
_FORMAT: Final = "rotator.files/1"


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one live directory.

    Attributes:
        origin: the key set and revision that were written.
        access: mode and group as they were configured then; what a file system made of them may differ.
        files: the SHA-256 of each file by name, in hex.
    """

    origin: Origin
    access: str
    files: Mapping[str, str]

    def render(self) -> bytes:
        """Return the record as bytes."""
        record = {**self.origin._asdict(), "access": self.access, "files": dict(self.files)}
        return json.dumps({"format": _FORMAT, **record}).encode()

    @classmethod
    def parse(cls, body: bytes) -> Record | None:
        """Return the record that bytes hold, None when they are none of ours."""
        parsed = read_json(body)
        found = origin(parsed, _FORMAT)
        if parsed is None or found is None or not isinstance(parsed.get("files"), dict):
            return None
        files = {str(name): str(digest) for name, digest in parsed["files"].items()}
        if any("/" in name or name.startswith(".") for name in files):
            return None
        return cls(found, str(parsed.get("access")), files)


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes in hex."""
    return hashlib.sha256(data).hexdigest()
