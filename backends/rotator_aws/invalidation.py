"""CloudFront, told that its caches forget a JWKS with a revoked key.

Imported only when there is something to be told.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from rotator.plugin import Purged, RotatorError
from rotator_aws.client import ServiceClient
from rotator_aws.failures import Refused
from rotator_aws.object_settings import CloudFront, ObjectSettings

_AGAIN = "InvalidationBatchAlreadyExists"


def invalidate(client: ServiceClient[ObjectSettings], key: str, reference: str) -> Purged:
    """Create an invalidation. A repeated reference is the request of before, whoever made it.

    Args:
        client: of the bucket; its login is CloudFront's, too.
        key: the object's.
        reference: names the request.
    """
    cdn = client.settings.cloudfront
    if cdn is None:
        return Purged(False, "there is no CloudFront distribution")
    paths = cdn.paths or (f"/{quote(key)}",)
    # CloudFront takes 128 characters at most; bucket and key alone may have more.
    named = f"rotator-{hashlib.sha256(' '.join((reference, *paths)).encode()).hexdigest()}"
    try:
        return client.step("cdn.invalidate", "", lambda: _create(client, cdn, paths, named))
    except RotatorError as error:
        return Purged(
            False,
            f"{', '.join(paths)} at CloudFront {cdn.distribution} was not invalidated: {error.message}",
            hint=f"aws cloudfront create-invalidation --distribution-id {cdn.distribution} "
            f"--paths {' '.join(paths)}",
        )


def _create(
    client: ServiceClient[ObjectSettings], cdn: CloudFront, paths: tuple[str, ...], reference: str
) -> Purged:
    where = f"{', '.join(paths)} at CloudFront {cdn.distribution}"
    try:
        answer = client.call(
            "CreateInvalidation",
            f"{cdn.distribution} {paths[0]}",
            needs="Invalidation",
            expect=(_AGAIN,),
            service="cloudfront",
            DistributionId=cdn.distribution,
            InvalidationBatch={
                "Paths": {"Quantity": len(paths), "Items": list(paths)},
                "CallerReference": reference,
            },
        )
    except Refused:
        return Purged(True, f"{where}: invalidated before")
    made = answer.fields["Invalidation"]
    return Purged(True, f"{where}: invalidation {made.get('Id')} created, {made.get('Status')}")
