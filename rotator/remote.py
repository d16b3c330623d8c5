"""What the settings of every backend of a server elsewhere share, and where their secrets come from.

A secret is never in the configuration's text: an option ending in `_file` names a file that holds it, one
ending in `_env` an environment variable. Both are read again at each login, so that a rotated secret is taken up.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rotator.durations import PATTERN, parse_duration
from rotator.errors import StoreDenied
from rotator.secret import Secret

__all__ = ["HttpUrl", "RemoteSettings", "Seconds", "http_url", "read_secret"]

_MAX_SECRET: Final = 1 << 20  # bytes; a projected token or a key is far shorter


Seconds = Annotated[
    float,
    Field(gt=0, le=600),
    BeforeValidator(lambda value: parse_duration(value).total_seconds()),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
"""A duration of at most ten minutes, written with its unit; seconds once parsed."""


def http_url(value: str) -> str:
    """Return the http or https URL of a server, without credentials and without a slash at the end.

    Raises:
        ValueError: it is none; the message does not quote it, for it may be a credential in the wrong place.
    """
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://secrets.example.com:8200")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no credentials in it")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]
"""The address of a server, as `http_url` returns it."""


class RemoteSettings(BaseModel):
    """The options that every backend of a server elsewhere has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_timeout: Seconds = Field(
        default=3.0, description="How long a connection may take to be made."
    )
    read_timeout: Seconds = Field(
        default=10.0, description="How long the server may take to answer one call."
    )
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=4, description="How often a step is tried before the store counts as unavailable."
    )
    patience: Seconds = Field(default=20.0, description="After how long no further attempt begins.")


def read_secret(what: str, *, file: Path | None, env: str | None) -> Secret:
    """Return a secret from its file or its environment variable, without the line end.

    Args:
        what: what it is, for messages (`the Vault token`).
        file: the file that holds it; read anew at each call, for platforms replace it.
        env: the name of the environment variable.

    Raises:
        StoreDenied: there is none, it is empty, or it may not be read; the message never quotes it.
    """
    if file is not None:
        return _from_file(what, file)
    value = os.environ.get(env or "", "").strip()
    if not env or not value:
        raise StoreDenied(
            f"{what} is not there: the environment variable {env or '(none)'} is not set",
            hint="set it where rotator runs, or name a file instead",
        )
    return Secret(value.encode())


def _from_file(what: str, file: Path) -> Secret:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise StoreDenied(f"{what} is not there: {file} is not a regular file")
            content = opened.read(_MAX_SECRET + 1).strip()
    except OSError as error:
        raise StoreDenied(
            f"{what} cannot be read from {file}: {(error.strerror or '').lower()}",
            hint=_cure(error),
        ) from error
    if not content or len(content) > _MAX_SECRET:
        raise StoreDenied(
            f"{what} is not in {file}: it is {'empty' if not content else 'larger than 1 MiB'}",
            hint="write nothing but the secret into it",
        )
    return Secret(content)


def _cure(error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "write it, or name another file"
    return f"let uid {os.geteuid()} read it, or name another file"
