"""Access tokens in the form of a real server's, signed with a key that only this server has."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from typing import Any


class Tokens:
    """Issues and checks access tokens.

    Args:
        ttl: seconds for which a token is good.
    """

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self._key = secrets.token_bytes(32)

    def issue(self, login: str) -> bytes:
        """Return a new token as the body of an answer."""
        now = int(time.time())
        header = {"alg": "conjur.org/slosilo/v2", "kid": hashlib.sha256(self._key).hexdigest()}
        payload = {"iat": now, "exp": now + self.ttl, "sub": login}
        protected, claims = _encode(header), _encode(payload)
        token = {
            "protected": protected,
            "payload": claims,
            "signature": base64.urlsafe_b64encode(self._sign(protected, claims)).decode("ascii"),
        }
        return json.dumps(token).encode("ascii")

    def login(self, token: bytes) -> str | None:
        """Return who a token was issued to; None when it is not ours, or has expired.

        Raises:
            ValueError: it is no token at all.
        """
        try:
            parts = json.loads(base64.b64decode(token, validate=True))
            protected, claims = str(parts["protected"]), str(parts["payload"])
            signature = base64.urlsafe_b64decode(parts["signature"])
            payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims))
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            raise ValueError("not a token") from error
        if not hmac.compare_digest(signature, self._sign(protected, claims)):
            return None
        return str(payload["sub"]) if time.time() < payload["exp"] else None

    def expire_all(self) -> None:
        """Make every token that was issued so far worthless."""
        self._key = secrets.token_bytes(32)

    def _sign(self, protected: str, claims: str) -> bytes:
        return hmac.digest(self._key, f"{protected}.{claims}".encode(), "sha256")


def _encode(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode("ascii")).decode("ascii")
