"""How an AWS store is configured, and what every service of AWS needs of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from rotator.plugin import RemoteSettings

_DAYS: Final = re.compile(r"([0-9]{1,2})d")


def _days(value: Any) -> int:
    found = _DAYS.fullmatch(value) if isinstance(value, str) else None
    days = int(found[1]) if found else -1
    if days != 0 and not 7 <= days <= 30:
        raise ValueError("is 7d to 30d, or 0d to destroy at once")
    return days


Days = Annotated[
    int,
    BeforeValidator(_days),
    WithJsonSchema({"type": "string", "pattern": "^(0|[7-9]|[12][0-9]|30)d$"}),
]
"""Whole days of the recovery window that DeleteSecret takes: `7d` to `30d`, or `0d` for none."""

RegionName = Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$")]
SecretPath = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z0-9_+=.@-]+(/[A-Za-z0-9_+=.@-]+)*$")
]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/?$")]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$")]


class AssumeRole(BaseModel):
    """A role to take on: with the credentials found, or with a token of a web identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role_arn: RoleArn = Field(description="The role.")
    session_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_=,.@-]{2,64}$")] = Field(
        default="rotator", description="What CloudTrail calls this login."
    )
    external_id_file: Path | None = Field(
        default=None,
        description="A file with the external id that the role's trust policy asks for.",
    )
    external_id_env: str | None = Field(
        default=None, description="An environment variable with that external id."
    )
    web_identity_token_file: Path | None = Field(
        default=None,
        description="A file with an OIDC token, read at each login: the role is taken on by "
        "AssumeRoleWithWebIdentity, and no other credentials are needed.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> AssumeRole:
        external = [item for item in (self.external_id_file, self.external_id_env) if item]
        if len(external) > 1:
            raise ValueError("has external_id_file and external_id_env: keep one")
        if external and self.web_identity_token_file:
            raise ValueError("has an external id, which a web identity has no use for: remove it")
        return self


class LoginSettings(RemoteSettings):
    """What every service of AWS needs: where it is, and who asks."""

    region: RegionName
    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    profile: str | None = Field(
        default=None, description="A profile of ~/.aws; otherwise the default credential chain."
    )
    assume_role: AssumeRole | None = Field(default=None, description="A role to take on.")
    endpoint_url: Address | None = None
    sts_endpoint_url: Address | None = Field(
        default=None, description="Another address of STS, which logs in and tells the identity."
    )
    dual_stack: bool = Field(
        default=False, description="Use AWS's addresses that have IPv6 as well."
    )
    ca_file: Path | None = Field(
        default=None, description="A file of CA certificates; otherwise AWS_CA_BUNDLE or the SDK's."
    )


class AwsSettings(LoginSettings):
    """The options of an AWS store: AWS Secrets Manager in one region of one account."""

    region: RegionName = Field(
        description="The region, such as eu-central-1. Never taken from the environment: in another "
        "region there would be no ring."
    )
    prefix: SecretPath = Field(
        default="rotator", description="What the names of all secrets begin with: PREFIX/KEY_SET/…"
    )
    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = Field(
        default=None,
        description="The account that must be meant: with credentials of another one the store stays "
        "shut. Printed policies name it.",
    )
    endpoint_url: Address | None = Field(
        default=None,
        description="Another address of Secrets Manager: a VPC endpoint, a test server.",
    )
    kms_key_id: str | None = Field(
        default=None,
        description="The KMS key for new secrets: id, ARN or alias; otherwise aws/secretsmanager.",
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tags of new secrets. Everybody may read them."
    )
    recovery_window: Days = Field(
        default=7,
        description="How long the material of a destroyed key can be restored by somebody with "
        "RestoreSecret; 0d destroys it at once and for good.",
    )
    replica_regions: tuple[RegionName, ...] = Field(
        default=(), description="Regions to which AWS copies the documents, for signers there."
    )
    replica_kms_key_id: str | None = Field(
        default=None,
        description="The KMS key of the copies: an alias, or a multi-Region key that all have.",
    )

    @model_validator(mode="after")
    def _replicas_elsewhere(self) -> AwsSettings:
        if self.region in self.replica_regions:
            raise ValueError(f"has its own region {self.region} among replica_regions: remove it")
        return self
