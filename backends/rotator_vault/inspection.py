"""What `rotator check` says of a Vault store; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from rotator.plugin import (
    Finding,
    Report,
    Role,
    RotatorError,
    Scope,
    StoreDenied,
    StoreError,
)
from rotator_vault.connection import Answer, Connection
from rotator_vault.kv import Engine, Found, Gone
from rotator_vault.meaning import denied
from rotator_vault.names import RING
from rotator_vault.policies import Right, rights

_AT_ONCE: Final = 200  # paths asked about in one call
_SHOWN: Final = 10
_FEW_VERSIONS: Final = 3
_SHORT: Final = (
    900  # seconds: below three times the default `resync`, a token dies between two looks
)
_STATES: Final = {
    429: ("ok", "a standby, which forwards to the active node", ""),
    472: ("fault", "a disaster-recovery secondary", "name the address of the primary"),
    473: (
        "advice",
        "a performance standby: it may read stale",
        "name the address of the active node",
    ),
    501: ("fault", "not initialised", "`vault operator init`"),
    503: ("fault", "sealed", "`vault operator unseal`"),
}


def inspect(connection: Connection, engine: Engine, prefix: str, scopes: Sequence[Scope]) -> Report:
    """Report the server's state, the identity and its capabilities, the engine, the rings, and advice."""
    try:
        health = connection.health()
    except RotatorError as error:
        return Report(f"Vault at {connection.address}", (_fault(error),))
    findings = list(_server(connection.address, health))
    findings += _namespace(engine, health)
    if not any(finding.level == "fault" for finding in findings):
        findings += _inside(engine, prefix, scopes)
    # What stops one look stops the others too: it is said once.
    once = tuple(dict.fromkeys(findings))
    return Report(f"Vault at {connection.address}", once, health.server_time)


def _inside(engine: Engine, prefix: str, scopes: Sequence[Scope]) -> Iterator[Finding]:
    """Look at what takes a login; a refusal of one thing does not keep the others from being told."""
    for section in (
        _identity(engine),
        _engine(engine),
        _capabilities(engine, prefix, scopes),
        _rings(engine, prefix, scopes),
        _audit(engine),
    ):
        try:
            yield from section
        except StoreDenied as error:
            yield _fault(error)
            if not engine.identity.is_logged_in:
                return
        except RotatorError as error:
            yield _fault(error)
            return


def _server(address: str, health: Answer) -> Iterator[Finding]:
    version = health.body.get("version")
    if health.status == 200 and isinstance(version, str):
        yield Finding("ok", f"version {version} at {address}, unsealed and active")
    elif health.status in _STATES:
        level, text, hint = _STATES[health.status]
        code = 69 if level == "fault" else 0
        yield Finding(level, f"Vault at {address} is {text}", hint=hint, exit_code=code)
    else:
        text = f"what answers at {address} does not say what it is ({health.status})"
        yield Finding("fault", text, hint="is the address Vault's?", exit_code=69)
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        yield Finding(
            "advice",
            "the connection is not encrypted: keys and tokens can be read on the way",
            hint="use https:// and, for a private authority, `ca_file`",
        )


def _namespace(engine: Engine, health: Answer) -> Iterator[Finding]:
    """Say that a namespace has no effect. Vault says of itself that it is no Enterprise; OpenBao, which has
    namespaces, says nothing of the kind."""
    if engine.namespace and health.body.get("enterprise") is False:
        yield Finding(
            "advice",
            f"this edition of Vault has no namespaces: `namespace: {engine.namespace}` has no effect",
            hint="remove it; another `prefix` keeps two installations apart",
        )


def _identity(engine: Engine) -> Iterator[Finding]:
    answer = engine.identity.send("GET", "auth/token/lookup-self")
    if answer.status != 200:
        yield Finding(
            "advice", "the token may not look itself up, so nobody knows how long it lasts"
        )
        return
    found = answer.data
    policies = sorted({*_texts(found.get("policies")), *_texts(found.get("identity_policies"))})
    seconds = found.get("ttl") or 0
    lasts = f"expires in {seconds} s" if seconds else "does not expire"
    renewable = ", renewable" if found.get("renewable") else ""
    yield Finding(
        "ok",
        f"logged in as {found.get('display_name') or 'nobody in particular'} "
        f"(policies {', '.join(policies) or 'none'}); the token {lasts}{renewable}",
    )
    if "root" in policies:
        yield Finding(
            "advice",
            "this is a root token: whoever has it may do everything",
            hint="log in with a policy of its own: `rotator policy` prints that of the role rotator",
        )
    if 0 < seconds < _SHORT:
        yield Finding(
            "advice",
            f"the token lasts {seconds} s only, and may die between two looks of a daemon",
            hint="let it last three times `resync` at least; a login method gets a new one then",
        )


def _engine(engine: Engine) -> Iterator[Finding]:
    engine.require_version_2()
    yield Finding("ok", f"KV version 2 at {engine.mount!r}")
    answer = engine.identity.send("GET", f"{engine.mount}/config")
    if answer.status != 200:
        return
    versions = answer.data.get("max_versions") or 0
    if 0 < versions < _FEW_VERSIONS:
        yield Finding(
            "advice",
            f"the engine keeps {versions} of a secret's versions, too few to go back to an earlier ring",
            hint=f"vault write {engine.mount}/config max_versions=10",
        )
    after = str(answer.data.get("delete_version_after") or "0s")
    if after != "0s":
        yield Finding(
            "fault",
            f"the engine deletes what was not written for {after}: rings and keys in use among it",
            hint=f"vault write {engine.mount}/config delete_version_after=0s; or use a mount of its own",
            exit_code=78,
        )


def _capabilities(engine: Engine, prefix: str, scopes: Sequence[Scope]) -> Iterator[Finding]:
    """Say which capabilities are missing; without scopes there is no path to ask about."""
    wanted = rights(Role.ROTATOR, scopes, engine.mount, prefix)
    asked = [right for right in wanted if "+" not in right.path]
    missing: list[tuple[Right, list[str]]] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        held = _held(engine, [right.example for right in part])
        if held is None:
            yield Finding(
                "advice",
                "the token may not ask for its own capabilities",
                hint='path "sys/capabilities-self" { capabilities = ["update"] } is in the default policy',
            )
            return
        missing += [(right, names) for right in part if (names := _lacking(right, held))]
    needed = [(right, names) for right, names in missing if right.needed]
    for right, names in needed[:_SHOWN]:
        problem = denied(engine.address, right.path, " ".join(right.capabilities))
        text = f"may not {', '.join(names)} {right.path} ({right.why})"
        yield Finding("fault", text, hint=problem.hint, exit_code=problem.exit_code)
    if len(needed) > _SHOWN:
        yield Finding("fault", f"the same of {len(needed) - _SHOWN} more paths", exit_code=77)
    reasons = dict.fromkeys(right.why for right, _ in missing if not right.needed)
    if reasons:
        text = f"may not do what only `check` needs: {', '.join(reasons)}"
        yield Finding(
            "advice", text, hint="`rotator policy` prints a whole one, of the role rotator"
        )
    if not missing and scopes:
        yield Finding("ok", f"has every capability that {_count(scopes)} here asks for")


def _held(engine: Engine, paths: Sequence[str]) -> Mapping[str, Any] | None:
    answer = engine.identity.send("POST", "sys/capabilities-self", {"paths": list(paths)})
    return answer.data if answer.status == 200 else None


def _lacking(right: Right, held: Mapping[str, Any]) -> list[str]:
    has = _texts(held.get(right.example))
    return [] if "root" in has else [name for name in right.capabilities if name not in has]


def _rings(engine: Engine, prefix: str, scopes: Sequence[Scope]) -> Iterator[Finding]:
    there = absent = unguarded = 0
    example = ""
    refused: list[Finding] = []
    config = engine.identity.send("GET", f"{engine.mount}/config")
    guarded = bool(config.data.get("cas_required"))
    for scope in scopes:
        if not scope.ring:
            continue
        path = f"{prefix}/{scope.key_set}/{RING}"
        try:
            found = engine.read(path)
        except StoreDenied as error:
            refused.append(_fault(error))
            continue
        except StoreError as error:
            yield _fault(error)
            return
        there += isinstance(found, Found)
        absent += found is None
        yield from _ring(engine, path, found)
        if found is not None and not (guarded or _is_guarded(engine, path)):
            unguarded, example = unguarded + 1, example or path
    yield from refused[:_SHOWN]
    if there or absent:
        yield Finding("ok", f"{_rings_of(there)} here, of {there + absent} key sets")
    if unguarded:
        yield Finding(
            "advice",
            f"{_rings_of(unguarded)} can be overwritten by hand without a comparison",
            hint=f"vault kv metadata put -mount={engine.mount} -cas-required=true {example}",
        )


def _ring(engine: Engine, path: str, found: Found | Gone | None) -> Iterator[Finding]:
    if isinstance(found, Found) and found.expires:
        yield Finding(
            "fault",
            f"the ring at {engine.mount}/{path} will be deleted at {found.expires}",
            hint=f"vault kv metadata put -mount={engine.mount} -delete-version-after=0s {path}; it holds from "
            "the next version on",
            exit_code=65,
        )
    if isinstance(found, Gone):
        way = (
            "kv rollback -version=N"
            if found.destroyed
            else f"kv undelete -versions={found.version}"
        )
        yield Finding(
            "fault",
            f"the ring at {engine.mount}/{path} was {'destroyed' if found.destroyed else 'deleted'}",
            hint=f"`vault {way} -mount={engine.mount} {path}`",
            exit_code=65,
        )


def _is_guarded(engine: Engine, path: str) -> bool:
    """Tell whether a write without `cas` is refused, as far as the identity may know."""
    answer = engine.identity.send("GET", f"{engine.mount}/metadata/{path}")
    return answer.status != 200 or bool(answer.data.get("cas_required"))


def _audit(engine: Engine) -> Iterator[Finding]:
    answer = engine.identity.send("GET", "sys/audit")
    if answer.status == 200 and not answer.data:
        yield Finding(
            "advice",
            "Vault keeps no audit log: nobody could tell who read a key",
            hint="vault audit enable file file_path=/var/log/vault/audit.log",
        )


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _count(scopes: Sequence[Scope]) -> str:
    return "the key set" if len(scopes) == 1 else f"each of the {len(scopes)} key sets"


def _rings_of(number: int) -> str:
    return "one ring" if number == 1 else f"{number or 'no'} rings"


def _fault(error: RotatorError) -> Finding:
    return Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)
