"""The one login of a store, shared by all its key sets and threads.

A token is renewed, or replaced, at its first use after two thirds of its life. A 403 is taken for a dead
token when Vault says so or the token is old enough to have missed a change of its role: then the store logs in
again, once, and repeats the call, which a refused call permits: it did nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rotator.plugin import Calls, Secret, StoreDenied, StoreError, StoreUnavailable
from rotator_vault.connection import Answer, Connection
from rotator_vault.logins import FOREVER, Lease, Logins

_OLD: Final = (
    60.0  # seconds after which a refused token is replaced though Vault does not call it invalid
)
_REMEMBERED: Final = (
    2.0  # seconds for which a refused login is not tried again: a storm locks users out
)
_GOODBYE: Final = 2.0  # seconds that revoking may take when the store is closed


class Identity:
    """Sends calls with a token that is valid.

    Args:
        connection: to Vault.
        logins: how to obtain a token.
        calls: logs each login.
    """

    def __init__(self, connection: Connection, logins: Logins, calls: Calls) -> None:
        self._connection = connection
        self._logins = logins
        self._calls = calls
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._refusal: tuple[float, StoreDenied] | None = None
        self._owner = os.getpid()

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call with a valid token; a status of 403 means that the identity lacks a capability.

        Raises:
            StoreDenied: the login is refused, or the token is no longer accepted and there is no other.
            StoreUnavailable: no answer.
        """
        lease = self._valid()
        answer = self._connection.send(method, path, body, token=lease.token, query=query)
        if answer.status != 403:
            return answer
        dead = answer.says("invalid token")
        if not (dead or self._is_dead(lease)):
            return answer
        fresh = self._replaced(lease)
        if fresh.token == lease.token:
            if dead:
                raise self._expired(lease)
            return answer
        return self._connection.send(method, path, body, token=fresh.token, query=query)

    def _is_dead(self, lease: Lease) -> bool:
        """Tell whether a 403 that does not say why may be the token's fault."""
        if time.monotonic() - lease.taken > _OLD:
            return True
        looked = self._connection.send("GET", "auth/token/lookup-self", token=lease.token)
        return looked.status == 403

    def _valid(self) -> Lease:
        lease = self._lease
        if lease is not None and time.monotonic() < lease.refresh_at:
            return lease
        with self._lock:
            if self._lease is None:
                self._lease = self._obtained()
            elif time.monotonic() >= self._lease.refresh_at:
                self._lease = self._refreshed(self._lease)
            return self._lease

    def _replaced(self, refused: Lease) -> Lease:
        """Return another lease than a refused one: that of whoever was faster, or of a new login."""
        with self._lock:
            if self._lease is None or self._lease is refused:
                self._lease = None
                self._lease = self._obtained()
            return self._lease

    def _obtained(self) -> Lease:
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            known = self._refusal[1]
            raise StoreDenied(known.message, hint=known.hint)
        self._refusal = None
        with self._calls.logged(f"login.{self._logins.method}", None):
            try:
                lease = self._logins.obtain()
            except StoreDenied as error:
                self._refusal = (
                    time.monotonic() + _REMEMBERED,
                    StoreDenied(error.message, hint=error.hint),
                )
                raise
        self._owner = os.getpid()
        return lease

    def _refreshed(self, lease: Lease) -> Lease:
        """Renew a lease, or replace it. While it lasts, a Vault that does not answer is no reason to drop it."""
        try:
            with self._calls.logged("login.refresh", None):
                return self._looked_up(lease) if not lease.known else self._renewed(lease)
        except StoreUnavailable:
            left = lease.taken + lease.duration - time.monotonic()
            if left <= 0:
                raise
            return replace(lease, refresh_at=time.monotonic() + min(left / 4, _OLD))

    def _looked_up(self, lease: Lease) -> Lease:
        """Learn how long a token of somebody else's making lasts."""
        answer = self._connection.send("GET", "auth/token/lookup-self", token=lease.token)
        if answer.status != 200:  # not permitted, or dead: the call that comes next will show which
            return replace(lease, known=True, refresh_at=FOREVER)
        now = time.monotonic()
        left = float(answer.data.get("ttl") or 0) or FOREVER
        return replace(
            lease,
            known=True,
            taken=now,
            duration=left,
            refresh_at=now + left * 2 / 3,
            renewable=bool(answer.data.get("renewable")),
        )

    def _renewed(self, lease: Lease) -> Lease:
        if lease.renewable:
            answer = self._connection.send("POST", "auth/token/renew-self", {}, token=lease.token)
            auth = answer.body.get("auth")
            if answer.status == 200 and isinstance(auth, dict):
                renewed = Lease.granted(auth, ours=lease.ours, source=lease.source)
                # Near its greatest age a token gets less than it had: the next refresh is another login.
                capped = renewed.duration < lease.duration * 0.9
                return replace(renewed, renewable=renewed.renewable and not capped)
        try:
            return self._obtained()
        except StoreDenied:
            if time.monotonic() < lease.taken + lease.duration:
                # It is good for a while yet, and whoever provides the secret may still replace it.
                return replace(lease, refresh_at=time.monotonic() + _OLD, renewable=False)
            raise

    def _expired(self, lease: Lease) -> StoreDenied:
        return StoreDenied(
            f"Vault at {self._connection.address} does not accept the token"
            + (f" in {lease.source}" if lease.source else ""),
            hint="it has expired, was revoked, or is of another Vault, or is no token: put a new one there, or use a login "
            "method that obtains its own",
        )

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a token."""
        return self._lease is not None

    def token(self) -> Secret:
        """Return the token in force, to look it up.

        Raises:
            StoreDenied, StoreUnavailable: as `send`.
        """
        return self._valid().token

    def end(self) -> None:
        """Revoke the token of a login of our own, in one short try: else each run would leave one behind."""
        lease, self._lease = self._lease, None
        if lease is not None and lease.ours and self._owner == os.getpid():  # forks leave it alone
            with contextlib.suppress(StoreError), self._calls.logged("logout", None):
                self._connection.send(
                    "POST", "auth/token/revoke-self", {}, token=lease.token, wait=_GOODBYE
                )
