"""What S3, and storage that speaks its protocol, refuses with, in the words of the walls; matched on codes.

Sources: the S3 API's list of error codes, and its guide on conditional writes.

Imported only when a bucket is opened.
"""

from __future__ import annotations

from typing import Any, Final

from rotator.plugin import (
    Conflict,
    RotatorError,
    StoreDenied,
    StoreMisconfigured,
    StoreUnavailable,
)
from rotator_aws.failures import DENIED, Asked, Refused
from rotator_aws.object_settings import ObjectSettings

NOT_THERE: Final = "NoSuchKey"
MISMATCH: Final = frozenset({"PreconditionFailed", "412"})
_RACED: Final = frozenset({"ConditionalRequestConflict", "409"})
_UNABLE: Final = frozenset({"NotImplemented", "501", "InvalidRequest", "InvalidArgument", "400"})
_ELSEWHERE: Final = frozenset(
    {
        *("PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "307"),
        *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    }
)
_FULL: Final = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_ARCHIVED: Final = "InvalidObjectState"

EXPECTED: Final = frozenset(
    {
        *DENIED, *MISMATCH, *_RACED, *_UNABLE, *_ELSEWHERE, *_FULL,
        *(NOT_THERE, "NoSuchBucket", "InvalidBucketName", "AllAccessDisabled", _ARCHIVED, "404", "403"),
    }
)  # fmt: skip
"""The codes that mean something else for an object than what `rotator_aws.failures` makes of them."""


def meaning(
    said: Refused, asked: Asked, settings: ObjectSettings, *, condition: bool
) -> RotatorError:
    """Return what an answer with one of the expected codes means.

    Args:
        condition: the request was a conditional write.
    """
    code, bucket = said.code, settings.bucket
    if condition and code in (*MISMATCH, *_RACED, NOT_THERE):
        return Conflict(f"{asked.resource} changed since it was looked at", hint="look at it again")
    if code in _ELSEWHERE:
        return _elsewhere(said, settings)
    if code == "NoSuchBucket":
        return StoreMisconfigured(
            f"there is no bucket {bucket} where it was asked for: {asked.place}",
            hint="make it, or mend `bucket`, `region`, `endpoint_url` or `path_style`",
        )
    if code in DENIED or code in ("403", "AllAccessDisabled"):
        return _denied(asked, settings)
    if code == _ARCHIVED:
        return StoreDenied(
            f"{asked.resource} is in an archive, and cannot be read",
            hint="restore it, and keep lifecycle rules away from this key",
        )
    if code in _FULL:
        return StoreUnavailable(
            f"{asked.place} has no room left ({code}, {asked.what})",
            hint="raise its quota",
            lasting=True,
        )
    if condition and code in _UNABLE:
        return unable(asked)
    return StoreUnavailable(
        f"{asked.place} refused {asked.what} ({code})",
        hint="is it S3 that answers there? see `endpoint_url` and `path_style`, and the storage's log",
        lasting=True,
    )


def unable(asked: Asked) -> StoreMisconfigured:
    """Return the error for storage that cannot write on a condition, or does not heed one."""
    return StoreMisconfigured(
        f"{asked.place} does not heed If-Match and If-None-Match, by which a document is kept from "
        "replacing a newer one",
        hint="use storage that does; or let only one process publish there, and say `conditional: false`",
    )


def _denied(asked: Asked, settings: ObjectSettings) -> StoreDenied:
    printed = "`rotator policy s3` prints what the role rotator takes"
    key = " and the use of the KMS key" if settings.kms_key_id else ""
    owner = f"; is the bucket of account {settings.account_id}?" if settings.account_id else ""
    if asked.action.endswith("GetObject"):
        # S3 does not say "not found" to whoever may not list: no answer is never "nothing".
        hint = (
            f"allow s3:GetObject{key} on it; an object that is not there yet shows as denied, too, "
            f"without s3:ListBucket on the bucket: {printed}{owner}"
        )
    else:
        hint = f"allow s3:PutObject{key} on it, in the bucket's policy as well: {printed}{owner}"
    return StoreDenied(f"{asked.place} does not allow {asked.what}", hint=hint)


def _elsewhere(said: Refused, settings: ObjectSettings) -> StoreMisconfigured:
    region = _region(said.answer)
    known = f"it is in {region}" if region else "it is in another one"
    return StoreMisconfigured(
        f"the bucket {settings.bucket} is not in the region {settings.region}: {known}",
        hint=f"set `region: {region}`" if region else "set `region` to that of the bucket",
    )


def _region(answer: Any) -> str:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region") or "")
