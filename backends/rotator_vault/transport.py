"""hvac's adapter over a session of our own. Imported only when a store is opened.

The session has no retries (the store's step is what is tried again), reads no environment (proxies, netrc,
REQUESTS_CA_BUNDLE), and bounds an answer as a whole: `requests` bounds only the silence between two bytes.
"""

from __future__ import annotations

import functools
import http.client
import io
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Connection

    from rotator_vault.settings import VaultSettings
else:
    _Connection = object  # mixed into urllib3's connections

_LIMIT: Final = 8 << 20
"""How many bytes an answer may have; a KV secret is below one MiB."""

_POOL: Final = 32
"""Connections kept: as many as lanes of a busy daemon."""


def adapter(settings: VaultSettings, address: str) -> Any:
    """Return hvac's adapter for an address: answers come back as they are, whatever their status."""
    from hvac import adapters  # the package first, for stores are opened by several threads

    session = requests.Session()
    session.trust_env = False
    # hvac takes the session's word before that of its own arguments, so all of it is said here.
    session.verify = str(settings.ca_file) if settings.ca_file else _system_trust()
    if settings.cert_file and settings.key_file:
        session.cert = (str(settings.cert_file), str(settings.key_file))
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    pool = _Bounded()
    session.mount("https://", pool)
    session.mount("http://", pool)
    return adapters.RawAdapter(
        base_uri=address,
        token="",  # none: each call brings its own
        cert=session.cert,
        verify=session.verify,
        proxies=session.proxies,
        namespace=settings.namespace,
        session=session,
        allow_redirects=False,
        ignore_exceptions=True,
        strict_http=True,
    )


def _system_trust() -> str | bool:
    """Return where the system keeps the authorities it trusts; True (certifi's list) when it has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    if paths.capath:
        with os.scandir(paths.capath) as entries:
            if any(entries):
                return paths.capath
    return True


class _Reader(socket.SocketIO):
    """Reads from a socket until a moment of the monotonic clock, and no more than `_LIMIT` bytes."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__(connection, "r")
        connection._io_refs += 1  # type: ignore[attr-defined]  # noqa: SLF001 - as `makefile` does
        self._connection = connection
        self._until = until
        self._left = _LIMIT

    def readinto(self, buffer: Any) -> int | None:
        """Read some bytes.

        Raises:
            TimeoutError: it is too late, or too much.
        """
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(remaining)
        count = super().readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise OSError("the answer is larger than 8 MiB")
        return count


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, until: float, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        if not isinstance(sock, socket.socket):  # TLS within TLS, through an https proxy
            return
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, until))


class _Deadline(_Connection):
    """What both kinds of connection add: each request has one deadline for its whole answer."""

    response_class: Any

    def getresponse(self) -> Any:
        """Read an answer; by now `timeout` is that of reading (while sending it was that of connecting)."""
        patience = self.timeout if isinstance(self.timeout, (int, float)) else 60.0
        until = time.monotonic() + patience
        self.response_class = functools.partial(_Response, until=until)
        return super().getresponse()


class _Plain(_Deadline, HTTPConnection):
    pass


class _Secure(_Deadline, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Bounded(requests.adapters.HTTPAdapter):
    """Pools whose answers are bounded, and whose failures are tried again by nobody here."""

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=_POOL, max_retries=0)

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: Any, **keywords: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **keywords)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager
