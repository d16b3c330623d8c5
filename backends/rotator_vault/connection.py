"""HTTP to one Vault: one pool, bounded in time and size, with nothing taken from the environment.

hvac carries the requests. Its convenience methods are not used, for they lose what an answer says (412 and
472 become one error, a deleted version becomes an exception) and `update_metadata` clears what it is not given;
its client reads VAULT_TOKEN, ~/.vault-token and VAULT_CACERT behind one's back, its adapter does not.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

from rotator.plugin import BackendMissing, Secret, ServerTime, StoreUnavailable, server_time
from rotator_vault.meaning import no_answer, unusable

if TYPE_CHECKING:
    from rotator_vault.settings import VaultSettings

_SETTLED: Final = frozenset({200, 204, 400, 403, 404})  # what the callers tell apart by themselves


@dataclass(frozen=True, slots=True)
class Answer:
    """What Vault answered: the status, the JSON object of the body, and its list of errors.

    `body` may hold key material and tokens, and is left out of the repr. `plain` is False for a body that is
    not Vault's JSON: the page of a proxy, say.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)
    errors: tuple[str, ...]
    plain: bool
    server_time: ServerTime | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """The member `data`, empty when there is none."""
        found = self.body.get("data")
        return found if isinstance(found, dict) else {}

    def says(self, text: str) -> bool:
        """Tell whether one of the errors has a text in it."""
        return any(text in error for error in self.errors)


class Connection:
    """One connection pool to one address, safe to use from several threads and after a fork.

    Raises:
        BackendMissing: hvac is not installed.
    """

    def __init__(self, settings: VaultSettings, address: str) -> None:
        self.address = address
        self._settings = settings
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._adapter = self._opened()

    def _opened(self) -> Any:
        try:
            from rotator_vault.transport import adapter

            return adapter(self._settings, self.address)
        except ModuleNotFoundError as error:
            raise BackendMissing(
                f"the Vault store needs {error.name}, which is not installed",
                hint="pip install 'jwks-rotator[vault]'",
            ) from error

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: Secret | None = None,
        query: Mapping[str, str] | None = None,
        wait: float | None = None,
    ) -> Answer:
        """Make one call, without a second try.

        Args:
            method: of HTTP, or `LIST`.
            path: below `/v1/`; percent-encoded here.
            wait: seconds to wait for the answer, in place of `read_timeout`.

        Returns:
            The answer, if its status is 200, 204, 400, 403 or 404: these mean different things to
            different callers.

        Raises:
            StoreUnavailable: no answer, or one by which Vault (or what stands before it) says "not now".
        """
        sent = time.monotonic()
        response = self._exchange(method, path, body=body, token=token, query=query, wait=wait)
        answer = self._read(response, sent)
        if answer.status not in _SETTLED:
            raise unusable(self.address, answer.status, answer.errors, response.headers)
        return answer

    def health(self) -> Answer:
        """Return what the node says of itself (`sys/health`): its status is 200, 429, 472, 473, 501 or 503.

        Raises:
            StoreUnavailable: no answer.
        """
        sent = time.monotonic()
        return self._read(self._exchange("GET", "sys/health", namespace=False), sent)

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        token: Secret | None = None,
        query: Mapping[str, str] | None = None,
        wait: float | None = None,
        namespace: bool = True,
    ) -> Any:
        import requests
        import urllib3

        adapter = self._pool()
        timeout = (self._settings.connect_timeout, wait or self._settings.read_timeout)
        options: dict[str, Any] = {"timeout": timeout, "headers": {}}
        if token is not None:
            options["headers"]["X-Vault-Token"] = token.reveal().decode("latin-1")
        if body is not None:
            options["json"] = body
        if query is not None:
            options["params"] = dict(query)
        problem: StoreUnavailable
        try:
            if namespace:
                response = adapter.request(method.lower(), f"/v1/{quote(path)}", **options)
            else:  # what is asked of the node itself is there in the root namespace only
                url = f"{self.address}/v1/{quote(path)}"
                response = adapter.session.request(method, url, allow_redirects=False, **options)
            if response.status_code == 307:
                response = self._follow(adapter, method, response, options)
        except (
            OSError,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            ValueError,
        ) as error:
            # Raised below, outside: the SDK's exception holds the request, and with it token and body.
            problem = no_answer(self.address, error)
        else:
            return response
        raise problem

    def _follow(self, adapter: Any, method: str, response: Any, options: dict[str, Any]) -> Any:
        """Follow one redirect of a standby to the active node, as Vault's own client does; never off TLS."""
        target = urljoin(response.url, response.headers.get("Location", ""))
        if urlsplit(response.url).scheme == "https" and urlsplit(target).scheme != "https":
            raise requests_error("a redirect away from TLS was refused")
        headers = {**options["headers"], "X-Vault-Request": "true"}
        if adapter.namespace:
            headers["X-Vault-Namespace"] = adapter.namespace
        return adapter.session.request(
            method="GET" if method == "LIST" else method,
            url=target,
            allow_redirects=False,
            **{**options, "headers": headers, "params": None},
        )

    def _read(self, response: Any, sent: float) -> Answer:
        said = server_time(self.address, response.headers.get("Date"), sent)
        if response.status_code == 204 or not response.content:
            return Answer(response.status_code, {}, (), response.status_code == 204, said)
        try:
            body = response.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            if response.status_code == 200:
                raise unusable(self.address, 200, (), response.headers)
            return Answer(response.status_code, {}, (), False, said)
        errors = body.get("errors")
        texts = tuple(str(error) for error in errors) if isinstance(errors, list) else ()
        return Answer(response.status_code, body, texts, True, said)

    def _pool(self) -> Any:
        """Return the adapter of this process: a fork never shares a socket with its parent."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._adapter = self._opened()
                    self._pid = os.getpid()
        return self._adapter

    def close(self) -> None:
        """Close idle connections; the next call opens new ones."""
        self._pool().close()


def requests_error(text: str) -> Exception:
    """Return an error of the transport's own kind."""
    import requests

    return requests.exceptions.InvalidURL(text)
