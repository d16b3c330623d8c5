"""The AWS store: rings, material and documents as secrets of AWS Secrets Manager.

Importing this package costs nothing but `rotator.plugin`; pydantic is loaded by `backend.settings()`, the
store and its SDK by `backend.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.plugin import Backend, BackendMissing, Objects, ObjectStore, Store

if TYPE_CHECKING:
    from rotator_aws.object_settings import ObjectSettings
    from rotator_aws.settings import AwsSettings

__all__ = ["backend"]


def _settings() -> type[AwsSettings]:
    from rotator_aws.settings import AwsSettings

    return AwsSettings


def _open(settings: AwsSettings) -> Store:
    try:
        from rotator_aws.store import AwsStore
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return AwsStore(settings)


def _object_settings() -> type[ObjectSettings]:
    from rotator_aws.object_settings import ObjectSettings

    return ObjectSettings


def _open_bucket(settings: ObjectSettings) -> ObjectStore:
    try:
        from rotator_aws.objects import Bucket
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return Bucket(settings)


def _missing(error: ModuleNotFoundError) -> Exception:
    """Return the error to raise for a module that is not there; one of ours is a fault of this program."""
    if (error.name or "").partition(".")[0].startswith("rotator"):
        return error
    return BackendMissing("the AWS SDK is not installed", hint="pip install 'jwks-rotator[aws]'")


def _removal(settings: AwsSettings, name: str) -> str:
    secret = f"--region {settings.region} --secret-id {settings.prefix}/{name}"
    regions = " ".join(settings.replica_regions)
    alone = f"aws secretsmanager remove-regions-from-replication {secret} --remove-replica-regions {regions} && "
    return (
        f"{alone if regions else ''}aws secretsmanager delete-secret {secret} "
        "--force-delete-without-recovery"
    )


backend = Backend(
    name="aws",
    settings=_settings,
    open=_open,
    objects=Objects(_object_settings, _open_bucket),
    removal=_removal,
    example="""\
# Credentials come from the default chain: environment, profile, web identity, container, instance.
region: eu-central-1
# profile: issuer
# assume_role: {role_arn: "arn:aws:iam::111122223333:role/rotator"}
# kms_key_id: alias/rotator
# replica_regions: [eu-west-1]   # documents only
""",
)
