"""The least-privilege IAM policy of each role, as JSON; no I/O.

Where no account is configured, ARNs have `*` in its place: an identity's policy reaches no other account by
itself. The name of a secret is followed in its ARN by a hyphen and six characters that AWS chose.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rotator.plugin import NOTIFY, SCRATCH, Role, Scope
from rotator_aws.names import MATERIAL, RING
from rotator_aws.settings import AwsSettings

_DOCUMENTS: Final = {
    Role.SIGNER: "signing",
    Role.VERIFIER: "verification",
    Role.JWKS_READER: "jwks",
}
RING_ACTIONS: Final = (
    *("CreateSecret", "DescribeSecret", "GetSecretValue"),
    *("PutSecretValue", "UpdateSecretVersionStage"),
)
MATERIAL_ACTIONS: Final = ("CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue")
REPLICA_ACTIONS: Final = ("ReplicateSecretToRegions",)
_NEVER: Final = (
    *("DeleteResourcePolicy", "PutResourcePolicy", "RestoreSecret"),
    *("RotateSecret", "UpdateSecret"),
)


def policy(settings: AwsSettings, role: Role, scopes: Sequence[Scope]) -> str:
    """Return the policy of a role.

    Args:
        settings: of the store.
        role: whose policy.
        scopes: the key sets; none stands for every key set of this store.
    """
    arns = _Arns(settings)
    if role is Role.ROTATOR:
        statements = _rotator(settings, arns, scopes)
    else:
        statements = _reader(settings, arns, _readable(role, scopes))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"


class _Arns:
    """ARNs of the secrets of a store."""

    def __init__(self, settings: AwsSettings) -> None:
        self.partition = partition(settings.region)
        self.account = settings.account_id or "*"
        self._begin = f"arn:{self.partition}:secretsmanager:{settings.region}:{self.account}:secret"
        self._prefix = settings.prefix

    def of(self, *names: str) -> list[str]:
        """Return the ARNs of secrets by their names below the prefix."""
        return [f"{self._begin}:{self._prefix}/{name}-??????" for name in names]


def partition(region: str) -> str:
    """Return the part of AWS that a region belongs to, as ARNs name it."""
    begins = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b"}
    parts = region.split("-")
    return begins.get(parts[0]) or begins.get("-".join(parts[:2])) or "aws"


def _readable(role: Role, scopes: Sequence[Scope]) -> list[str]:
    """Return the names of the documents that a role reads; those of every key set when none is named."""
    kind = _DOCUMENTS[role]
    if not scopes:
        return [f"*/{kind}"]
    named = [name for scope in scopes for name in scope.documents_of(kind)]
    return named or [f"{scope.key_set}/{kind}" for scope in scopes]


def _reader(settings: AwsSettings, arns: _Arns, names: Sequence[str]) -> list[dict[str, Any]]:
    resources = arns.of(*names)
    read = _allow("ReadDocument", ["GetSecretValue"], resources)
    # An older version is an older key: only what is current may be read, and a read has to say so.
    read["Condition"] = {"StringEquals": {"secretsmanager:VersionStage": "AWSCURRENT"}}
    return [read, *_kms(settings, arns, ["kms:Decrypt"])]


def _rotator(settings: AwsSettings, arns: _Arns, scopes: Sequence[Scope]) -> list[dict[str, Any]]:
    key_sets = [scope.key_set for scope in scopes if scope.ring] if scopes else ["*"]
    documents = [name for scope in scopes for name in scope.documents]
    if not scopes:
        documents = [f"*/{kind}" for kind in (*_DOCUMENTS.values(), "verification.*", NOTIFY)]
    more = ["TagResource"] if settings.tags else []
    copies = list(REPLICA_ACTIONS) if settings.replica_regions else []
    statements = []
    rings = arns.of(*(f"{name}/{RING}" for name in key_sets))
    if key_sets:
        material = arns.of(*(f"{name}/{MATERIAL}/*" for name in key_sets))
        statements += [
            _allow("Ring", [*RING_ACTIONS, *more], rings),
            _allow("Material", [*MATERIAL_ACTIONS, *more], material),
        ]
    if documents:
        statements.append(_allow("Documents", [*RING_ACTIONS, *copies, *more], arns.of(*documents)))
    scratch = sorted({*RING_ACTIONS, *MATERIAL_ACTIONS, *copies, *more})
    if copies:
        scratch.append("RemoveRegionsFromReplication")
    statements.append(_allow("CheckWrite", scratch, arns.of(f"{SCRATCH}/*")))
    if key_sets:
        statements += _never(settings, arns)
    return [*statements, *_kms(settings, arns, ["kms:Decrypt", "kms:GenerateDataKey"])]


def _never(settings: AwsSettings, arns: _Arns) -> list[dict[str, Any]]:
    """Return what stays denied whatever other policies allow: rings live, and nobody else gets at them.

    Where the scratch key set of `rotator check --write` is excepted, it is by what the request names:
    `*` in a resource stands for it, too.
    """
    begin = f"{settings.prefix}/{SCRATCH}/*"
    scratch = {"StringNotLike": {"secretsmanager:SecretId": [begin, f"arn:*:secret:{begin}"]}}
    force = {"Bool": {"secretsmanager:ForceDeleteWithoutRecovery": "true"}}
    denied = [
        _deny("KeepRing", ["DeleteSecret"], arns.of(f"*/{RING}"), scratch),
        _deny("KeepShut", _NEVER, arns.of("*")),
    ]
    if settings.recovery_window:
        material = arns.of(f"*/{MATERIAL}/*")
        denied.append(_deny("KeepRecoveryWindow", ["DeleteSecret"], material, {**scratch, **force}))
    return denied


def _deny(
    sid: str, actions: Sequence[str], resources: list[str], condition: object = None
) -> dict[str, Any]:
    denied = {**_allow(sid, actions, resources), "Effect": "Deny"}
    return denied if condition is None else {**denied, "Condition": condition}


def _allow(sid: str, actions: Sequence[str], resources: list[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"secretsmanager:{action}" for action in sorted(actions)],
        "Resource": resources,
    }


def _kms(settings: AwsSettings, arns: _Arns, actions: list[str]) -> list[dict[str, Any]]:
    """Return what a key of one's own takes; the key aws/secretsmanager needs no permission."""
    key = settings.kms_key_id
    if key is None:
        return []
    begin = f"arn:{arns.partition}:kms:{settings.region}:{arns.account}"
    endpoint = "amazonaws.com.cn" if arns.partition == "aws-cn" else "amazonaws.com"
    condition: dict[str, Any] = {
        "StringEquals": {"kms:ViaService": f"secretsmanager.{settings.region}.{endpoint}"},
        "StringLike": {"kms:EncryptionContext:SecretARN": arns.of("*")[0]},
    }
    if key.startswith("arn:") and ":key/" in key:
        resource = key
    elif "alias/" in key:
        resource = f"{begin}:key/*"
        condition["ForAnyValue:StringEquals"] = {
            "kms:ResourceAliases": f"alias/{key.partition('alias/')[2]}"
        }
    else:
        resource = f"{begin}:key/{key}"
    return [
        {
            "Sid": "Key",
            "Effect": "Allow",
            "Action": actions,
            "Resource": [resource],
            "Condition": condition,
        }
    ]
