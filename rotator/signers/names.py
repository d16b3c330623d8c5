"""The stable names of signer checks, as they are kept in the ring and shown. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

_SHORT: Final = 8


def url_name(url: str) -> str:
    """Return the stable name of the check of a URL: the URL, a digest in the place of its query."""
    plain, _, query = url.partition("#")[0].partition("?")
    return f"signer:{plain}{_digest(query)}"


def command_name(command: tuple[str, ...]) -> str:
    """Return the stable name of the check of a command: the program, a digest in the place of its arguments."""
    return f"signer:{command[0]}{_digest(chr(0).join(command[1:]))}"


def _digest(text: str) -> str:
    if not text:
        return ""
    return "#" + hashlib.sha256(text.encode()).hexdigest()[:_SHORT]
