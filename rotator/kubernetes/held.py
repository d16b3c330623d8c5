"""The keys of ours in one Secret or ConfigMap, whoever made the object and whatever else is in it.

Read whole; changed by a merge patch that names our keys, our annotations and the `resourceVersion` that was read
(409 when it is another one by now): labels, other keys and other managers' fields stay what they are.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.errors import Conflict, StoreDenied
from rotator.kubernetes.cluster import Cluster
from rotator.kubernetes.marks import MANAGED, PENDING, PREFIX, Marks, digest_of, marks_of
from rotator.stores import ServerTime, VersionToken

SECRETS: Final = "secrets"
CONFIG_MAPS: Final = "configmaps"


@dataclass(frozen=True, slots=True)
class Held:
    """What one object holds of ours.

    Attributes:
        parts: our keys that are there, decoded.
        marks: what our annotations say; None when there are none.
        pending: the kid for which workloads wait to be restarted.
        token: names marks and parts; it stays the same when somebody changes anything else.
        resource_version: names the whole object, for the patch.
    """

    parts: Mapping[str, bytes] = field(repr=False)
    marks: Marks | None
    pending: str
    token: VersionToken
    resource_version: str
    immutable: bool
    server_time: ServerTime | None

    @property
    def empty(self) -> bool:
        """True for an object that was made beforehand and holds nothing of ours: that is "nothing"."""
        return not self.parts and self.marks is None

    @property
    def whole(self) -> bool:
        """True when our keys are those that our annotations name."""
        return self.marks is not None and digest_of(self.parts) == self.marks.sha256


@dataclass(frozen=True, slots=True)
class Place:
    """Where the keys of ours are: an object, and the names of its keys that are ours.

    Attributes:
        cluster: opens the API server, or returns it once it is open.
        namespace: None is that of the identity.
        labels: those that an object gets when it is made.
    """

    cluster: Callable[[], Cluster]
    resource: str
    namespace: str | None
    name: str
    ours: frozenset[str]
    labels: Mapping[str, str]

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.resource}/{self.name}{where}"

    def read(self) -> Held | None:
        """Return what is there, None when there is no such object.

        Raises: as `Cluster.get`.
        """
        found = self.cluster().get(self.resource, self.namespace, self.name)
        if found is None:
            return None
        parts = {
            name: self._decoded(text) for name, text in found.data.items() if name in self.ours
        }
        annotations = found.metadata.annotations or {}
        marks = marks_of(annotations)
        said = sorted((marks.annotations() if marks else {}).items())
        pending = annotations.get(PENDING, "")
        token = VersionToken(f"{digest_of(parts)} {said} {pending}" if parts or said else "")
        return Held(
            parts,
            marks,
            pending,
            token,
            str(found.metadata.resourceVersion),
            found.immutable,
            found.server_time,
        )

    def write(
        self, parts: Mapping[str, bytes], marks: Marks, there: Held | None, *, pending: str = ""
    ) -> None:
        """Put our keys and annotations there, in one write.

        Args:
            there: what was read just before.
            pending: the kid for which workloads are to be restarted next.

        Raises:
            Conflict: it is another one by now; nothing was written.
            StoreUnavailable, StoreDenied: as `Cluster.patch`.
        """
        data: dict[str, str | None] = {name: self._encoded(body) for name, body in parts.items()}
        annotations: dict[str, str | None] = {**marks.annotations()}
        if pending:
            annotations[PENDING] = pending
        if there is None:
            metadata = {"labels": {**MANAGED, **self.labels}, "annotations": annotations}
            body = {"metadata": metadata, "data": data}
            self.cluster().create(self.resource, self.namespace, self.name, body)
            return
        if there.immutable:
            raise StoreDenied(
                f"{self} is immutable",
                hint="replace it by one without `immutable: true`: a key that cannot change cannot rotate",
            )
        # A merge patch removes what it names null.
        data |= {name: None for name in there.parts if name not in parts}
        if there.marks is not None:
            gone = there.marks.annotations().keys() - annotations.keys()
            annotations |= dict.fromkeys(gone)
        metadata = {"resourceVersion": there.resource_version, "annotations": annotations}
        self.cluster().patch(
            self.resource, self.namespace, self.name, {"metadata": metadata, "data": data}
        )

    def fence(
        self,
        there: Held | None,
        key_set: str,
        revision: int,
        *,
        replacing: VersionToken | None,
    ) -> None:
        """Refuse to replace another version than the one that was looked at, or a higher revision (rule 4).

        Raises:
            Conflict: it is another one by now, or carries a higher revision.
        """
        marks = there.marks if there is not None else None
        if marks is not None and marks.key_set == key_set and marks.revision > revision:
            raise Conflict(
                f"{self} carries revision {marks.revision} of key set {key_set}, above {revision}",
                hint="load the ring again",
            )
        present = None if there is None or there.empty else there.token
        if present != replacing:
            raise Conflict(f"{self} changed since it was looked at", hint="look at it again")

    def restart(self, workloads: tuple[str, ...], key_set: str, kid: str) -> None:
        """Let workloads roll their pods, by an annotation of the pod template, and note that it was done.

        Raises:
            StoreDenied: one is not there, or may not be patched; it stays pending, and is tried again.
        """
        template = {"metadata": {"annotations": {f"{PREFIX}{key_set}": kid}}}
        for workload in workloads:
            resource, _, name = workload.partition("/")
            body = {"spec": {"template": template}}
            self.cluster().patch(f"{resource}s", self.namespace, name, body)
        done: dict[str, Any] = {"metadata": {"annotations": {PENDING: None}}}
        self.cluster().patch(self.resource, self.namespace, self.name, done)

    def _decoded(self, text: str) -> bytes:
        if self.resource == CONFIG_MAPS:
            return text.encode()
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return b""

    def _encoded(self, body: bytes) -> str:
        return body.decode() if self.resource == CONFIG_MAPS else base64.b64encode(body).decode()
