"""Calls to one API server: single objects, read, created and patched.

The SDK's own errors never leave this module: they carry requests and answers, and with them Secrets.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rotator.calls import Calls, server_time
from rotator.errors import BackendMissing, RotatorError, StoreDenied
from rotator.fence import still_time
from rotator.kubernetes.failures import Asked, refused, unanswered, unreadable
from rotator.kubernetes.settings import ClusterSettings
from rotator.stores import ServerTime

if TYPE_CHECKING:
    from rotator.kubernetes.login import Login

_GROUPS: Final = {
    "secrets": ("core_v1", "Secret"),
    "configmaps": ("core_v1", "ConfigMap"),
    "deployments": ("apps_v1", "Deployment"),
    "statefulsets": ("apps_v1", "StatefulSet"),
    "daemonsets": ("apps_v1", "DaemonSet"),
}
"""By resource: the SDK's module and class."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object as it lies there, and what the server said of the time."""

    metadata: Any
    data: Mapping[str, str] = field(repr=False)
    immutable: bool
    server_time: ServerTime | None


class Cluster:
    """Asks one API server; threads share it. Nothing is read or connected before the first call.

    Args:
        settings: which server, and as whom.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._login: Login | None = None

    def namespace(self, given: str | None) -> str:
        """Return the namespace that is meant: the one given, else that of the identity.

        Raises:
            ConfigError, BackendMissing: as for every call, where the identity has to be known for it.
        """
        return given or str(self._logged_in()[0].client.namespace)

    def get(self, resource: str, namespace: str | None, name: str) -> Found | None:
        """Return an object, None when the server answers that there is none.

        Raises:
            StoreUnavailable, StoreDenied: no answer.
            ConfigError: there is no kubeconfig, or it names no such context.
            BackendMissing: lightkube is not installed.
        """

        def ask(login: Login, asked: Asked) -> Found | None:
            read = login.client.get(_kind(resource), asked.name, namespace=asked.namespace)
            date, sent = login.transport.heard()
            return Found(
                read.metadata,
                getattr(read, "data", None) or {},
                bool(getattr(read, "immutable", None)),
                server_time(login.server, date, sent),
            )

        found: Found | None = self._step(
            "get", resource, namespace, name, ask, absent_is_answer=True
        )
        return found

    def create(self, resource: str, namespace: str | None, name: str, body: Any) -> None:
        """Make an object.

        Args:
            body: returns it, given the SDK's class and that of its metadata; not called in vain.

        Raises:
            Conflict: there is one of that name by now.
            StoreUnavailable, StoreDenied, ConfigError, BackendMissing: as for `get`.
        """

        def ask(login: Login, asked: Asked) -> None:
            from lightkube.models.meta_v1 import ObjectMeta

            metadata = ObjectMeta(name=asked.name, namespace=asked.namespace, **body["metadata"])
            rest = {key: value for key, value in body.items() if key != "metadata"}
            login.client.create(_kind(resource)(metadata=metadata, **rest))

        self._step("create", resource, namespace, name, ask)

    def patch(
        self, resource: str, namespace: str | None, name: str, body: Mapping[str, Any]
    ) -> None:
        """Change the fields of an object that a JSON merge patch (RFC 7386) names, and no others.

        Raises:
            Conflict: the patch names a `resourceVersion`, and it is another one by now.
            StoreUnavailable, StoreDenied, ConfigError, BackendMissing: as for `get`.
        """

        def ask(login: Login, asked: Asked) -> None:
            from lightkube.types import PatchType

            login.client.patch(
                _kind(resource),
                asked.name,
                dict(body),
                namespace=asked.namespace,
                patch_type=PatchType.MERGE,
            )

        self._step("patch", resource, namespace, name, ask)

    def may(self, verb: str, resource: str, namespace: str | None, name: str) -> bool:
        """Ask whether this identity may do something (SelfSubjectAccessReview); nothing is done."""

        def ask(login: Login, asked: Asked) -> bool:
            from lightkube.models.authorization_v1 import (
                ResourceAttributes,
                SelfSubjectAccessReviewSpec,
            )
            from lightkube.resources.authorization_v1 import SelfSubjectAccessReview

            group = "apps" if _GROUPS[resource][0] == "apps_v1" else ""
            attributes = ResourceAttributes(
                group=group, resource=resource, verb=verb, name=name, namespace=asked.namespace
            )
            spec = SelfSubjectAccessReviewSpec(resourceAttributes=attributes)
            answer = login.client.create(SelfSubjectAccessReview(spec=spec))
            return bool(answer.status and answer.status.allowed)

        allowed: bool = self._step("review", resource, namespace, name, ask)
        return allowed

    def close(self) -> None:
        """Let go of the login and its connections."""
        with self._lock:
            login, self._login = self._login, None
        if login is not None:
            login.client.close()

    def _step(
        self,
        verb: str,
        resource: str,
        namespace: str | None,
        name: str,
        ask: Callable[[Login, Asked], Any],
        *,
        absent_is_answer: bool = False,
    ) -> Any:
        """Make one call, again while it may succeed later: reads always, writes only if nothing was sent."""
        login, _ = self._logged_in()
        asked = Asked(verb, resource, self.namespace(namespace), name, login.server)
        calls = Calls("kubernetes", login.server, attempts=3 if verb in {"get", "review"} else 1)

        def once() -> Any:
            if verb in {"create", "patch"}:
                still_time()
            return self._ask(asked, ask, absent_is_answer=absent_is_answer)

        return calls.attempt(f"{verb} {resource}/{name}", None, once)

    def _ask(
        self, asked: Asked, ask: Callable[[Login, Asked], Any], *, absent_is_answer: bool
    ) -> Any:
        login, fresh = self._logged_in()
        result = _try(login, asked, ask, absent_is_answer=absent_is_answer)
        if isinstance(result, _LoginRefused):
            # The kubeconfig may hold another token by now, and a client certificate is read once.
            self._forget(login)
            if not fresh:
                login, _ = self._logged_in()
                result = _try(login, asked, ask, absent_is_answer=absent_is_answer)
        # Raised here, where no exception of the SDK is being handled.
        if isinstance(result, _LoginRefused):
            self._forget(login)
            raise result.error
        if isinstance(result, RotatorError):
            raise result
        return result

    def _logged_in(self) -> tuple[Login, bool]:
        """Return the login, and whether it was made just now."""
        with self._lock:
            if self._login is not None:
                return self._login, False
            self._login = _open(self.settings)
            return self._login, True

    def _forget(self, login: Login) -> None:
        """Let go of a login that the server refuses: it refuses it in every thread."""
        with self._lock:
            if self._login is login:
                self._login = None
        login.client.close()


@dataclass(frozen=True, slots=True)
class _LoginRefused:
    error: RotatorError


def _try(
    login: Login,
    asked: Asked,
    ask: Callable[[Login, Asked], Any],
    *,
    absent_is_answer: bool,
) -> Any:
    import httpx2
    import msgspec
    from lightkube.core.exceptions import ApiError
    from lightkube.core.exceptions import ConfigError as NoLogin

    try:
        return ask(login, asked)
    except ApiError as error:
        code = error.response.status_code
        if code == 404 and absent_is_answer:
            return None
        after = error.response.headers.get("retry-after")
        meant = refused(code, str(error.status.message or ""), asked, after)
        return _LoginRefused(meant) if code == 401 else meant
    except httpx2.HTTPStatusError as error:
        code = error.response.status_code
        return (
            refused(code, "", asked)
            if code in {401, 403, 429, 500, 502, 503, 504}
            else unreadable(asked)
        )
    except httpx2.HTTPError as error:
        return unanswered(error, asked)
    except NoLogin as error:
        return _LoginRefused(
            StoreDenied(
                f"there is no login for the Kubernetes API {login.server} ({type(error).__name__})",
                hint="is the service account's token mounted, and does the kubeconfig's command work?",
            )
        )
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError):
        return unreadable(asked)


def _open(settings: ClusterSettings) -> Login:
    try:
        from rotator.kubernetes.login import open_login
    except ImportError:
        raise BackendMissing(
            "targets in Kubernetes need lightkube, which is not installed",
            hint="pip install 'jwks-rotator[kubernetes]'",
        ) from None
    return open_login(settings)


def _kind(resource: str) -> Any:
    module, name = _GROUPS[resource]
    return getattr(importlib.import_module(f"lightkube.resources.{module}"), name)
