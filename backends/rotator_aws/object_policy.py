"""The least-privilege IAM policy of each role for objects in a bucket, as JSON; no I/O.

Where no account is configured, ARNs have `*` in its place. Buckets have no account in theirs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rotator.plugin import ConfigError, Role, Scope
from rotator_aws.object_settings import ObjectSettings
from rotator_aws.policy import partition


def policy(settings: ObjectSettings, role: Role, scopes: Sequence[Scope]) -> str:
    """Return the policy of a role.

    Args:
        scopes: the documents of each are keys; without any, it is for every object of the bucket.

    Raises:
        ConfigError: signers and HMAC verifiers have nothing in a bucket.
    """
    if role not in (Role.ROTATOR, Role.JWKS_READER):
        raise ConfigError(
            f"a {role.value} has nothing in the bucket {settings.bucket}: there is a JWKS and no key",
            hint="print it for the roles rotator and jwks-reader",
        )
    keys = [key for scope in scopes for key in scope.documents] or ["*"]
    begin = f"arn:{partition(settings.region)}:s3:::{settings.bucket}"
    objects = [f"{begin}/{key}" for key in keys]
    if role is Role.JWKS_READER:
        statements = [_allow("ReadJwks", ["s3:GetObject"], objects)]
        actions = ["kms:Decrypt"]
    else:
        write = [
            "s3:GetObject",
            "s3:PutObject",
            *(["s3:PutObjectTagging"] if settings.tags else []),
        ]
        # Who may not list is told "denied" of an object that is not there, and no answer is never "nothing".
        listed = _allow("TellWhatIsMissing", ["s3:ListBucket"], [begin])
        listed["Condition"] = {"StringLike": {"s3:prefix": keys}}
        statements = [_allow("Publish", write, objects), listed, *_cdn(settings)]
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
    statements += _key(settings, actions)
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"


def distribution_arn(settings: ObjectSettings) -> str:
    """Return the ARN of the distribution; empty where there is none."""
    cdn = settings.cloudfront
    if cdn is None:
        return ""
    account = settings.account_id or "*"
    return f"arn:{partition(settings.region)}:cloudfront::{account}:distribution/{cdn.distribution}"


def _cdn(settings: ObjectSettings) -> list[dict[str, Any]]:
    arn = distribution_arn(settings)
    return [_allow("Invalidate", ["cloudfront:CreateInvalidation"], [arn])] if arn else []


def _key(settings: ObjectSettings, actions: list[str]) -> list[dict[str, Any]]:
    key = settings.kms_key_id
    if key is None:
        return []
    begin = f"arn:{partition(settings.region)}:kms:{settings.region}:{settings.account_id or '*'}"
    endpoint = "amazonaws.com.cn" if partition(settings.region) == "aws-cn" else "amazonaws.com"
    condition: dict[str, Any] = {
        "StringEquals": {"kms:ViaService": f"s3.{settings.region}.{endpoint}"}
    }
    if key.startswith("arn:") and ":key/" in key:
        resource = key
    elif "alias/" in key:
        resource = f"{begin}:key/*"
        alias = f"alias/{key.partition('alias/')[2]}"
        condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": alias}
    else:
        resource = f"{begin}:key/{key}"
    return [{**_allow("Key", actions, [resource]), "Condition": condition}]


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
