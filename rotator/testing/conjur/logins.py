"""Logging in: the exchanges behind their addresses, and the tokens that they give."""

from __future__ import annotations

import base64
import threading

from rotator.testing.conjur.exchanges import Elsewhere, Exchanges, Refused
from rotator.testing.conjur.messages import JSON, TEXT, Answer, Request, basic
from rotator.testing.conjur.roles import Roles, new_api_key
from rotator.testing.conjur.tokens import Tokens
from rotator.testing.conjur.variables import Variables


class Logins:
    """Who a request is of, and how one gets a token.

    Args:
        token_ttl: seconds for which a token is good.
        lock: held around every use of the roles.
    """

    def __init__(
        self, roles: Roles, variables: Variables, *, token_ttl: float, lock: threading.RLock
    ) -> None:
        self.roles = roles
        self.tokens = Tokens(token_ttl)
        self.elsewhere = Elsewhere()
        self._exchanges = Exchanges(roles, variables, self.elsewhere)
        self._lock = lock

    def authenticate(self, method: str, kind: str, parts: list[str], request: Request) -> Answer:
        """Answer a request below `/authn…`."""
        service = "" if kind == "authn" else parts.pop(0)
        if parts[:1] != [self.roles.account]:
            return Answer(401)
        try:
            with self._lock:
                match [method, *parts[1:]]:
                    case ["GET", "login"]:
                        return Answer(200, self._password(kind, service, request).encode("ascii"))
                    case ["PUT", "api_key"]:
                        return self._rotate(request)
                    case ["POST", "authenticate"]:
                        login = self._exchanges.jwt(kind, service, None, request.body)
                    case ["POST", given, "authenticate"]:
                        login = self._exchange(kind, service, given, request.body)
                    case _:
                        return Answer(404)
                token = self.tokens.issue(login)
        except Refused as error:
            return (
                Answer(error.status) if error.body is None else Answer.of(error.status, error.body)
            )
        if request.headers.get("accept-encoding") == "base64":
            return Answer(200, base64.b64encode(token), TEXT, {"Content-Encoding": "base64"})
        return Answer(200, token, JSON)

    def _exchange(self, kind: str, service: str, login: str, body: bytes) -> str:
        if kind in ("authn", "authn-ldap"):
            return self._exchanges.api_key(login, body)
        if kind == "authn-iam":
            return self._exchanges.iam(service, login, body)
        return self._exchanges.jwt(kind, service, login, body)

    def _password(self, kind: str, service: str, request: Request) -> str:
        login, password = basic(request)
        if kind == "authn-ldap":
            return self._exchanges.ldap(service, login, password)
        return self.roles.api_keys[
            self.roles.role_of(self._exchanges.api_key(login, password.encode()))
        ]

    def _rotate(self, request: Request) -> Answer:
        """Change an API key: one's own with the password or the old key, another's with a token."""
        named = request.query.get("role")
        if named is None:
            if not request.headers.get("authorization", "").startswith("Basic "):
                return Answer.error(401, "unauthorized", "Credential strength is insufficient")
            login, password = basic(request)
            role = self.roles.role_of(self._exchanges.api_key(login, password.encode()))
        else:
            found = self.login(request)
            if isinstance(found, Answer):
                return found
            kind, _, name = named.partition(":")
            role = self.roles.full(kind, name)
            if not self.roles.may(self.roles.role_of(found), "update", role):
                return Answer(401)
        self.roles.api_keys[role] = new_api_key()
        return Answer(200, self.roles.api_keys[role].encode("ascii"))

    def login(self, request: Request) -> str | Answer:
        """Return who a request is of, or the refusal of its token."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme != "Token":
            return Answer(401, b"Authorization missing")
        try:
            login = self.tokens.login(rest.removeprefix('token="').removesuffix('"').encode())
        except ValueError:
            return Answer(401, b"Malformed authorization token")
        if login is None or self.roles.role_of(login) not in self.roles.records:
            return Answer(401, b"Unauthorized: Invalid token")
        return login
