"""Verifier profiles: what is known of the verifiers that people really run, and what it means for a policy.

A table without I/O. Figures are the defaults of the versions that were read or run; a verifier configured
otherwise needs its own numbers in `policy:`. `blind` is the longest time for which a verifier, by default,
does not see a new kid: the whole lifetime of its cache where it never fetches for an unknown kid or limits how often it
does, and next to nothing where it always does. `keeps` is how long it may go on accepting a removed key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from rotator.policy import ZERO, RotationPolicy, format_duration

FOREVER: Final = timedelta.max

_RS: Final = frozenset({"RS256", "RS384", "RS512"})
_PS: Final = frozenset({"PS256", "PS384", "PS512"})
_ES: Final = frozenset({"ES256", "ES384", "ES512"})
_EVERY: Final = _RS | _PS | _ES | {"EdDSA"}


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of verifier.

    Args:
        name: what `verifiers:` calls it.
        title: what people call it.
        blind: the least `verifier_cache` that it needs.
        leeway: what it adds to `exp` by default.
        keeps: how long it may accept a key that is no longer published; `FOREVER` when only a kid that it does
            not know makes it fetch again.
        max_keys: the most keys that it takes, None without a limit worth knowing.
        algorithms: those it verifies, among the asymmetric ones.
        frozen: it keeps old keys for as long as it cannot fetch, which no duration covers.
        single_kty: a key of another type in the same JWKS breaks it.
        notes: what else `check` says.
        plain_json: it asks for `application/json` only, and so the JWKS is called that.
        purge: what makes it forget a revoked key sooner, by hand.
    """

    name: str
    title: str
    blind: timedelta = ZERO
    leeway: timedelta = ZERO
    keeps: timedelta = ZERO
    max_keys: int | None = None
    algorithms: frozenset[str] = _EVERY
    frozen: bool = False
    single_kty: bool = False
    notes: tuple[str, ...] = ()
    plain_json: bool = False
    purge: str = "restart the processes that use it"


def _hours(count: float) -> timedelta:
    return timedelta(hours=count)


def _minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


_GO_JOSE: Final = (
    "one key of a type that it does not know rejects the whole JWKS (go-oidc before 3.21)"
)
_ONE_MINUTE: Final = _minutes(1)
_NOTHING: Final = "nothing is known that makes it forget a key sooner"
_ENVOY: Final = "restart Envoy"

_TABLE: Final = (
    Profile(
        "aspnet", "ASP.NET JwtBearer, Microsoft.IdentityModel 8", _hours(12.6), _minutes(5), _hours(13.6),
        algorithms=_RS | _PS | _ES,
        notes=("an unknown kid starts a fetch in the background, once in 5m; the token that started it is rejected",),
        purge="restart the application",
    ),
    Profile("envoy", "Envoy jwt_authn", _minutes(10), _ONE_MINUTE, _minutes(10),
            notes=("never fetches for an unknown kid unless told to",), purge=_ENVOY),
    Profile("envoy-async", "Envoy jwt_authn with async_fetch", _minutes(10), _ONE_MINUTE, FOREVER, frozen=True,
            notes=("never fetches for an unknown kid unless told to",), purge=_ENVOY),
    Profile("istio", "Istio", _hours(1), _ONE_MINUTE, timedelta(days=7), frozen=True,
            notes=("fetches every 20m, and after a failed fetch up to 60m later; old keys are kept for 7d",),
            purge="`kubectl -n istio-system rollout restart deployment/istiod`"),
    Profile("consul", "Consul service mesh", _minutes(5), _ONE_MINUTE, _minutes(5),
            purge="restart the services' Envoy proxies"),
    Profile("alb", "AWS Application Load Balancer", _hours(1), ZERO, _hours(1), 10, frozenset({"RS256"}),
            notes=("150 KB at most; how long it caches is not published, 1h is assumed",), purge=_NOTHING),
    Profile("aws-apigateway-rest", "AWS API Gateway, REST API", _hours(1), ZERO, _hours(1),
            notes=("the address of the JWKS is read once, when the authorizer is made: never move it",),
            purge="`aws apigateway flush-stage-authorizers-cache` for each stage"),
    Profile("aws-apigateway-http", "AWS API Gateway, HTTP API", _hours(2), ZERO, _hours(2), algorithms=_RS,
            purge=_NOTHING),
    Profile("aws-sts", "AWS STS and IAM OIDC providers", max_keys=100,
            notes=("fails when the JWKS takes longer than 5s, and under load when it may not be cached",),
            purge=_NOTHING),
    Profile("pyjwt", "PyJWT PyJWKClient 2", _minutes(5), ZERO, _minutes(5),
            notes=("follows no redirect; with `cache_keys=True` a removed key is kept until the process ends",)),
    Profile("authlib", "Authlib client", _ONE_MINUTE, _minutes(2), FOREVER),
    Profile("python-jose", "python-jose 3", _hours(1), ZERO, _hours(1), algorithms=_RS | _ES, single_kty=True,
            notes=("how long keys are kept is up to the application",)),
    Profile("jose-node", "jose for Node.js, createRemoteJWKSet", _minutes(10), ZERO, _minutes(10),
            notes=("follows no redirect; gives up after 5s",)),
    Profile("express-oauth2-jwt-bearer", "express-oauth2-jwt-bearer", _minutes(10), ZERO, _minutes(10)),
    Profile("jwks-rsa-node", "jwks-rsa for Node.js", _minutes(10), ZERO, _minutes(10),
            notes=("keeps 5 kids by default; follows no redirect",)),
    Profile("get-jwks", "get-jwks for Node.js", _minutes(2), ZERO, _minutes(2)),
    Profile("aws-jwt-verify", "aws-jwt-verify for Node.js", _ONE_MINUTE, ZERO, FOREVER,
            algorithms=_RS | _ES | {"EdDSA"}, notes=("gives up after 3s",)),
    Profile("auth0-java", "Auth0 jwks-rsa-java", _minutes(10), ZERO, _hours(10),
            notes=("keeps 5 kids by default; fetches for unknown kids at most once a minute after the first ten",), plain_json=True),
    Profile("nimbus", "Nimbus JOSE+JWT, JWKSourceBuilder", _minutes(5), _ONE_MINUTE, _minutes(5),
            notes=("gives up after 500ms, or at 50 KB; a malformed key rejects the whole JWKS",)),
    Profile("spring", "Spring Security NimbusJwtDecoder", _minutes(5), _ONE_MINUTE, _minutes(5),
            notes=("takes RS256 only unless configured otherwise",), plain_json=True),
    Profile("jose4j", "jose4j HttpsJwks", _hours(1), ZERO, _hours(1),
            notes=("follows max-age without an upper bound",)),
    Profile("go-oidc", "go-oidc 3: dex, oauth2-proxy", _ONE_MINUTE, ZERO, FOREVER, notes=(_GO_JOSE,)),
    Profile("kubernetes", "Kubernetes API server", _ONE_MINUTE, ZERO, FOREVER, notes=(_GO_JOSE,),
            purge="restart the API servers"),
    Profile("vault", "Vault, Consul and Nomad JWT auth", _ONE_MINUTE, _minutes(5), FOREVER, notes=(_GO_JOSE,),
            purge="restart it"),
    Profile("keyfunc", "MicahParks/keyfunc 2 and 3", _hours(1), ZERO, FOREVER, frozen=True,
            notes=("one key that it does not know freezes the set that it has",)),
    Profile("lestrrat-jwx", "lestrrat-go/jwx jwk.Cache", _hours(1), ZERO, FOREVER, frozen=True,
            notes=("never fetches for an unknown kid; one key of an unknown type rejects the whole JWKS",)),
    Profile("apisix", "APISIX and lua-resty-openidc", _ONE_MINUTE, ZERO, _hours(24), algorithms=_RS,
            purge="restart APISIX"),
    Profile("kong", "Kong openid-connect", _minutes(5), ZERO, FOREVER,
            purge="`DELETE /openid-connect/issuers` at its Admin API"),
    Profile("keycloak", "Keycloak as a broker", _ONE_MINUTE, ZERO, _hours(24),
            purge="`POST /admin/realms/REALM/clear-keys-cache`"),
    Profile("nginx-plus", "NGINX Plus auth_jwt", _hours(1), ZERO, _hours(1),
            notes=("caches as long as its proxy_cache says; 1h is assumed",),
            purge="empty its proxy_cache and reload it"),
    Profile("php-jwt", "firebase/php-jwt CachedKeySet", _ONE_MINUTE, ZERO, FOREVER, algorithms=_RS | _ES | {"EdDSA"},
            purge="empty the PSR-6 cache that it was given"),
    Profile("gcp-esp", "Google Cloud Endpoints ESP", _minutes(10), ZERO, _minutes(10),
            notes=("caches keys for 5m and verified tokens for another 5m",), purge="restart it"),
    Profile("apigee", "Apigee VerifyJWT", _minutes(5), ZERO, _minutes(5), purge=_NOTHING),
    Profile("azure-apim", "Azure API Management validate-jwt", _hours(1), ZERO, _hours(1), purge=_NOTHING),
    Profile("cloudflare-api-shield", "Cloudflare API Shield", _hours(1), ZERO, FOREVER, 16,
            frozen=True, notes=("sees what was pushed to it last: `verifier_cache` is at least the interval of that push",),
            purge="push the JWKS to it again"),
)  # fmt: skip

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({item.name: item for item in _TABLE})


def find_profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        ValueError: there is none; the text has the nearest name.
    """
    if (found := PROFILES.get(name)) is not None:
        return found
    from difflib import get_close_matches

    wanted = name.lower().replace("_", "-")
    # People write `jose` for `jose-node`; a part of a name is nearer than a similar one.
    close = [
        known for known in PROFILES if len(wanted) > 2 and (wanted in known or known in wanted)
    ]
    close = close or get_close_matches(wanted, PROFILES, n=1, cutoff=0.5)
    way_out = (
        f"did you mean {' or '.join(f'`{known}`' for known in close[:3])}?"
        if close
        else (f"known are {', '.join(sorted(PROFILES))}")
    )
    raise ValueError(f"there is no verifier profile {name!r}; {way_out}")


def apply_profiles(policy: RotationPolicy, names: Iterable[str]) -> RotationPolicy:
    """Return a policy that all of these verifiers can live with, as far as durations go.

    `verifier_cache` and `leeway` are raised, `max_keys` is lowered, nothing is ever made less safe.

    Raises:
        ValueError: there is no such profile.
    """
    for name in names:
        profile = find_profile(name)
        policy = replace(
            policy,
            verifier_cache=max(policy.verifier_cache, profile.blind),
            leeway=max(policy.leeway, profile.leeway),
            max_keys=min(policy.max_keys, profile.max_keys or policy.max_keys),
        )
    return policy


def changed_by(policy: RotationPolicy, names: Iterable[str]) -> dict[str, str]:
    """Return which values `apply_profiles` changes, each with the profile that decided it."""
    changed: dict[str, str] = {}
    for name in names:
        applied = apply_profiles(policy, [name])
        for field in ("verifier_cache", "leeway", "max_keys"):
            if getattr(applied, field) != getattr(policy, field):
                changed[field] = name
        policy = applied
    return changed


def objections(policy: RotationPolicy, names: Iterable[str]) -> tuple[str, ...]:
    """Return what no duration can mend: an algorithm or a mixed JWKS that a verifier does not take."""
    found = []
    for name in names:
        profile = find_profile(name)
        if policy.kind.symmetric:
            found.append(
                f"`{name}` reads a JWKS, and an HMAC key set has none; take the profile out"
            )
        elif policy.kind.algorithm not in profile.algorithms:
            known = ", ".join(sorted(profile.algorithms))
            found.append(f"`{name}` does not verify {policy.kind.algorithm}; it verifies {known}")
        if policy.allow_mixed_kty and profile.single_kty:
            found.append(
                f"`{name}` breaks on keys of two types in one JWKS; leave `allow_mixed_kty` out"
            )
    return tuple(found)


def advice(names: Iterable[str]) -> tuple[str, ...]:
    """Return what `check` says of these verifiers: what no duration covers, and other traps."""
    lines = []
    for name in names:
        profile = find_profile(name)
        if profile.frozen:
            lines.append(
                f"{profile.title} keeps old keys for as long as it cannot fetch; no duration covers that"
            )
        if profile.keeps > ZERO and not (profile.frozen and profile.keeps == FOREVER):
            lines.append(f"{profile.title} may accept a revoked key {_how_long(profile.keeps)}")
        lines += [f"{profile.title} {note}" for note in profile.notes]
    return tuple(lines)


def wants_plain_json(names: Iterable[str]) -> bool:
    """Return whether one of these verifiers asks for `application/json` and not for a JWK set."""
    return any(find_profile(name).plain_json for name in names)


def _how_long(keeps: timedelta) -> str:
    if keeps == FOREVER:
        return "until it meets a kid that it does not know"
    return f"for up to {format_duration(keeps)}"
