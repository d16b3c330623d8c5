"""The single values of a configuration: how each is read, and what is said of one that cannot be."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from rotator.algorithms import ALGORITHMS
from rotator.durations import PATTERN, parse_duration
from rotator.policy import ZERO
from rotator.settings.faults import nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_UNIX_PATH: Final = 107  # bytes, unix(7)


def _positive(value: object) -> timedelta:
    found = parse_duration(value)
    if found == ZERO:
        raise ValueError("must be longer than `0s`")
    return found


def _seconds(value: object) -> timedelta:
    found = parse_duration(value)
    if found % timedelta(seconds=1):
        raise ValueError("HTTP counts whole seconds (RFC 9111 §1.2.2); write `1s`, `5m`")
    return found


def _max_age(value: object) -> timedelta:
    found = _seconds(value)
    if found == ZERO:
        raise ValueError(
            "`0s` makes some verifiers fetch for every token, and others cache for an hour; write `1s` or more"
        )
    return found


def _algorithm(value: object) -> str:
    if isinstance(value, str):
        if value in ALGORITHMS:
            return value
        raise ValueError(f"unknown algorithm {value!r}{nearest(value, ALGORITHMS)}")
    raise ValueError("must be the name of an algorithm, such as RS256")


def _mode(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
        return int(value, 8)
    # 0640 without quotes is 640 in JSON's cousins, and 416 in others: only text says what is meant.
    digits = str(value) if isinstance(value, int) else ""
    meant = f"'0{digits}'" if re.fullmatch(r"[0-7]{3}", digits) else "'0640'"
    raise ValueError(f"a file mode is three octal digits after a zero, in quotes: {meant}")


def _listen(value: object) -> tuple[str, int]:
    shape = r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^\s:/\[\]]+)):(\d{1,5})"
    found = re.fullmatch(shape, value, re.ASCII) if isinstance(value, str) else None
    if found is not None and int(found[3]) > 65535:
        raise ValueError(f"there is no port {found[3]}; the last one is 65535")
    if found is None:
        raise ValueError(
            "must be HOST:PORT, such as '127.0.0.1:8080', '0.0.0.0:8080' or '[::1]:8080'"
        )
    return found[1] or found[2], int(found[3])


def _listen_or_unix(value: object) -> tuple[str, int]:
    if not isinstance(value, str) or not value.startswith("unix:"):
        return _listen(value)
    path = value.removeprefix("unix:")
    if not path.startswith("/") or not path.isprintable() or len(os.fsencode(path)) > _UNIX_PATH:
        raise ValueError(
            f"a Unix socket is `unix:` and an absolute path of at most {_UNIX_PATH} bytes, "
            "such as unix:/run/rotator/jwks.sock"
        )
    return value, 0


def _url(value: object) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        usable = parts is not None and parts.port != 0 and parts.hostname
    except ValueError:
        parts, usable = None, None
    if not isinstance(value, str) or parts is None or not usable or not value.isprintable():
        raise ValueError("must be a URL such as https://issuer.example/jwks.json")
    if parts.scheme not in {"http", "https"} or " " in value:
        raise ValueError("must be a URL that starts with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a JWKS is public: a probe sends no user name or password; take them out of the URL"
        )
    if parts.fragment:
        raise ValueError("a URL to fetch has no `#fragment`; take it out")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds a control character; take it out")
    return value


def path_problem(value: str) -> str:
    """Say why a path cannot be one; nothing when it can."""
    if not value.isprintable():
        return "holds a control character; take it out"
    try:
        Path(value).expanduser()
    except RuntimeError:
        return f"nobody knows the home directory `{value.partition('/')[0]}`; write it out"
    return ""


def _path(value: str) -> str:
    if problem := path_problem(value):
        raise ValueError(problem)
    return value


def in_seconds(field: FieldInfo) -> bool:
    """Tell whether an option of a store is written as a duration and kept in seconds (`plugin.Seconds`)."""
    schemas = (getattr(item, "json_schema", None) for item in field.metadata)
    return any((schema or {}).get("pattern") == PATTERN for schema in schemas)


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


_DURATION_SCHEMA: Final = _schema(PATTERN, "90d", "1h30m", "250ms")
Duration = Annotated[timedelta, PlainValidator(parse_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[timedelta, PlainValidator(_positive), _DURATION_SCHEMA]
Seconds = Annotated[timedelta, PlainValidator(_seconds), _DURATION_SCHEMA]
MaxAge = Annotated[timedelta, PlainValidator(_max_age), _DURATION_SCHEMA]
AlgorithmName = Annotated[
    str, PlainValidator(_algorithm), WithJsonSchema({"type": "string", "enum": list(ALGORITHMS)})
]
Mode = Annotated[int, PlainValidator(_mode), _schema("^0?[0-7]{3}$", "0640")]
Listen = Annotated[
    tuple[str, int],
    PlainValidator(_listen),
    _schema(r"^.+:\d{1,5}$", "127.0.0.1:8080", "[::1]:8080"),
]
ListenOrUnix = Annotated[
    tuple[str, int],
    PlainValidator(_listen_or_unix),
    _schema(
        r"^(.+:\d{1,5}|unix:/.+)$", "127.0.0.1:8080", "[::1]:8080", "unix:/run/rotator/jwks.sock"
    ),
]
Url = Annotated[str, PlainValidator(_url), WithJsonSchema({"type": "string", "format": "uri"})]
Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable)]
PathText = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_path)]
Name = Annotated[str, Field(min_length=1, max_length=63)]
VerifierName = (
    Annotated[  # a part of names in every store: lower case, for some file systems know no other
        str, Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$")
    ]
)
