"""The SDK's client of one API server: whose identity it has, and how its requests are sent.

Imported only when a cluster is opened.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

import httpx2  # noqa: TID253  # see above
from lightkube import Client, KubeConfig  # noqa: TID253
from lightkube.config.client_adapter import verify_cluster  # noqa: TID253
from lightkube.config.kubeconfig import SingleConfig  # noqa: TC002, TID253
from lightkube.config.models import User  # noqa: TC002, TID253

from rotator.errors import ConfigError
from rotator.kubernetes.settings import ClusterSettings

MANAGER: Final = "rotator"
"""Who we are in `metadata.managedFields`."""


@dataclass(frozen=True, slots=True)
class Login:
    """A client, how it sends, and the server's address."""

    client: Client
    transport: Transport
    server: str


class Transport(httpx2.BaseTransport):
    """The SDK's own transport, whose last `Date` each thread can read after its request.

    Args:
        config: the server and its CA.
        user: a client certificate where the identity is one.
    """

    def __init__(self, config: SingleConfig, user: User) -> None:
        context = verify_cluster(config.cluster, user, config.abs_file)
        self._inner = httpx2.HTTPTransport(verify=context, retries=0)
        self._heard = threading.local()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        self._heard.date, self._heard.sent = None, time.monotonic()
        response = self._inner.handle_request(request)
        self._heard.date = response.headers.get("date")
        return response

    def heard(self) -> tuple[str | None, float]:
        """Return the `Date` of the last answer in this thread, and when its request was sent (monotonic)."""
        return getattr(self._heard, "date", None), getattr(self._heard, "sent", 0.0)

    def close(self) -> None:
        """Close its connections."""
        self._inner.close()


def open_login(settings: ClusterSettings) -> Login:
    """Return a client; nothing is connected yet.

    Raises:
        ConfigError: there is no kubeconfig, it cannot be read, or it names no such context or no user.
    """
    config, transport = _opened(settings)
    client = Client(
        config=config,
        timeout=httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        field_manager=MANAGER,
        transport=transport,
    )
    _keep_headers_out_of_logs()
    return Login(client, transport, config.cluster.server)


def _opened(settings: ClusterSettings) -> tuple[SingleConfig, Transport]:
    where = f"the kubeconfig {settings.kubeconfig}" if settings.kubeconfig else "a kubeconfig"
    try:
        given = settings.kubeconfig
        found = KubeConfig.from_env() if given is None else KubeConfig.from_file(given)
        config = found.get(settings.context)
        if config is not None and config.user is not None:
            return config, Transport(config, config.user)
    except Exception as error:  # noqa: BLE001 - of the SDK, its YAML and its parser; they quote what they read
        raise ConfigError(
            f"{where} cannot be used ({type(error).__name__})",
            hint="run in a pod with a service account, or name a `kubeconfig`, and a `context` that it has, "
            "for the target; `kubectl config view` with the same file says more",
        ) from None
    raise ConfigError(
        f"{where} names no user for its context", hint="choose a context that has one"
    )


def _keep_headers_out_of_logs() -> None:
    """Let the SDK's loggers say nothing below WARNING: at DEBUG they print headers, and with them the token."""
    ours = ("httpx2", "httpcore2", "lightkube", "h11", "h2", "hpack")
    for name in (*ours, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ours:
            logging.getLogger(name).addFilter(_serious)


def _serious(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
