"""Logging in: one access token for all threads and key sets, renewed in time, taken anew when it is refused.

The strategies are the SDK's; what they send to Conjur goes through our own wire, for the SDK's would not hold to
`ca_file`, log through the root logger, and add a header about its host to each call. What they ask the platform for
(instance metadata, AWS credentials) stays theirs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import Any, Final

from rotator.plugin import RotatorError, StoreDenied, StoreError, StoreUnavailable
from rotator_conjur.settings import ConjurSettings, JwtAuth
from rotator_conjur.wire import Wire

_SHORTEST: Final = 1.0  # seconds for which a token is used at least, whatever it says
_USED: Final = 0.6  # of its life; a real server gives eight minutes
_UNKNOWN: Final = 300.0  # seconds; for a token that does not say how long it lives


class Login:
    """Who this store is at the server."""

    def __init__(self, wire: Wire, settings: ConjurSettings) -> None:
        self._wire = wire
        self._settings = settings
        self._token = ""
        self._good_until = 0.0  # time.monotonic()
        self._locks: dict[int, asyncio.Lock] = {}  # by process, as the event loop is

    @property
    def name(self) -> str:
        """Who logs in, for messages."""
        auth = self._settings.auth
        if isinstance(auth, JwtAuth):
            return f"the host of the JWT (authn-jwt/{auth.service_id})"
        return auth.login

    async def header(self, *, refused: str | None = None) -> str:
        """Return the value of the `Authorization` header.

        Args:
            refused: the value that the server has just refused; a new one is got unless somebody already did.

        Raises:
            StoreDenied: the server refuses the login, or what it takes is not there.
            StoreUnavailable: no answer.
        """
        lock = self._locks.setdefault(os.getpid(), asyncio.Lock())
        async with lock:
            if not self._token or self._token == refused or time.monotonic() > self._good_until:
                asked = time.monotonic()
                token = await self._log_in()
                self._good_until = asked + self._life(token)
                self._token = f'Token token="{base64.b64encode(token.encode()).decode("ascii")}"'
            return self._token

    async def _log_in(self) -> str:
        from rotator_conjur.strategies import strategy_for

        try:
            strategy, info = strategy_for(self._settings, self._exchange)
            # The platform is asked with the SDK's own time limits; this one holds whatever those are.
            async with asyncio.timeout(
                3 * (self._settings.connect_timeout + self._settings.read_timeout)
            ):
                token, _ = await strategy.authenticate(info, None)
        except RotatorError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises ends here
            raise self._failure(error) from None
        return str(token)

    async def _exchange(
        self, method: str, *path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> str:
        """Make one call of a login; see `rotator_conjur.strategies.Exchange`."""
        answer = await self._wire.send(method, *path, body=body.encode() or None, headers=headers)
        url, status = self._wire.url, answer.status
        if status == 200:
            try:
                return answer.body.decode("ascii")
            except UnicodeDecodeError:
                raise self._no_token() from None
        if status in (400, 401, 403, 404):
            raise StoreDenied(
                f"Conjur at {url} refused the login of {self.name} by {self._settings.auth.method} (HTTP {status})",
                hint=_LOGIN_HINTS[self._settings.auth.method],
            )
        raise StoreUnavailable(
            f"Conjur at {url} answered a login with HTTP {status}",
            hint="it is tried again",
            retry_after=answer.retry_after,
            lasting=status < 500 and status != 429,
        )

    def _no_token(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._wire.url} answered a login with something that is no token",
            hint="is `url` that of a Conjur server?",
            lasting=True,
        )

    def _life(self, token: str) -> float:
        """Return for how many seconds to use a token.

        Reckoned from its own `iat` and `exp`, so that a wrong clock here does no harm.
        """
        try:
            claims: dict[str, Any] = json.loads(
                base64.urlsafe_b64decode(json.loads(token)["payload"])
            )
        except (KeyError, TypeError, ValueError):
            raise self._no_token() from None
        try:
            life = float(claims["exp"]) - float(claims["iat"])
        except (KeyError, TypeError, ValueError):  # servers before 5.1 say nothing of `exp`
            life = _UNKNOWN
        return max(_SHORTEST, life * _USED)

    def _failure(self, error: Exception) -> StoreError:
        import aiohttp

        status = getattr(error, "status", None)
        if isinstance(error, aiohttp.ClientError | TimeoutError) or (status or 0) >= 500:
            return StoreUnavailable(
                f"the platform gave no proof to log in to Conjur with ({type(error).__name__})",
                hint="is its metadata service reachable from here?",
            )
        return StoreDenied(
            f"{self.name} has nothing to log in to Conjur with by {self._settings.auth.method} "
            f"({type(error).__name__}{f', HTTP {status}' if status else ''})",
            hint=_LOGIN_HINTS[self._settings.auth.method],
        )


_LOGIN_HINTS: Final = {
    "api-key": "check `account`, `auth.login` and the API key; a host logs in as host/NAME",
    "jwt": "check the token's `exp`, `aud` and `iss`, the host's annotations, and that it may authenticate with the service",
    "iam": "check the AWS credentials here, the host's name, and that it may authenticate with the service",
    "gcp": "check the instance's service account, the host's annotations, and that it may authenticate with the service",
    "azure": "check the managed identity, the host's annotations, and that it may authenticate with the service",
    "ldap": "check the password, and that the user may authenticate with the service",
}
