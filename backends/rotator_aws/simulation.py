"""What IAM would deny an identity, asked without trying any of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rotator.plugin import Finding, ServerTime, StoreDenied
from rotator_aws.client import ServiceClient

UNKNOWN = Finding(
    "advice",
    "what this identity may write could not be known: it may not simulate its policy",
    hint="`rotator check --write` tries it on a scratch key set; or allow "
    "iam:SimulatePrincipalPolicy on itself",
)


def identity(client: ServiceClient[Any]) -> tuple[str, str, ServerTime | None]:
    """Return the ARN of this identity, its account, and the server's time.

    Raises:
        StoreDenied: it is of another account than is configured.
        StoreUnavailable: no answer.
    """
    answer = client.call("GetCallerIdentity", "", needs="Arn", service="sts")
    arn, account = str(answer.fields["Arn"]), str(answer.fields.get("Account", ""))
    wanted = client.settings.account_id
    if wanted not in (None, account):
        raise StoreDenied(
            f"the identity is {arn}, of another account than account_id {wanted}",
            hint="log in to that account, or mend account_id",
        )
    return arn, account, answer.server_time


def denied(
    client: ServiceClient[Any], principal: str, actions: Sequence[str], resource: str
) -> list[str]:
    """Return which actions IAM would deny; what the resource's own policy says does not count.

    Args:
        principal: the ARN as IAM knows it (`principal_of`).
        actions: with their service, `s3:GetObject`.

    Raises:
        RotatorError: no answer, or this identity may not simulate.
    """
    answer = client.call(
        "SimulatePrincipalPolicy",
        principal,
        needs="EvaluationResults",
        service="iam",
        PolicySourceArn=principal,
        ActionNames=list(actions),
        ResourceArns=[resource],
    )
    decided = {
        str(item.get("EvalActionName")): str(item.get("EvalDecision"))
        for item in answer.fields["EvaluationResults"]
    }
    return [action for action in actions if decided.get(action) != "allowed"]


def principal_of(arn: str) -> str:
    """Return the ARN that IAM knows an identity by: for a session of a role, the role."""
    if ":assumed-role/" not in arn:
        return arn
    begin, _, rest = arn.partition(":assumed-role/")
    return f"{begin.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"
