"""Secrets that stand in the configuration, where none may: found before the model says less helpful things.

No text quotes a value. What is found is replaced by what could stand there, so that the model finds no fault
that follows from this one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from rotator.settings.document import Document
from rotator.settings.faults import Fault, Path
from rotator.settings.locations import keys_at

if TYPE_CHECKING:
    from pydantic import BaseModel

_NAMES: Final = frozenset(
    {
        "token",
        "secret_id",
        "password",
        "passphrase",
        "api_key",
        "apikey",
        "secret",
        "jwt",
        "credentials",
        "private_key",
        "access_key",
        "access_key_id",
        "secret_key",
        "secret_access_key",
        "session_token",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "external_id",
        "web_identity_token",
    }
)
"""Options that no backend has by these names: people try them."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHAPES: Final = re.compile(
    r"hv[sbr]\..*|[sbr]\.[A-Za-z0-9]{20,}|(AKIA|ASIA)[A-Z0-9]{12,}|eyJ[\w-]{8,}\.[\w-]+.*|-----BEGIN .*"
    r"|(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])[A-Za-z0-9+][A-Za-z0-9/+]{39}",
    re.ASCII | re.DOTALL,
)
"""Tokens of Vault, keys of AWS, JWTs, PEM; paths and names of variables look otherwise."""

_LEAKED: Final = "treat this one as leaked"


def without_secrets(
    model: type[BaseModel],
    document: Document,
    path: Path,
    values: Mapping[str, Any],
    faults: list[Fault],
) -> dict[str, Any]:
    """Return the options of a store with every misplaced secret replaced, each reported as a fault.

    Args:
        model: the options of the backend.
        path: where the options stand in the document.
        values: the options as written.
        faults: where every fault is added.
    """

    def clean(given: Mapping[str, Any], inside: Path) -> dict[str, Any]:
        known = _known(model, given, inside)
        cleaned: dict[str, Any] = {}
        for key, value in given.items():
            here = (*inside, key)
            if isinstance(value, dict):
                cleaned[key] = clean(value, here)
                continue
            text = _problem(key, value, known)
            if text is None:
                cleaned[key] = value
                continue
            faults.append(document.fault((*path, *here), text))
            instead = key if key in known else f"{key}_file"
            if instead in known and not {f"{key}_file", f"{key}_env"} & set(given):
                cleaned[instead] = "PLACEHOLDER"
        return cleaned

    return clean(values, ())


def _known(model: type[BaseModel], given: Mapping[str, Any], inside: Path) -> Collection[str]:
    """Return the keys that may stand beside each other: those of the chosen method, where there is one."""
    method = given.get("method")
    chosen = keys_at(model, (*inside, method), tagged=True) if isinstance(method, str) else ()
    return chosen or keys_at(model, inside)


def _problem(key: str, value: object, known: Collection[str]) -> str | None:
    if not known:  # any key may stand there, such as among the tags of AWS
        return None
    if key not in known:
        return _secret(key, known) if key in _NAMES else None
    if not isinstance(value, str):
        return None
    if key.endswith("_env") and (not _VARIABLE.fullmatch(value) or _SHAPES.fullmatch(value)):
        return (
            "must be the name of an environment variable, of A-Z a-z 0-9 _, and not what it holds; "
            f"if this is the secret itself, {_LEAKED}"
        )
    if key.endswith("_file") and _SHAPES.fullmatch(value):
        return f"must be the path of a file, and this looks like the secret itself: {_LEAKED}"
    return None


def _secret(key: str, known: Collection[str]) -> str:
    file = f" (`{key}_file`)" if f"{key}_file" in known else ""
    env = f" (`{key}_env`)" if f"{key}_env" in known else ""
    return (
        f"a secret never stands in the configuration: put it into a file{file} or an environment variable{env}, "
        f"and {_LEAKED}"
    )
