"""The shape of a configuration, as pydantic models. For parsing only: what the program uses is in `result`.

Every field may be left out where `defaults:` or the program has a value; what was written is known by
`model_fields_set`. The descriptions become the JSON Schema and `docs/configuration.md`.
"""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from rotator.algorithms import ALGORITHMS
from rotator.policy import ZERO, RotationPolicy
from rotator.settings.durations import PATTERN, parse_duration
from rotator.settings.faults import nearest

LATER: Final = {
    "windows": "maintenance windows",
    "notify": "notifications",
    "admin": "an administration port",
}
"""Keys that the design names and this version does not have."""

KEY_SET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
"""What a key set may be called: safe as a file name, in a URL and in a log."""

_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(RotationPolicy)}


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
    if found is None or int(found[3]) > 65535:
        raise ValueError(
            "must be HOST:PORT, such as '127.0.0.1:8080', '0.0.0.0:8080' or '[::1]:8080'"
        )
    return found[1] or found[2], int(found[3])


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
Url = Annotated[str, PlainValidator(_url), WithJsonSchema({"type": "string", "format": "uri"})]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=63)]


class Model(BaseModel):
    """What all models share: an unknown key is a fault, nothing changes after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(Model):
    """The durations of a key set."""

    token_ttl: PositiveDuration | None = Field(
        None, description="The longest time between a token's issue and its `exp`. Required."
    )
    signer_lag: Duration | None = Field(
        None,
        description="How long a signer may go on using a key after a new one was delivered to its target. Required.",
    )
    rotate_every: PositiveDuration = Field(
        _DEFAULT["rotate_every"], description="How long a key signs."
    )
    propagation: Duration = Field(
        _DEFAULT["propagation"], description="How long a key is announced before it signs."
    )
    verifier_cache: Duration = Field(
        _DEFAULT["verifier_cache"],
        description="How long a verifier uses what it fetched; for HMAC, how often it reads its document.",
    )
    leeway: Duration = Field(
        _DEFAULT["leeway"], description="How long after `exp` verifiers still accept a token."
    )
    clock_skew: Duration = Field(
        _DEFAULT["clock_skew"],
        description="The largest difference between any two clocks of replicas, signers and verifiers.",
    )
    jwks_max_age: MaxAge = Field(
        _DEFAULT["jwks_max_age"], description="The `max-age` that the JWKS is served with."
    )
    jwks_stale: Seconds = Field(
        _DEFAULT["jwks_stale"],
        description="The longer of the `stale-while-revalidate` and `stale-if-error` that the JWKS is served with.",
    )
    resync: PositiveDuration = Field(
        _DEFAULT["resync"],
        description="How often each process reads its sources again; under cron, the interval of the runs.",
    )
    max_keys: Annotated[int, Field(ge=5, le=100)] = Field(
        _DEFAULT["max_keys"], description="The most keys that the key set ever publishes at once."
    )
    grace: Duration | None = Field(
        None,
        description="How long a superseded key stays published. Default: the smallest value that is safe.",
    )
    standby: Literal["always", "just-in-time"] = Field(
        "always",
        description="When the next key is announced: as soon as the current one signs, or just in time.",
    )


class Shared(Model):
    """What `defaults:` and a key set have in common."""

    algorithm: AlgorithmName = Field("RS256", description="The JWS algorithm of the keys.")
    key_size: int | None = Field(
        None, description="The size of RSA keys in bits: 2048, 3072 (default) or 4096."
    )
    store: Name | None = Field(
        None,
        description="The store that keeps ring and material. May be left out where there is one.",
    )
    verifiers: list[Name] = Field(
        [],
        description="Profiles of the verifiers that read this JWKS; they raise `verifier_cache` and `leeway`, lower `max_keys`, and limit algorithms.",
    )
    allow_mixed_kty: bool = Field(
        False,
        description="Whether one JWKS may hold keys of two types while the algorithm changes; several libraries break on it.",
    )
    first_run: Literal["auto", "operator"] = Field(
        "auto",
        description="Whether a first run is recognised, or only ordered by `rotate --first-run`.",
    )
    policy: Policy = Field(default_factory=Policy, description="Durations.")


class Defaults(Shared):
    """Values for every key set that does not say otherwise."""


class Deliver(Model):
    """One delivery."""

    to: Literal["files"] = Field(description="The kind of target: a directory of files.")
    path: Text = Field(description="The directory.")
    document: Literal["signing", "verification"] = Field(
        "signing",
        description="What is delivered: the signing document, or for HMAC verifiers the verification document.",
    )
    mode: Mode | None = Field(
        None, description="The mode of the files. Default: '0600', or '0640' with a group."
    )
    group: Name | None = Field(None, description="The group that may read the files.")


class Publish(Model):
    """One publication."""

    to: Literal["file"] = Field(description="The kind of target: one file.")
    path: Text = Field(description="The file.")
    mode: Mode | None = Field(None, description="The mode of the file. Default: '0644'.")


class Probe(Model):
    """One probe; a plain URL is short for a mapping with only that."""

    url: Url = Field(description="The URL at which verifiers really read the JWKS.")
    all_addresses: bool = Field(
        False, description="Whether every address that the name resolves to is looked at."
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value


class KeySet(Shared):
    """One key set."""

    default: bool = Field(
        False,
        description="Whether the JWKS is also served at `/.well-known/jwks.json`; one key set at most.",
    )
    issuer: Text | None = Field(None, description="The `iss` of the tokens; shown, never checked.")
    deliver: list[Deliver] = Field(
        [], description="Where signers, and HMAC verifiers, get their documents."
    )
    publish: list[Publish] = Field([], description="Where the JWKS is written.")
    probes: list[Probe] = Field(
        [], description="URLs at which the JWKS is looked at before a key signs."
    )


class Server(Model):
    """The built-in HTTP server."""

    listen: Listen = Field(description="HOST:PORT; an IPv6 address in brackets.")


class Root(Model):
    """What stands at the top."""

    # Stores and key sets are parsed one by one, so that a fault in one hides none in another.

    version: Literal[1] = Field(description="The version of this format: 1.")
    defaults: dict[str, Any] = Field(
        {}, description="Values for every key set that does not say otherwise."
    )
    stores: dict[str, Any] = Field({}, description="The secrets managers, by name.")
    key_sets: dict[str, Any] = Field({}, description="The key sets, by name.")
    key_sets_dir: Text | None = Field(
        None, description="A directory with one file per key set, named after it, for fleets."
    )
    combine: dict[str, list[Name]] = Field(
        {}, description="Paths of the built-in server that serve several key sets in one document."
    )
    server: Server | None = Field(
        None, description="The built-in HTTP server; without it nothing listens."
    )
    state_dir: Text | None = Field(
        None,
        description="Where rotator keeps what is public or can be made again. Default: `/var/lib/rotator` for a configuration below `/etc`, else `.rotator` beside it.",
    )


class Store(BaseModel):
    """The part of a store that every backend shares; the rest is checked by the backend's own model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    backend: Name = Field(description="The backend: the kind of secrets manager.")
