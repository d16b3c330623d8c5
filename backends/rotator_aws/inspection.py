"""What `rotator check` says of an AWS store; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rotator.plugin import Finding, Report, RotatorError, Scope, ServerTime, StoreDenied
from rotator_aws.client import Client
from rotator_aws.names import MATERIAL, RING
from rotator_aws.policy import MATERIAL_ACTIONS, REPLICA_ACTIONS, RING_ACTIONS, partition
from rotator_aws.simulation import UNKNOWN, denied, identity, principal_of
from rotator_aws.values import Scheduled, Values

_SHOWN: Final = 20
"""How many key sets are looked at: each costs a few calls."""

_OWN_KEY: Final = Finding(
    "advice",
    "secrets are encrypted with aws/secretsmanager, which every identity of the account may use",
    hint="set kms_key_id to a KMS key of your own, whose policy says who may decrypt",
)


class Inspection:
    """One look at a store.

    Args:
        client: of the store.
        values: its secrets.
    """

    def __init__(self, client: Client, values: Values) -> None:
        self._client = client
        self._values = values
        self._settings = client.settings
        self._said: ServerTime | None = None
        self._principal = ""
        self._account = ""
        self._simulates = True

    def report(self, scopes: Sequence[Scope]) -> Report:
        """Report identity, permissions, rings, and advice; each key set is a handful of calls."""
        findings: list[Finding] = []
        try:
            findings.append(self._identity())
            for scope in scopes[:_SHOWN]:
                findings += self._of(scope)
        except RotatorError as error:
            findings.append(_fault(error))
        if len(scopes) > _SHOWN:
            findings.append(
                Finding("advice", f"{len(scopes) - _SHOWN} more key sets were not looked at")
            )
        return Report(self._client.place, (*findings, *self._advice()), self._said)

    def _identity(self) -> Finding:
        arn, self._account, self._said = identity(self._client)
        self._principal = principal_of(arn)
        return Finding("ok", f"is {arn}")

    def _of(self, scope: Scope) -> Iterator[Finding]:
        begin = f"{self._settings.prefix}/{scope.key_set}"
        copies = REPLICA_ACTIONS if self._settings.replica_regions else ()
        tags = ("TagResource",) if self._settings.tags else ()
        if scope.ring:
            yield from self._ring(f"{begin}/{RING}")
            yield from self._may(f"{begin}/{RING}", (*RING_ACTIONS, *tags))
            yield from self._may(f"{begin}/{MATERIAL}/a-new-key", (*MATERIAL_ACTIONS, *tags))
        for name in scope.documents:
            document = f"{self._settings.prefix}/{name}"
            yield from self._document(document)
            yield from self._may(document, (*RING_ACTIONS, *copies, *tags))

    def _ring(self, name: str) -> Iterator[Finding]:
        try:
            found = self._values.current(name)
        except Scheduled as error:
            yield _fault(error)
            return
        except StoreDenied as error:
            yield _fault(error)
            return
        if found is None:
            yield Finding("ok", f"may read {name}; there is none yet")
            return
        self._said = found.server_time or self._said
        yield Finding("ok", f"may read {name}, and it is there")
        yield from self._state(name)

    def _document(self, name: str) -> Iterator[Finding]:
        try:
            found = self._values.current(name)
        except RotatorError as error:
            yield _fault(error)
            return
        if found is None:
            yield Finding("ok", f"may read {name}; there is none yet")
            return
        yield Finding("ok", f"may read {name}, and it is there")
        yield from self._state(name)
        yield from self._copies(name)

    def _state(self, name: str) -> Iterator[Finding]:
        """Say what a secret's description tells of how it is kept."""
        try:
            about = self._values.describe(name)
        except StoreDenied as error:
            yield _fault(error)
            return
        state = {} if about is None else about.fields
        if state.get("RotationEnabled"):
            yield Finding(
                "fault",
                f"AWS rotates {name} by itself, and so overwrites what rotator keeps there",
                hint=f"aws secretsmanager cancel-rotate-secret --secret-id {name}",
                exit_code=78,
            )
        wanted, used = self._settings.kms_key_id, state.get("KmsKeyId")
        if wanted is not None and not _same_key(wanted, used):
            yield Finding(
                "advice",
                f"{name} is encrypted with {used or 'aws/secretsmanager'}, not with kms_key_id",
                hint=f"aws secretsmanager update-secret --secret-id {name} --kms-key-id {wanted}",
            )

    def _copies(self, name: str) -> Iterator[Finding]:
        about = self._values.describe(name)
        status: list[dict[str, Any]] = (
            [] if about is None else about.fields.get("ReplicationStatus") or []
        )
        for item in status:
            if item.get("Status") == "Failed":
                yield Finding(
                    "fault",
                    f"the copy of {name} in {item.get('Region')} failed",
                    hint="remove what has its name there, or allow the KMS key there; then "
                    f"`aws secretsmanager replicate-secret-to-regions --secret-id {name}`",
                    exit_code=75,
                )
        missing = set(self._settings.replica_regions) - {str(item.get("Region")) for item in status}
        if missing:
            yield Finding(
                "advice",
                f"{name} is not copied to {', '.join(sorted(missing))} yet",
                hint="the next write asks for it",
            )

    def _may(self, name: str, actions: Sequence[str]) -> Iterator[Finding]:
        """Say which actions IAM would deny, without trying any."""
        if not self._simulates:
            return
        region = self._settings.region
        arn = (
            f"arn:{partition(region)}:secretsmanager:{region}:{self._account}:secret:{name}-AbCdEf"
        )
        asked = [f"secretsmanager:{action}" for action in actions]
        try:
            refused = denied(self._client, self._principal, asked, arn)
        except RotatorError:
            self._simulates = False
            yield UNKNOWN
            return
        if refused:
            yield Finding(
                "fault",
                f"may not {', '.join(refused)} on {name}",
                hint="`rotator policy` prints what the role rotator takes",
                exit_code=77,
            )
        else:
            yield Finding("ok", f"may {', '.join(actions)} on {name}")

    def _advice(self) -> Iterator[Finding]:
        settings = self._settings
        if settings.kms_key_id is None:
            yield _OWN_KEY
        if settings.account_id is None:
            yield Finding(
                "advice",
                "any account's credentials are taken",
                hint=f"set account_id to {self._account}" if self._account else "set account_id",
            )
        if settings.recovery_window == 0:
            yield Finding(
                "advice",
                "recovery_window is 0d: whoever takes over this identity can destroy every key for good",
                hint="set recovery_window to 7d or more, and keep the printed policy",
            )


def _same_key(wanted: str, used: object) -> bool:
    """Tell whether a secret has the key that is configured; AWS may name one key in several ways."""
    if not isinstance(used, str):
        return False
    return "alias/" in wanted or wanted.rpartition("/")[2] == used.rpartition("/")[2]


def _fault(error: RotatorError) -> Finding:
    return Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)
