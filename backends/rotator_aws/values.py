"""Secrets as AWS has them: their current values, what it says about them, and how they are deleted.

Every read names AWSCURRENT: policies may ask for that, and deny a read that leaves it out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.plugin import (
    ServerTime,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from rotator_aws.client import Answer, Client
from rotator_aws.failures import Refused

CURRENT: Final = "AWSCURRENT"
PREVIOUS: Final = "AWSPREVIOUS"
GONE: Final = "ResourceNotFoundException"
REFUSAL: Final = frozenset({"InvalidRequestException", "InvalidParameterException"})


@dataclass(frozen=True, slots=True)
class Value:
    """What a secret holds: the bytes, and the id of the version that AWSCURRENT is on."""

    body: bytes = field(repr=False)
    version: str
    server_time: ServerTime | None


class Scheduled(StoreUnavailable):
    """The secret is scheduled for deletion: nothing of it can be read or written until it is restored."""

    def __init__(self, place: str, name: str) -> None:
        super().__init__(
            f"the secret {name} of {place} is scheduled for deletion",
            hint=f"see who deleted it, and `aws secretsmanager restore-secret --secret-id {name}`",
            lasting=True,
        )


class Values:
    """The secrets of one store, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._right_account = client.settings.account_id is None

    def current(self, name: str) -> Value | None:
        """Return what a secret holds now; None when AWS answers that there is none, or none with a value.

        AWS says "not there" only to an identity that may read the name; others are denied.

        Raises:
            Scheduled: it is scheduled for deletion. That is never None.
            StoreUnavailable, StoreDenied: no answer.
        """
        try:
            answer = self._client.call(
                "GetSecretValue",
                name,
                needs="VersionId",
                expect={GONE, *REFUSAL},
                SecretId=name,
                VersionStage=CURRENT,
            )
        except Refused as refusal:
            if refusal.code != GONE:
                raise self.meaning(name, refusal) from None
            self._check_account(None)
            return None
        self._check_account(str(answer.fields.get("ARN", "")))
        return Value(_body(answer), str(answer.fields["VersionId"]), answer.server_time)

    def describe(self, name: str) -> Answer | None:
        """Return what AWS says about a secret without its value; None when it is not there."""
        try:
            return self._client.call(
                "DescribeSecret", name, needs="Name", expect={GONE}, SecretId=name
            )
        except Refused:
            return None

    def meaning(self, name: str, refusal: Refused) -> StoreError:
        """Return the error for a refusal whose code says too little: the secret's state says the rest."""
        about = self.describe(name)
        state = {} if about is None else about.fields
        if state.get("DeletedDate"):
            return Scheduled(self._client.place, name)
        primary = state.get("PrimaryRegion")
        if primary and primary != self._client.settings.region:
            return StoreDenied(
                f"the secret {name} of {self._client.place} is a replica of the one in {primary}",
                hint=f"configure the region {primary}: replicas are only read",
            )
        return StoreUnavailable(
            f"{self._client.place} refused what was asked of the secret {name} ({refusal.code})",
            hint="see CloudTrail for the whole refusal",
            lasting=True,
        )

    def was_current(self, name: str, token: str) -> bool:
        """Tell whether a version was the current one just before this one."""
        about = self.describe(name)
        versions = {} if about is None else about.fields.get("VersionIdsToStages") or {}
        return PREVIOUS in versions.get(token, ())

    def let_go(self, name: str, version: str) -> None:
        """Take the last label off a version that was replaced: AWS erases it then, in its own time.

        It has no call that erases one version. AWSPREVIOUS would keep an old key until the next rotation.
        """
        with contextlib.suppress(Refused):  # it has lost that label, or is gone
            self._client.call(
                "UpdateSecretVersionStage",
                name,
                expect={GONE, *REFUSAL},
                SecretId=name,
                VersionStage=PREVIOUS,
                RemoveFromVersionId=version,
            )

    def delete(self, name: str, days: int) -> None:
        """Delete a secret; harmless when it is gone.

        Args:
            days: how long it can be restored; 0 frees its name at once.
        """
        window: dict[str, Any] = {"RecoveryWindowInDays": days}
        if days == 0:
            window = {"ForceDeleteWithoutRecovery": True}
        for again in (True, False):
            try:
                self._client.call(
                    "DeleteSecret",
                    name,
                    needs="ARN",
                    expect={GONE, *REFUSAL},
                    SecretId=name,
                    **window,
                )
            except Refused as refusal:
                if refusal.code == GONE:
                    return
                if not (again and self._without_replicas(name)):
                    error = self.meaning(name, refusal)
                    if isinstance(error, Scheduled):
                        return
                    raise error from None
            else:
                return

    def _without_replicas(self, name: str) -> bool:
        """Take the copies of a secret away, which keep it from being deleted; False when it has none."""
        about = self.describe(name)
        status = [] if about is None else about.fields.get("ReplicationStatus") or []
        regions = [str(item["Region"]) for item in status]
        if regions:
            self._client.call(
                "RemoveRegionsFromReplication",
                name,
                needs="ARN",
                SecretId=name,
                RemoveReplicaRegions=regions,
            )
        return bool(regions)

    def _check_account(self, arn: str | None) -> None:
        """Refuse an answer of another account than the one that is meant: nothing would be there.

        Args:
            arn: of the secret that was read; None when there is none, and the identity must tell.
        """
        wanted = self._client.settings.account_id
        if wanted is None or (arn is None and self._right_account):
            return
        if arn is None:
            identity = self._client.call("GetCallerIdentity", "", needs="Account", service="sts")
            found = str(identity.fields["Account"])
        else:
            found = arn.split(":")[4] if arn.count(":") >= 6 else ""
        if found != wanted:
            raise StoreDenied(
                f"{self._client.place} answers for account {found}, not for account_id {wanted}",
                hint="see whose credentials these are: `aws sts get-caller-identity`",
            )
        self._right_account = True


def _body(answer: Answer) -> bytes:
    fields = answer.fields
    if "SecretBinary" in fields:
        return bytes(fields["SecretBinary"])
    return str(fields.get("SecretString", "")).encode("utf-8", "surrogatepass")
