"""Derived documents, each a secret that holds the document's very bytes."""

from __future__ import annotations

from rotator.plugin import (
    ConfigError,
    Conflict,
    Document,
    RotatorError,
    VersionToken,
    get_logger,
)
from rotator_aws.client import Client
from rotator_aws.names import Stamp, new_token, split_document
from rotator_aws.values import Value, Values
from rotator_aws.writes import Write, replica


class AwsDocuments:
    """Derived documents, `KEY_SET/DOCUMENT` in the secret `PREFIX/KEY_SET/DOCUMENT`.

    Consumers read the secret and have the document. Its key set is in its name; its revision and its cache
    lifetimes are in the VersionId, so that they change with the value in one step or not at all.
    """

    def __init__(self, client: Client, values: Values) -> None:
        self._client = client
        self._values = values

    def read(self, name: str) -> Document | None:
        """Return a document; None when AWS answers that there is none to an identity that may read it.

        One GetSecretValue; one DescribeSecret more when somebody else wrote the value: who changed a
        document of ours by hand left our version among the labelled ones.

        Raises:
            ConfigError: the name has no key set in it, or AWS allows no such name.
            StoreUnavailable, StoreDenied: no answer.
        """
        key_set, _ = split_document(name)
        return self._client.step("document.read", key_set, lambda: self._present(name)[1])

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write a document if the present one is still `replacing` (None: if there is none).

        A document without cache lifetimes holds a private key: nothing keeps the one before it then.

        Raises:
            Conflict: it is another one, or one of the same key set with a higher revision.
            ConfigError: as for `read`; or it is longer than 65,536 bytes; or of another key set.
            StoreUnavailable, StoreDenied: whether it was written is for the next look.
        """
        key_set, _ = split_document(name)
        if document.key_set not in (None, key_set):
            raise ConfigError(
                f"the document {name!r} would be one of key set {document.key_set!r}",
                hint="in AWS the name tells the key set: name it KEY_SET/DOCUMENT",
            )
        revision = document.revision or 0
        stamp = Stamp(revision, document.max_age, document.stale, empty=not document.body)
        write = Write(
            self._client,
            self._values,
            self._secret(name),
            document.body or b" ",
            new_token() if document.revision is None else stamp.new_token(),
        )

        def step() -> None:
            if replacing is None:
                about = f"rotator: a document of key set {key_set}"
                write.create(about=about, replicas=self._client.settings.replica_regions)
                return
            value, present = self._present(name)
            if present is not None and (present.revision or 0) > revision:
                raise Conflict(
                    f"the document {name!r} has revision {present.revision}, above {revision}",
                    hint="load the ring again",
                )
            write.replace(value, replacing)
            if document.max_age is None and document.stale is None:
                self._values.let_go(self._secret(name), replacing)

        self._client.step("document.write", key_set, step)
        self._replicate(name)

    def delete(self, name: str) -> None:
        """Remove a document and its copies at once; harmless when it is not there.

        Nothing is lost, for it can be derived again, and its name must be free for the next.
        """
        key_set, _ = split_document(name)
        self._client.step(
            "document.delete", key_set, lambda: self._values.delete(self._secret(name), 0)
        )

    def _present(self, name: str) -> tuple[Value | None, Document | None]:
        secret = self._secret(name)
        value = self._values.current(secret)
        if value is None:
            return None, None
        token = VersionToken(value.version)
        stamp = Stamp.of(value.version)
        if stamp is not None:
            body = b"" if stamp.empty else value.body
            key_set = name.partition("/")[0]
            return value, Document(
                body, key_set, stamp.revision, token, max_age=stamp.max_age, stale=stamp.stale
            )
        before = self._written_before(secret)
        if before is None:
            return value, Document(value.body, None, None, token)
        return value, Document(value.body, name.partition("/")[0], before, token)

    def _written_before(self, secret: str) -> int | None:
        """Return the highest revision among the versions with a label, None when none of them is ours."""
        about = self._values.describe(secret)
        versions = {} if about is None else about.fields.get("VersionIdsToStages") or {}
        stamps = (Stamp.of(version) for version, stages in versions.items() if stages)
        return max((stamp.revision for stamp in stamps if stamp is not None), default=None)

    def _replicate(self, name: str) -> None:
        """Ask for the copies that are missing: a region may have been configured after the first write.

        The document is written, and its signers here are served: a copy that fails is told, not raised.
        """
        wanted = self._client.settings.replica_regions
        if not wanted:
            return
        secret = self._secret(name)
        try:
            about = self._values.describe(secret)
            status = [] if about is None else about.fields.get("ReplicationStatus") or []
            missing = set(wanted) - {str(item.get("Region")) for item in status}
            if about is not None and missing:
                self._client.call(
                    "ReplicateSecretToRegions",
                    secret,
                    needs="ARN",
                    SecretId=secret,
                    AddReplicaRegions=[replica(self._client, region) for region in sorted(missing)],
                )
        except RotatorError as error:
            get_logger("aws").warning(
                "store.replica_failed", document=name, error=error.message, hint=error.hint
            )

    def _secret(self, name: str) -> str:
        return f"{self._client.settings.prefix}/{name}"
