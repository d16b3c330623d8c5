"""The AWS store: AWS Secrets Manager in one region of one account.

Imported only when a store is opened.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, Final

from rotator.plugin import SCRATCH, ConfigError, Report, Role, Scope, Secret, StoreDenied
from rotator_aws.client import Client
from rotator_aws.documents import AwsDocuments
from rotator_aws.material import AwsMaterial
from rotator_aws.names import RING, key_set_name
from rotator_aws.rings import AwsRings
from rotator_aws.settings import AwsSettings
from rotator_aws.values import Values

_ADDRESS: Final = re.compile(r"[A-Za-z0-9/_+=.@!:-]{1,2048}")


class AwsStore:
    """All key sets of one prefix in one region. Opening it connects to nothing.

    Args:
        settings: the options.
    """

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._client = Client(settings)
        self._values = Values(self._client)

    def rings(self, key_set: str) -> AwsRings:
        """Return the ring store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be a part of a secret's name here.
        """
        return AwsRings(self._client, self._values, key_set_name(key_set))

    def material(self, key_set: str) -> AwsMaterial:
        """Return the material store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be a part of a secret's name here.
        """
        return AwsMaterial(self._client, self._values, key_set_name(key_set))

    def documents(self) -> AwsDocuments:
        """Return where derived documents can be kept; no I/O."""
        return AwsDocuments(self._client, self._values)

    def fetch(self, address: str) -> Secret | None:
        """Return any secret by its name or ARN, in its current version; None when AWS answers "not there".

        Raises:
            ConfigError: no name and no ARN, or an ARN of another region.
            StoreUnavailable, StoreDenied: no answer.
        """
        region = address.split(":")[3] if address.count(":") >= 6 else self.settings.region
        if _ADDRESS.fullmatch(address) is None or region != self.settings.region:
            raise ConfigError(
                f"{address!r} is no secret in {self.settings.region}",
                hint="give the name of a secret, or its ARN, in the region of this store",
            )
        found = self._client.step("fetch", "", lambda: self._values.current(address))
        return None if found is None else Secret(found.body)

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:
        """Report identity, permissions, rings, the server's clock and hardening advice; writes nothing."""
        from rotator_aws.inspection import Inspection

        return Inspection(self._client, self._values).report(scopes)

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:
        """Return the IAM policy of a role as JSON."""
        from rotator_aws.policy import policy

        return policy(self.settings, role, scopes)

    def erase_scratch(self) -> None:
        """Remove every secret of the key set that `rotator check --write` writes, at once.

        Those that this process wrote, for lists of AWS lag behind; and what an earlier process left, if
        this identity may list secrets.
        """
        begin = f"{self.settings.prefix}/{SCRATCH}/"

        def step() -> None:
            names = {name for name in self._client.written if name.startswith(begin)}
            with contextlib.suppress(StoreDenied):
                names.update(self._names(begin))
            for name in sorted({*names, f"{begin}{RING}"}):
                self._values.delete(name, 0)
                self._client.written.discard(name)

        self._client.step("scratch.erase", SCRATCH, step)

    def _names(self, begin: str) -> list[str]:
        """Return the names of all secrets that begin so, those that are scheduled for deletion included."""
        names: list[str] = []
        more: dict[str, Any] = {}
        while True:
            answer = self._client.call(
                "ListSecrets",
                begin,
                needs="SecretList",
                IncludePlannedDeletion=True,
                Filters=[{"Key": "name", "Values": [begin]}],
                **more,
            )
            names += [str(item["Name"]) for item in answer.fields["SecretList"]]
            token = answer.fields.get("NextToken")
            if not token:
                return [name for name in names if name.startswith(begin)]
            more = {"NextToken": token}

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()
