"""One bucket of S3, or of storage that speaks its protocol: objects read, and replaced on a condition.

Imported only when a bucket is opened.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from rotator.plugin import (
    Conflict,
    Object,
    Purged,
    Report,
    Role,
    Scope,
    StoreUnavailable,
    VersionToken,
)
from rotator_aws.client import Answer, ServiceClient
from rotator_aws.failures import Asked, Refused
from rotator_aws.object_failures import EXPECTED, NOT_THERE, meaning, unable
from rotator_aws.object_settings import ObjectSettings

_T = TypeVar("_T")
_ONLY: Final = "when_required"
_MOST: Final = 1 << 20  # bytes; no document is longer
_NOBODYS: Final = VersionToken('"rotator-asks-whether-this-is-heeded"')
"""An ETag that no object has."""


class Bucket:
    """Objects of one bucket, for every key set that publishes there. Opening it connects to nothing.

    Args:
        settings: the options.
    """

    def __init__(self, settings: ObjectSettings) -> None:
        self.settings = settings
        # When required: storage elsewhere knows no checksums but Content-MD5, which every write carries.
        sums = dict.fromkeys(
            ("request_checksum_calculation", "response_checksum_validation"), _ONLY
        )
        style = {"s3": {"addressing_style": "path" if settings.in_path else "virtual"}}
        self.client = ServiceClient(
            settings, "s3", what=f"the bucket {settings.bucket}", more={**sums, **style}
        )
        self._heeds = settings.endpoint_url is None  # AWS is known to
        self._lock = threading.Lock()

    def get(self, key: str, most: int) -> Object | None:
        """Return an object, None when the storage says that there is none; one GetObject.

        Raises:
            StoreUnavailable, StoreDenied, StoreMisconfigured: no answer is never None.
        """
        return self._step("object.read", lambda: self._get(key, most))

    def _get(self, key: str, most: int) -> Object | None:
        try:
            answer = self._call("GetObject", key, needs="ETag")
        except Refused as refused:
            if refused.code == NOT_THERE:
                return None
            raise self._meaning(refused, "GetObject", key) from None
        fields = answer.fields
        body, length = bytes(fields["Body"].read(most + 1)), int(fields.get("ContentLength") or 0)
        if len(body) < min(length, most + 1):
            raise StoreUnavailable(
                f"{self.client.place} broke off in the midst of {key}", hint="it is tried again"
            )
        return Object(
            body,
            str(fields.get("ContentType", "")),
            str(fields.get("CacheControl", "")),
            {str(name).lower(): str(value) for name, value in fields.get("Metadata", {}).items()},
            VersionToken(str(fields.get("ETag", ""))),
            answer.server_time,
        )

    def put(self, key: str, new: Object, *, replacing: VersionToken | None) -> None:
        """Write an object if the present one is still `replacing` (None: if there is none).

        Storage elsewhere is first asked, once by each process, whether it heeds conditions at all.

        Raises:
            Conflict: it is another one by now; nothing was written.
            StoreUnavailable, StoreDenied: whether it was written is for the next look.
            StoreMisconfigured: the storage does not heed conditions; see also `get`.
        """
        if self.settings.conditional and not self._heeds:
            self._step("object.ask", lambda: self._ask(key, new))
        tried: list[bool] = []

        def step() -> None:
            if tried and self._is_there(key, new, replacing):
                return
            tried.append(True)
            self._put(key, new, replacing)

        self._step("object.write", step)

    def _put(self, key: str, new: Object, replacing: VersionToken | None) -> None:
        try:
            self._call("PutObject", key, **self._fields(new), **self._condition(replacing))
        except Refused as refused:
            raise self._meaning(refused, "PutObject", key) from None

    def _ask(self, key: str, new: Object) -> None:
        """Write on a condition that cannot be met: whoever takes it would take any.

        What is sent is what is there already, so that nothing changes where it is taken; the new object only
        where there is none.
        """
        with self._lock:
            if self._heeds:
                return
            try:
                self._put(key, self._get(key, _MOST) or new, _NOBODYS)
            except Conflict:
                self._heeds = True
                return
        raise unable(self._asked("PutObject", key))

    def _is_there(self, key: str, new: Object, replacing: VersionToken | None) -> bool:
        """Tell whether a write was carried out whose answer was lost.

        Raises:
            Conflict: something else is there than before it.
        """
        found = self._get(key, len(new.body) + 1)
        if found is not None and (found.body, found.metadata) == (new.body, new.metadata):
            return True
        if (found.token if found is not None else None) != replacing:
            raise Conflict(
                f"{key} in {self.client.place} changed meanwhile", hint="look at it again"
            )
        return False

    def _fields(self, new: Object) -> dict[str, Any]:
        settings = self.settings
        digest = hashlib.md5(new.body, usedforsecurity=False).digest()
        fields: dict[str, Any] = {
            "Body": new.body,
            "ContentType": new.media_type,
            "CacheControl": new.cache_control,
            "Metadata": dict(new.metadata),
            # The one checksum that all storage knows, and that a bucket with Object Lock asks for.
            "ContentMD5": base64.b64encode(digest).decode("ascii"),
        }
        if settings.kms_key_id is not None:
            fields |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.kms_key_id}
        if settings.tags:
            fields["Tagging"] = urlencode(settings.tags)
        return fields

    def _condition(self, replacing: VersionToken | None) -> Mapping[str, str]:
        if not self.settings.conditional:
            return {}
        return {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": str(replacing)}

    def purge(self, key: str, reference: str) -> Purged | None:
        """Ask CloudFront to forget an object; None when no distribution is configured. Never raises."""
        from rotator_aws.invalidation import invalidate

        return invalidate(self.client, key, reference) if self.settings.cloudfront else None

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:
        """Report what may be done with the objects of some key sets, and advice; writes nothing.

        Args:
            scopes: the documents of each are keys.
        """
        from rotator_aws.object_inspection import inspect

        return inspect(self.client, scopes)

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:
        """Return the IAM policy of a role as JSON."""
        from rotator_aws.object_policy import policy

        return policy(self.settings, role, scopes)

    def close(self) -> None:
        """Let go of connections."""
        self.client.close()

    def _step(self, op: str, step: Callable[[], _T]) -> _T:
        return self.client.step(op, "", step)

    def _call(self, operation: str, key: str, **more: Any) -> Answer:
        owner = self.settings.account_id
        if owner is not None:
            more["ExpectedBucketOwner"] = owner
        bucket = self.settings.bucket
        return self.client.call(operation, key, expect=EXPECTED, Bucket=bucket, Key=key, **more)

    def _asked(self, operation: str, key: str) -> Asked:
        return Asked(self.client.place, f"s3:{operation}", key)

    def _meaning(self, refused: Refused, operation: str, key: str) -> Exception:
        asked = self._asked(operation, key)
        condition = operation == "PutObject" and self.settings.conditional
        return meaning(refused, asked, self.settings, condition=condition)
