"""The AWS store: rings, material and documents as secrets of AWS Secrets Manager.

Importing this package costs nothing but `rotator.plugin`; pydantic is loaded by `backend.settings()`, the
store and its SDK by `backend.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.plugin import Backend, BackendMissing, Store

if TYPE_CHECKING:
    from rotator_aws.settings import AwsSettings

__all__ = ["backend"]


def _settings() -> type[AwsSettings]:
    from rotator_aws.settings import AwsSettings

    return AwsSettings


def _open(settings: AwsSettings) -> Store:
    try:
        from rotator_aws.store import AwsStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0].startswith("rotator"):
            raise
        raise BackendMissing(
            "the AWS SDK is not installed", hint="pip install 'jwks-rotator[aws]'"
        ) from error

    return AwsStore(settings)


backend = Backend(
    name="aws",
    settings=_settings,
    open=_open,
    example="""\
# Credentials come from the default chain: environment, profile, web identity, container, instance.
region: eu-central-1
# profile: issuer
# assume_role: {role_arn: "arn:aws:iam::111122223333:role/rotator"}
# kms_key_id: alias/rotator
# replica_regions: [eu-west-1]   # documents only
""",
)
