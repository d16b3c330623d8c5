"""How a bucket of S3, or of storage that speaks its protocol, is configured."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rotator_aws.settings import Address, LoginSettings

_Path = Annotated[str, Field(max_length=1024, pattern=r"^/[A-Za-z0-9._~!$&'()+,;=:@%/*-]*$")]


class CloudFront(BaseModel):
    """The CDN before a bucket, which is told when a revoked key left the JWKS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: Annotated[str, Field(pattern=r"^[A-Z0-9]{8,32}$")] = Field(
        description="The id of the CloudFront distribution before the bucket: what is revoked is invalidated there."
    )
    paths: tuple[_Path, ...] = Field(
        default=(),
        max_length=15,
        description="The paths to invalidate. Default: `/` and the key of the object, which is right unless the "
        "distribution has an origin path or rewrites paths.",
    )


class ObjectSettings(LoginSettings):
    """The options of a publication in S3: one bucket, and who asks for it."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(
        description="The bucket. It must exist."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{2,40}$")] = Field(
        description="The region of the bucket; what storage elsewhere calls its own (`auto` for R2, `us-east-1` for MinIO)."
    )
    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = Field(
        default=None,
        description="The account that must own the bucket: S3 refuses everything with one of another owner.",
    )
    endpoint_url: Address | None = Field(
        default=None,
        description="The address of storage that speaks S3 (MinIO, Ceph, R2), or of a VPC endpoint.",
    )
    path_style: bool | None = Field(
        default=None,
        description="Whether the bucket is in the path of URLs and not in the name of the host. "
        "Default: yes with `endpoint_url`, no without.",
    )
    conditional: bool = Field(
        default=True,
        description="Whether writes are conditional (`If-Match`, `If-None-Match`). False for storage that cannot: "
        "then only one process may publish there.",
    )
    kms_key_id: str | None = Field(
        default=None,
        description="Encrypt the object with this KMS key (SSE-KMS). Anonymous readers cannot read it then.",
    )
    tags: dict[str, str] = Field(
        default_factory=dict,
        max_length=10,
        description="Tags of the object; they ask for `s3:PutObjectTagging`.",
    )
    cloudfront: CloudFront | None = Field(
        default=None, description="The CloudFront distribution before the bucket."
    )

    @model_validator(mode="after")
    def _dots(self) -> ObjectSettings:
        if ".." in self.bucket:
            raise ValueError("bucket cannot have two dots in a row")
        return self

    @property
    def place(self) -> str:
        """The bucket as messages and the ring name it."""
        if self.endpoint_url is None:
            return self.bucket
        return f"{self.endpoint_url.rstrip('/')}/{self.bucket}"

    @property
    def in_path(self) -> bool:
        """Whether the bucket is in the path of URLs."""
        return self.endpoint_url is not None if self.path_style is None else self.path_style
