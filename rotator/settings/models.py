"""The shape of a configuration, as pydantic models. For parsing only: what the program uses is in `result`.

Every field may be left out where `defaults:` or the program has a value; what was written is known by
`model_fields_set`. The descriptions become the JSON Schema and `docs/configuration.md`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rotator.policy import RotationPolicy
from rotator.settings.listeners import Admin, Server
from rotator.settings.model import Model
from rotator.settings.result import SHUTDOWN_TIMEOUT
from rotator.settings.signer_models import SignerCheck
from rotator.settings.target_models import Deliver, Publish
from rotator.settings.values import (
    AlgorithmName,
    Duration,
    MaxAge,
    Name,
    PathText,
    PositiveDuration,
    Seconds,
    Text,
    Url,
)
from rotator.settings.windows import Windows

_DEFAULT: Final[dict[str, Any]] = {field.name: field.default for field in fields(RotationPolicy)}


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
    windows: Windows | None = Field(
        None,
        description="Change windows: when current keys may be replaced. A key set's own replace those of `defaults` as a whole; `{}` is at any time.",
    )
    policy: Policy = Field(default_factory=Policy, description="Durations.")


class Defaults(Shared):
    """Values for every key set that does not say otherwise."""


class Probe(Model):
    """One probe; a plain URL is short for a mapping with only that."""

    url: Url = Field(
        description="The URL at which verifiers really read the JWKS. "
        "An entry may be nothing but this URL: `- https://issuer.example/jwks.json`."
    )
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
    issuer: Text | None = Field(
        None,
        description="The `iss` of the tokens; never checked. A URL without a path, or with the path `/KEY_SET`, "
        "has its OpenID discovery document served by the built-in server.",
    )
    deliver: list[Deliver] = Field(
        [], description="Where signers, and HMAC verifiers, get their documents."
    )
    publish: list[Publish] = Field([], description="Where the JWKS is written.")
    probes: list[Probe] = Field(
        [], description="URLs at which the JWKS is looked at before a key signs."
    )
    signer_checks: list[SignerCheck] = Field(
        [], description="Ways to a fresh token, to see what signers really sign with."
    )


class Root(Model):
    """What stands at the top."""

    # Stores and key sets are parsed one by one, so that a fault in one hides none in another.

    # Required all the same, see `Loader`: as a default it keeps the rest of a faulty file checkable.
    version: Literal[1] = Field(1, description="The version of this format: 1.")
    defaults: dict[str, Any] = Field(
        {}, description="Values for every key set that does not say otherwise."
    )
    stores: dict[str, Any] = Field({}, description="The secrets managers, by name.")
    key_sets: dict[str, Any] = Field({}, description="The key sets, by name.")
    key_sets_dir: PathText | None = Field(
        None, description="A directory with one file per key set, named after it, for fleets."
    )
    combine: dict[str, list[Name]] = Field(
        {}, description="Paths of the built-in server that serve several key sets in one document."
    )
    server: Server | None = Field(
        None, description="The built-in HTTP server; without it nothing listens."
    )
    admin: Admin | None = Field(
        None,
        description="The admin listener of the daemon; without it nothing listens. `{}` takes the default address.",
    )
    notify: dict[str, Any] = Field(
        {}, description="Who is told what happens to keys, by name: webhooks and commands."
    )
    state_dir: PathText | None = Field(
        None,
        description="Where rotator keeps what is public or can be made again. Default: `/var/lib/rotator` for a configuration below `/etc`, else `.rotator` beside it.",
    )
    shutdown_timeout: Duration = Field(
        SHUTDOWN_TIMEOUT,
        description="How long `rotator run` goes on with the steps under way after SIGTERM, the end of its HTTP server included; what is cut off is finished by the next tick of anyone.",
    )


class Store(BaseModel):
    """The part of a store that every backend shares; the rest is checked by the backend's own model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    backend: Name = Field(description="The backend: the kind of secrets manager.")
