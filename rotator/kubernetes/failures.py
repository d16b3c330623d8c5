"""What an answer of the Kubernetes API, or none, means for a target.

Source: the API conventions' "Response Status Kind". No text of an answer is passed on unless it is known to quote
nothing of an object: a webhook may say what it likes, and a Secret is what it was shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rotator.errors import Conflict, RotatorError, StoreDenied, StoreError, StoreUnavailable

_WEBHOOK: Final = re.compile(r'admission webhook "([A-Za-z0-9.-]{1,253})" denied')
_POLICY: Final = re.compile(r"ValidatingAdmissionPolicy '([A-Za-z0-9.-]{1,253})'")
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, for messages: `patch`, `secrets`, its namespace and name, and who answers."""

    verb: str
    resource: str
    namespace: str
    name: str
    server: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.name} in namespace {self.namespace}"

    @property
    def permission(self) -> str:
        """The RBAC rule that allows it, in words."""
        return f"{self.verb} {self}"


def refused(code: int, message: str, asked: Asked, retry_after: str | None = None) -> StoreError:
    """Return what a status code other than success means; 404 is for the caller to read where it asks.

    Args:
        message: the answer's own words; only known phrases of them are looked for.
        retry_after: the answer's `Retry-After`.
    """
    if code == 409:
        return Conflict(f"{asked} changed since it was looked at", hint="look at it again")
    if code in _LATER:
        seconds = int(retry_after) if retry_after and retry_after.isdigit() else None
        return StoreUnavailable(
            f"the Kubernetes API {asked.server} answered {code} for {asked}",
            hint="see the API server's log",
            retry_after=seconds,
        )
    if code == 401:
        return StoreDenied(
            f"the Kubernetes API {asked.server} does not accept this identity",
            hint="has its token expired? `kubectl auth whoami` with the same kubeconfig says more",
        )
    if code == 403:
        return _forbidden(message, asked)
    if code == 404:
        return StoreDenied(
            f"{asked} cannot be written: its namespace is not there",
            hint=f"kubectl create namespace {asked.namespace}",
        )
    if code == 422 and "immutable" in message:
        return StoreDenied(
            f"{asked} is immutable",
            hint="replace it by one without `immutable: true`: a key that cannot change cannot rotate",
        )
    if code == 413 or "Too long" in message:
        return StoreDenied(
            f"{asked} would be larger than 1 MiB", hint="move what else is in it elsewhere"
        )
    return StoreDenied(
        f"the Kubernetes API {asked.server} refused to {asked.verb} {asked}: status {code}",
        hint="its audit log says why",
    )


def _forbidden(message: str, asked: Asked) -> StoreDenied:
    for pattern, what in ((_WEBHOOK, "the admission webhook"), (_POLICY, "the admission policy")):
        if found := pattern.search(message):
            return StoreDenied(
                f"{what} {found[1]} does not let {asked} be written",
                hint="ask who runs it to except this object",
            )
    if "exceeded quota" in message:
        return StoreDenied(
            f"{asked} cannot be made: a quota of its namespace is used up",
            hint=f"kubectl describe quota -n {asked.namespace}",
        )
    if "being terminated" in message:
        return StoreDenied(
            f"{asked} cannot be made: its namespace is being removed",
            hint="deliver to another namespace, or remove this target",
        )
    if asked.verb == "create":
        return StoreDenied(
            f"{asked} is not there, and this identity may not create it",
            hint="make it empty: `rotator policy kubernetes --role rotator | kubectl apply -f -`",
        )
    return StoreDenied(
        f"the Kubernetes API {asked.server} does not allow this identity to {asked.permission}",
        hint="`rotator policy kubernetes --role rotator` prints the Role that it needs",
    )


def unanswered(error: Exception, asked: Asked) -> RotatorError:
    """Return what it means that no answer came: only the kind of the SDK's error is told."""
    kind = type(error).__name__
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return StoreUnavailable(
            f"the certificate of the Kubernetes API {asked.server} does not hold",
            hint="does the kubeconfig name the cluster's CA, and is the host's clock right?",
            lasting=True,
        )
    return StoreUnavailable(
        f"no answer of the Kubernetes API {asked.server} for {asked} ({kind})",
        hint="is it up, and reachable from here?",
    )


def unreadable(asked: Asked) -> StoreUnavailable:
    """Return what it means that something else than the Kubernetes API answered."""
    return StoreUnavailable(
        f"what {asked.server} answered for {asked} is not of the Kubernetes API",
        hint="does a proxy or a load balancer answer in its place?",
    )
