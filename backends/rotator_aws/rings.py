"""The ring of a key set, with compare-and-set."""

from __future__ import annotations

from rotator.plugin import Stored, Version
from rotator_aws.client import Client
from rotator_aws.names import RING, ring_token
from rotator_aws.values import Values
from rotator_aws.writes import Write


class AwsRings:
    """The ring of one key set: the secret `PREFIX/KEY_SET/ring`; its version is the VersionId of AWS."""

    def __init__(self, client: Client, values: Values, key_set: str) -> None:
        self._client = client
        self._values = values
        self._key_set = key_set
        self._name = f"{client.settings.prefix}/{key_set}/{RING}"

    @property
    def place(self) -> str:
        """The ring's secret, for messages."""
        return f"{self._name} in {self._client.settings.region}"

    def load(self) -> Stored | None:
        """Return the ring, or None when AWS answers that there is none to an identity that may read it.

        One GetSecretValue.

        Raises:
            StoreUnavailable: no answer; or the secret is scheduled for deletion, and can be restored.
            StoreDenied: the identity may not read it, or is none.
        """
        found = self._client.step(
            "ring.load", self._key_set, lambda: self._values.current(self._name)
        )
        if found is None:
            return None
        return Stored(found.body, Version(found.version), found.server_time)

    def save(self, document: bytes, *, replacing: Version | None) -> Version:
        """Replace the ring if it is still `replacing` (None: if there is none).

        Trying again after a lost answer recognises its own success; only when two others have saved
        since is it told as a Conflict though it was saved, and loading again shows that the work is done.

        Raises:
            Conflict: somebody else saved in between; nothing was written.
            ConfigError: it is longer than the 65,536 bytes that AWS takes; nothing was sent.
            StoreUnavailable, StoreDenied: as for `load`; whether it was saved, loading again shows.
        """
        token = ring_token(document, replacing)
        write = Write(self._client, self._values, self._name, document, token)
        about = f"rotator: the ring of key set {self._key_set}; no private key is in it"

        def step() -> None:
            if replacing is None:
                write.create(about=about)
            else:
                write.replace(self._values.current(self._name), replacing)

        self._client.step("ring.save", self._key_set, step)
        return token
