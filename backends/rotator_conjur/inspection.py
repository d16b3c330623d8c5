"""What `rotator check` says of a Conjur store; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rotator.plugin import Finding, Report, Scope, StoreError, StoreUnavailable
from rotator_conjur.client import Conjur
from rotator_conjur.envelopes import GONE, parse
from rotator_conjur.history import MANY_VOID, History
from rotator_conjur.names import MATERIAL, Names
from rotator_conjur.policies import variables

if TYPE_CHECKING:
    from rotator_conjur.settings import ConjurSettings

_PRIVILEGES: Final = ("read", "execute", "update")
_NAMED: Final = 3  # variables that one finding names
_LOAD: Final = (
    "load what `rotator policy` prints for the role rotator, and grant its group to this identity"
)


def inspect(
    conjur: Conjur, names: Names, settings: ConjurSettings, scopes: Sequence[Scope]
) -> Report:
    """Report who we are, which privileges are there and which are missing, rings, and advice.

    Raises:
        StoreUnavailable: no answer; every other failure is a finding.
    """
    subject = f"Conjur at {settings.url}, account {settings.account}, branch {names.prefix}"
    try:
        login, witness = conjur.whoami()
    except StoreUnavailable:
        raise
    except StoreError as error:
        return Report(subject, (_fault(error), *_advice(settings)))
    findings = [Finding("ok", f"logs in as {login} by {settings.auth.method}")]
    for scope in scopes:
        findings += _scope(conjur, names, scope)
    findings += _advice(settings)
    return Report(subject, tuple(findings), witness)


def _scope(conjur: Conjur, names: Names, scope: Scope) -> Iterator[Finding]:
    needed = [f"{names.prefix}/{name}" for name in variables(names, scope)]
    needed += [names.verifier_keys(service) for service in scope.authenticators]
    missing = _missing(conjur, needed)
    if needed and not missing:
        yield Finding(
            "ok",
            f"key set {scope.key_set}: may read, execute and update its {len(needed)} variables",
        )
    for lacking, where in missing.items():
        named = ", ".join(where[:_NAMED]) + (
            f" and {len(where) - _NAMED} more" if len(where) > _NAMED else ""
        )
        text = (
            f"key set {scope.key_set}: not declared, or without any privilege for this identity: {named}"
            if lacking == _PRIVILEGES
            else f"key set {scope.key_set}: lacks {' and '.join(f'`{one}`' for one in lacking)} on {named}"
        )
        yield Finding("fault", text, hint=_LOAD, exit_code=77)
    if scope.ring:
        yield from _material(conjur, names, scope)
        yield _ring(conjur, names, scope)


def _missing(conjur: Conjur, needed: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the variables that lack something, by what they lack."""
    checks = [("variable", name, privilege) for name in needed for privilege in _PRIVILEGES]
    allowed = dict(zip(checks, conjur.may(checks), strict=True))
    found: dict[tuple[str, ...], list[str]] = {}
    for name in needed:
        lacking = tuple(one for one in _PRIVILEGES if not allowed["variable", name, one])
        if lacking:
            found.setdefault(lacking, []).append(name)
    return found


def _material(conjur: Conjur, names: Names, scope: Scope) -> Iterator[Finding]:
    if names.numbered:
        count = names.slot_count(scope.max_keys)
        if count < scope.max_keys + 2:
            yield Finding(
                "fault",
                f"key set {scope.key_set}: {count} slots for material are fewer than max_keys + 2",
                hint=f"set `slots` to at least {scope.max_keys + 2}, or leave it out, and load the policy again",
                exit_code=78,
            )
        return
    branch = f"{names.key_set(scope.key_set)}/{MATERIAL}"
    privileges = ("create", "update")
    allowed = conjur.may([("policy", branch, privilege) for privilege in privileges])
    lacking = [one for one, there in zip(privileges, allowed, strict=True) if not there]
    if lacking:
        yield Finding(
            "fault",
            f"key set {scope.key_set}: lacks {' and '.join(f'`{one}`' for one in lacking)} on the policy {branch}",
            hint=_LOAD,
            exit_code=77,
        )
    else:
        yield Finding("ok", f"key set {scope.key_set}: may declare and delete material in {branch}")


def _ring(conjur: Conjur, names: Names, scope: Scope) -> Finding:
    variable = names.ring(scope.key_set)
    try:
        look = History(conjur, variable, parse).look()
    except StoreUnavailable:
        raise
    except StoreError as error:
        return _fault(error)
    if look.latest == 0 or (look.head is not None and look.head.format == GONE):
        return Finding("ok", f"key set {scope.key_set}: no ring yet in {variable}")
    if look.head is None or look.head.key_set != scope.key_set:
        text = f"key set {scope.key_set}: none of the versions of {variable} is a ring of it"
        return Finding("fault", text, hint="see who wrote it", exit_code=65)
    if look.void >= MANY_VOID:
        return Finding(
            "advice",
            f"key set {scope.key_set}: the ring is version {look.head_version}, and {look.void} void ones stand above it",
            hint="let fewer replicas rotate it; the next save makes room",
        )
    return Finding(
        "ok", f"key set {scope.key_set}: the ring is version {look.head_version} of {variable}"
    )


def _advice(settings: ConjurSettings) -> Iterator[Finding]:
    if not settings.url.startswith("https:"):
        yield Finding(
            "advice",
            "the connection is not encrypted",
            hint="use https, and `ca_file` for a CA of your own",
        )
    if settings.auth.method in ("api-key", "ldap"):
        yield Finding(
            "advice",
            f"the secret of the login ({settings.auth.method}) stays the same until somebody changes it",
            hint="where the platform gives this workload an identity, log in by jwt, iam, gcp or azure",
        )
    yield Finding(
        "advice",
        "a destroyed key is written over, and backups of the server may keep it",
        hint="see what destroying means in docs/stores/conjur.md",
    )


def _fault(error: StoreError) -> Finding:
    return Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)
