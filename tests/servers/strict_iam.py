"""What IAM decides in the tests: moto's policies held against the resources of Secrets Manager.

moto itself knows no resources of that service, no `?` in a pattern and no SimulatePrincipalPolicy. A denial of
moto's is XML, in the manner of other services.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMPolicy, IAMPolicyStatement, PermissionResult
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.responses import SecretsManagerResponse

ACCOUNT: Final = "123456789012"
DENIALS: Final = {
    "AccessDenied": "AccessDeniedException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}
"""By a code of moto's: what Secrets Manager calls it."""

Environ = dict[str, Any]


class Refusal(Exception):
    """AWS answers 400 with a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def region_of(environ: Environ) -> str:
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return scope[1] if scope else "us-east-1"


def _resource_of(response: Any) -> str:
    """Return the ARN that a call is about; moto's own check knows no resources of Secrets Manager."""
    name = str(response._get_param("SecretId") or response._get_param("Name") or "")
    return _arn(response.region, name)


def _arn(region: str, name: str) -> str:
    if not name:
        return "*"
    if name.startswith("arn:"):
        return name
    secrets = secretsmanager_backends[ACCOUNT][region].secrets
    if name in secrets:
        return str(secrets[name].arn)
    return f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-AbCdEf"


def _enforced() -> bool:
    return ActionAuthenticatorMixin.request_count >= settings.INITIAL_NO_AUTH_ACTION_COUNT


def check_permission(environ: Environ, operation: str, name: str) -> None:
    """Refuse before anything else is looked at, as AWS does; moto checks once more, and signatures too."""
    caller = _caller(environ)
    if not _enforced() or not caller:
        return
    action = f"secretsmanager:{operation}"
    if _decide(caller, action, _arn(region_of(environ), name)) != "allowed":
        raise Refusal("AccessDeniedException", f"{action} is not allowed")


def _matches(pattern: str, text: str) -> re.Match[str] | None:
    """Match as IAM does: `*` is any text and `?` one character."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(char, re.escape(char)) for char in pattern), text)


def _decide(user: str, action: str, resource: str) -> str:
    """Return what IAM decides for a user, in the words of SimulatePrincipalPolicy."""
    backend = iam_backends[ACCOUNT]["aws"]
    if all(known.name != user for known in backend.users.values()):
        raise Refusal("NoSuchEntity", "no such user")
    decision = "implicitDeny"
    for name in backend.list_user_policies(user):
        result = IAMPolicy(backend.get_user_policy(user, name)).is_action_permitted(
            action, resource
        )
        if result == PermissionResult.DENIED:
            return "explicitDeny"
        if result == PermissionResult.PERMITTED:
            decision = "allowed"
    return decision


def simulated(environ: Environ, form: str) -> bytes:
    """Answer SimulatePrincipalPolicy for one resource; the body of the answer."""
    asked = parse_qs(form)
    user = asked["PolicySourceArn"][0].rpartition("/")[2]
    caller = _caller(environ)
    if _enforced() and _decide(caller, "iam:SimulatePrincipalPolicy", "*") != "allowed":
        raise Refusal("AccessDenied", "not allowed to simulate")
    actions = [values[0] for key, values in asked.items() if key.startswith("ActionNames.")]
    (resource,) = (values[0] for key, values in asked.items() if key.startswith("ResourceArns."))
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{_decide(user, action, resource)}</EvalDecision></member>"
        for action in actions
    )
    namespace = 'xmlns="https://iam.amazonaws.com/doc/2010-05-08/"'
    return (
        f"<SimulatePrincipalPolicyResponse {namespace}><SimulatePrincipalPolicyResult>"
        f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
        "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    ).encode()


def _caller(environ: Environ) -> str:
    found = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    key = found[1] if found else ""
    for user in iam_backends[ACCOUNT]["aws"].users.values():
        if any(access_key.access_key_id == key for access_key in user.access_keys):
            return str(user.name)
    return ""


def teach_moto() -> None:
    """Let moto's own check see resources and all of a pattern."""
    for where, name, what in (
        (SecretsManagerResponse, "_determine_resource", _resource_of),  # what moto looks for
        (IAMPolicyStatement, "_match", staticmethod(_matches)),
    ):
        setattr(where, name, what)
