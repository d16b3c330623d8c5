"""Finding a token in an answer, and reading its header (RFC 7515 §3.1, §4.1). Pure.

Nothing here quotes what was answered: it may be a credential wherever the token really is.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from rotator.errors import StoreUnavailable
from rotator.secret import Secret

LIMIT: Final = 64 * 1024
"""How many bytes of an answer are read at most; no verifier wants a token of that size."""

_MEMBERS: Final = (
    "access_token",
    "id_token",
    "token",
)  # RFC 6749 §5.1, OpenID Connect Core §3.1.3.3
_COMPACT: Final = re.compile(r"[\w-]+\.[\w-]*\.[\w-]+", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_SHOWN: Final = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a token says of its key."""

    kid: str
    alg: str


def find_token(answer: bytes, what: str, field: str | None = None) -> Secret:
    """Return the token in an answer: the whole of it, or a member of the JSON object that it is.

    Args:
        what: who answered, for messages.
        field: the name of the member, with dots between names where objects lie in each other; without it
            `access_token`, `id_token` or `token`, the first that is there.

    Raises:
        StoreUnavailable: there is no signed JWT with a `kid` (RFC 7515 §7.1) in it.
    """

    def refuse(why: str, hint: str = "") -> NoReturn:
        raise StoreUnavailable(f"{what} gave no token that can be judged: {why}", hint=hint)

    if len(answer) > LIMIT:
        refuse(f"it answered more than {LIMIT} bytes")
    try:
        text = answer.decode("ascii").strip()
    except UnicodeDecodeError:
        refuse("the answer is not ASCII text")
    found = text if field is None and _COMPACT.fullmatch(text) else _member(text, field)
    if found is None:
        names = field or ", ".join(_MEMBERS)
        refuse(
            f"neither the whole answer nor {names} in it is a token"
            if field is None
            else f"there is no token at {field} in it",
            "`field` names the member of the JSON answer that is the token",
        )
    if not _COMPACT.fullmatch(found):
        refuse("it is no compact JWS", "an encrypted or opaque token says nothing of its key")
    token = Secret(found.encode())
    if read_header(token) is None:
        refuse("its header has no `kid` and `alg`", "verifiers choose their key by the `kid`")
    return token


def read_header(token: Secret) -> Header | None:
    """Return what the header of a compact JWS says, None when it does not say it."""
    first = token.reveal().partition(b".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    kid, alg = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or not isinstance(alg, str) or not _PRINTABLE.fullmatch(kid):
        return None
    return Header(kid, alg)


def shown(text: str) -> str:
    """Return something from a header as it may be shown to people."""
    return text if _SHOWN.fullmatch(text) else "(unprintable)"


def _member(text: str, field: str | None) -> str | None:
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if field is not None:
        for name in field.split("."):
            answer = answer.get(name) if isinstance(answer, dict) else None
        return answer if isinstance(answer, str) else None
    if isinstance(answer, str):
        return answer
    if not isinstance(answer, dict):
        return None
    found = (answer.get(name) for name in _MEMBERS)
    return next(
        (item for item in found if isinstance(item, str) and _COMPACT.fullmatch(item)), None
    )
