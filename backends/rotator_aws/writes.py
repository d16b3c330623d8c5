"""Writing secrets with compare-and-set.

AWS Secrets Manager has no conditional write. Its staging labels make one: a new version is put with a label
of ours, which nobody reads, and then AWSCURRENT is moved to it from the very version that it is to replace.
AWS refuses the move when AWSCURRENT is elsewhere by then. PutSecretValue always names our label: without one
it would move AWSCURRENT by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rotator.plugin import SCRATCH, ConfigError, Conflict, StoreUnavailable
from rotator_aws.client import Client
from rotator_aws.failures import Refused
from rotator_aws.values import CURRENT, GONE, REFUSAL, Value, Values

STAGED: Final = "ROTATOR_STAGED"
"""The one label of versions on their way: one per attempt would soon be more than the 20 that AWS allows."""

LIMIT: Final = 65_536
"""How many bytes a value may have."""

_EXISTS: Final = "ResourceExistsException"
_TOKEN_LENGTHS: Final = range(32, 65)


class Write:
    """One value on its way into one secret, over all attempts: what an earlier one did is recognised.

    Args:
        name: the secret.
        body: the value.
        token: the version id of the value, the same in every attempt, and never one that another value had.

    Raises:
        ConfigError: AWS takes no value of this size; nothing was sent.
    """

    def __init__(self, client: Client, values: Values, name: str, body: bytes, token: str) -> None:
        self._client = client
        self._values = values
        self._name = name
        self._token = token
        self._begun = False
        if name.startswith(f"{client.settings.prefix}/{SCRATCH}/"):
            client.written.add(name)
        self._carried = _carried(name, body)

    def create(self, *, about: str, replicas: Sequence[str] = ()) -> None:
        """Make the secret with its first value.

        A secret that has no value yet, made by an infrastructure tool, gets its first.

        Args:
            about: what everybody may read who may describe the secret.
            replicas: the regions to copy it to.

        Raises:
            Conflict: it has another value.
            Scheduled: the name is not free before the recovery window is over.
        """
        settings = self._client.settings
        more: dict[str, Any] = {"Description": about}
        if settings.kms_key_id is not None:
            more["KmsKeyId"] = settings.kms_key_id
        if settings.tags:
            more["Tags"] = [{"Key": key, "Value": text} for key, text in settings.tags.items()]
        if replicas:
            more["AddReplicaRegions"] = [replica(self._client, region) for region in replicas]
        try:
            self._client.call(
                "CreateSecret",
                self._name,
                needs="ARN",
                expect={_EXISTS, *REFUSAL},
                Name=self._name,
                ClientRequestToken=self._token,
                **more,
                **self._carried,
            )
        except Refused as refusal:
            if refusal.code != _EXISTS:
                raise self._values.meaning(self._name, refusal) from None
            self._fill()

    def _fill(self) -> None:
        """Give a secret its first value, unless it has one; AWS itself puts AWSCURRENT on the first version."""
        present = self._values.current(self._name)
        if present is None:
            self._put()
            present = self._values.current(self._name)
        if present is None:
            # Versions without AWSCURRENT among them: a move from nowhere is refused once it is somewhere.
            self._move(None)
        elif present.version != self._token:
            raise self._conflict()

    def replace(self, present: Value | None, replacing: str) -> None:
        """Replace the value that has the version id `replacing`.

        Args:
            present: what was read just now; losers find out before they write, for each version counts
                against a quota.

        Raises:
            Conflict: somebody else replaced it, or it is gone.
        """
        if present is not None and present.version == self._token:
            return
        lost = present is None or present.version != replacing
        if lost or len(replacing) not in _TOKEN_LENGTHS:
            if self._begun and self._values.was_current(self._name, self._token):
                return  # ours was the current one, and somebody has replaced it since
            raise self._conflict()
        self._begun = True
        self._put()
        self._move(replacing)

    def _put(self) -> None:
        try:
            answer = self._client.call(
                "PutSecretValue",
                self._name,
                needs="VersionId",
                expect={GONE, _EXISTS, *REFUSAL},
                SecretId=self._name,
                ClientRequestToken=self._token,
                VersionStages=[STAGED],
                **self._carried,
            )
        except Refused as refusal:
            if refusal.code in (GONE, _EXISTS):
                raise self._conflict() from None
            raise self._values.meaning(self._name, refusal) from None
        if answer.fields["VersionId"] != self._token:
            raise StoreUnavailable(
                f"{self._client.place} put another version of {self._name} than it was asked to",
                hint="see what answers at its address",
                lasting=True,
            )

    def _move(self, replacing: str | None) -> None:
        source = {} if replacing is None else {"RemoveFromVersionId": replacing}
        try:
            self._client.call(
                "UpdateSecretVersionStage",
                self._name,
                needs="ARN",
                expect={GONE, *REFUSAL},
                SecretId=self._name,
                VersionStage=CURRENT,
                MoveToVersionId=self._token,
                **source,
            )
        except Refused as refusal:
            present = self._values.current(self._name)
            if present is not None and present.version == self._token:
                return  # this very move was carried out before, and its answer lost
            if present is None or present.version != replacing:
                raise self._conflict() from None
            # Nobody moved it, and AWS does not either: what it read may be older than what it wrote.
            raise StoreUnavailable(
                f"{self._client.place} did not make the new version of {self._name} the current one "
                f"({refusal.code})",
                hint="it is tried again; see CloudTrail for the whole refusal",
            ) from None

    def _conflict(self) -> Conflict:
        return Conflict(
            f"somebody else wrote the secret {self._name} in between", hint="load it again"
        )


def replica(client: Client, region: str) -> dict[str, str]:
    """Return how a copy in a region is asked for."""
    key = client.settings.replica_kms_key_id
    return {"Region": region} if key is None else {"Region": region, "KmsKeyId": key}


def _carried(name: str, body: bytes) -> dict[str, Any]:
    """Return the field that carries a value: text where it is text, for most consumers read only that."""
    if not 0 < len(body) <= LIMIT:
        raise ConfigError(
            f"{len(body)} bytes do not fit into the secret {name}: AWS takes 1 to {LIMIT}",
            hint="lower max_keys, or choose a smaller key_size",
        )
    try:
        return {"SecretString": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"SecretBinary": body}
