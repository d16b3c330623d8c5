"""What `rotator check` says of a bucket; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rotator.plugin import Finding, Report, RotatorError, Scope, ServerTime, StoreDenied
from rotator_aws.client import ServiceClient
from rotator_aws.failures import DENIED, Refused
from rotator_aws.object_policy import distribution_arn
from rotator_aws.object_settings import ObjectSettings
from rotator_aws.policy import partition
from rotator_aws.simulation import UNKNOWN, denied, identity, principal_of


def inspect(client: ServiceClient[ObjectSettings], scopes: Sequence[Scope]) -> Report:
    """Report identity, what it may do with the objects of some key sets, and advice.

    Args:
        scopes: the documents of each are keys.
    """
    settings = client.settings
    keys = [key for scope in scopes for key in scope.documents]
    findings: list[Finding] = []
    said: ServerTime | None = None
    try:
        for key in keys:
            findings += _listing(client, key)
        if settings.endpoint_url is None:
            arn, _, said = identity(client)
            findings.append(Finding("ok", f"is {arn}"))
            findings += _permissions(client, principal_of(arn), keys)
    except RotatorError as error:
        findings.append(Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code))
    return Report(client.place, (*findings, *_advice(settings)), said)


def _listing(client: ServiceClient[ObjectSettings], key: str) -> Iterator[Finding]:
    """Say whether this identity would be told that an object is not there."""
    bucket = client.settings.bucket
    try:
        client.call(
            "ListObjectsV2", bucket, expect=(*DENIED, "403"), Bucket=bucket, Prefix=key, MaxKeys=1
        )
    except Refused:
        yield Finding(
            "advice",
            f"may not s3:ListBucket: were {key} missing, S3 would say `denied`, which is no answer",
            hint="allow it for this prefix: `rotator policy s3` prints what the role rotator takes",
        )
        return
    yield Finding("ok", f"may s3:ListBucket for {key}")


def _permissions(
    client: ServiceClient[ObjectSettings], principal: str, keys: Sequence[str]
) -> Iterator[Finding]:
    settings = client.settings
    actions = ["s3:GetObject", "s3:PutObject", *(["s3:PutObjectTagging"] if settings.tags else [])]
    begin = f"arn:{partition(settings.region)}:s3:::{settings.bucket}"
    asked = [(actions, f"{begin}/{key}") for key in keys]
    if settings.cloudfront is not None:
        asked.append((["cloudfront:CreateInvalidation"], distribution_arn(settings)))
    for names, arn in asked:
        try:
            refused = denied(client, principal, names, arn)
        except RotatorError as error:
            if not isinstance(error, StoreDenied):
                message = f"what it may write could not be known: {error.message}"
                yield Finding("advice", message, hint="nothing but this check asks IAM")
                return
            yield replace(UNKNOWN, hint="allow iam:SimulatePrincipalPolicy on itself")
            return
        if refused:
            yield Finding(
                "fault",
                f"may not {', '.join(refused)} on {arn}, unless the bucket's own policy allows it",
                hint="`rotator policy s3` prints what the role rotator takes",
                exit_code=77,
            )
        else:
            yield Finding("ok", f"may {', '.join(names)} on {arn}")


def _advice(settings: ObjectSettings) -> Iterator[Finding]:
    if settings.kms_key_id is not None:
        yield Finding(
            "advice",
            "the object is encrypted with a KMS key: anonymous readers cannot read it",
            hint="let verifiers read it through a CDN that may use the key; or remove kms_key_id, "
            "for a JWKS is public",
        )
    if settings.endpoint_url is not None and settings.endpoint_url.startswith("http:"):
        yield Finding("advice", "the connection is not encrypted", hint="use https")
    if not settings.conditional:
        yield Finding(
            "advice",
            "writes are unconditional: of two processes, the slower one could put back an older JWKS "
            "until the next look",
            hint="let only one process publish there",
        )
