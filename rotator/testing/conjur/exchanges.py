"""How a role proves who it is: each exchange as the documentation of a real server has it.

API keys and JWT are checked for real. For the clouds and LDAP, what a real server asks elsewhere (AWS STS, the
directory) is asked of tables that the test fills: the signature of an AWS request and the claims of a token
are still really checked.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from rotator.testing.conjur.roles import Roles
from rotator.testing.conjur.variables import Variables

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "EdDSA"]


class Refused(Exception):
    """The proof does not hold; `body` and `status` are the server's answer."""

    def __init__(self, status: int = 401, body: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(slots=True)
class Elsewhere:
    """What the server would ask others.

    Attributes:
        aws: secret access keys by access key id, with the ARN that each stands for.
        ldap: passwords by user name.
    """

    aws: dict[str, tuple[str, str]] = field(default_factory=dict)
    ldap: dict[str, str] = field(default_factory=dict)


class Exchanges:
    """The authenticators of a server."""

    def __init__(self, roles: Roles, variables: Variables, elsewhere: Elsewhere) -> None:
        self._roles = roles
        self._variables = variables
        self._elsewhere = elsewhere

    def api_key(self, login: str, given: bytes) -> str:
        """Check an API key; return the login.

        Raises:
            Refused: also for an account, user or host that is unknown.
        """
        expected = self._roles.api_keys.get(self._roles.role_of(login), "")
        if not expected or not hmac.compare_digest(expected.encode(), given):
            raise Refused
        return login

    def jwt(self, kind: str, service: str, login: str | None, body: bytes) -> str:
        """Check a JWT (authn-jwt, authn-azure, authn-gcp); return the login of the host that it is of.

        Args:
            kind: the authenticator.
            login: the host as named in the address; None where a claim of the token names it.
        """
        given = parse_qs(body.decode("utf-8", "replace")).get("jwt", [""])[0]
        if not given:
            raise Refused(400)
        branch = f"conjur/{kind}/{service}"
        claims = self._verified(branch, given)
        host = f"host/{self._host(branch, claims)}" if login is None else login
        role = self._roles.role_of(host)
        record = self._roles.records.get(role)
        if record is None or not self._may_log_in(role, branch):
            raise Refused
        prefix = f"{kind}/{service}/"
        wanted = {
            key.removeprefix(prefix): value
            for key, value in record.annotations.items()
            if key.startswith(prefix)
        }
        if not wanted or any(str(claims.get(key)) != value for key, value in wanted.items()):
            raise Refused
        return host

    def iam(self, service: str, login: str, body: bytes) -> str:
        """Check a signed request for `GetCallerIdentity`; return the login.

        A real server sends it on to AWS STS; here the signature is computed again (AWS Signature Version 4).
        """
        try:
            headers = {key.lower(): str(value) for key, value in json.loads(body).items()}
            scope, signed, signature = _authorization(headers["authorization"])
            access_key, day, region, name, _ = scope.split("/")
            secret, arn = self._elsewhere.aws[access_key]
            text = _string_to_sign(headers, signed, f"{day}/{region}/{name}/aws4_request")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refused from error
        key = f"AWS4{secret}".encode()
        for part in (day, region, name, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        role = self._roles.role_of(login)
        good = hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature)
        if (
            not good
            or not login.endswith(arn)
            or not self._may_log_in(role, f"conjur/authn-iam/{service}")
        ):
            raise Refused
        return login

    def ldap(self, service: str, user: str, password: str) -> str:
        """Check a password against the directory; return the user's API key."""
        role = self._roles.role_of(user)
        expected = self._elsewhere.ldap.get(user)
        if expected is None or not hmac.compare_digest(expected.encode(), password.encode()):
            raise Refused
        if not self._may_log_in(role, f"conjur/authn-ldap/{service}"):
            raise Refused
        return self._roles.api_keys[role]

    def _may_log_in(self, role: str, service: str) -> bool:
        return self._roles.may(role, "authenticate", self._roles.full("webservice", service))

    def _setting(self, branch: str, name: str) -> str | None:
        found = self._variables.value(self._roles.full("variable", f"{branch}/{name}"))
        return None if found is None else found.decode()

    def _host(self, branch: str, claims: dict[str, Any]) -> str:
        named = claims.get(self._setting(branch, "token-app-property") or "")
        if not isinstance(named, str):
            raise Refused
        path = self._setting(branch, "identity-path")
        return f"{path}/{named}" if path else named

    def _verified(self, branch: str, given: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        keys, issuer = (self._setting(branch, name) for name in ("public-keys", "issuer"))
        if keys is None or issuer is None:  # "issuer is mandatory when public-keys is set"
            raise Refused
        try:
            token = jwt.decode(given, KeySet.import_key_set(_signing_keys(keys)), _ALGORITHMS)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Refused from error
        claims = dict(token.claims)
        if claims.get("exp", 0) <= time.time():
            message = "CONJ00016E Token expired"
            raise Refused(401, {"error": {"code": "unauthorized", "message": message}})
        audience, said = self._setting(branch, "audience"), claims.get("aud")
        if claims.get("iss") != issuer:
            raise Refused
        if audience is not None and audience not in (said if isinstance(said, list) else [said]):
            raise Refused
        return claims


def _signing_keys(text: str) -> Any:
    """Return the JWKS in `public-keys`, checked as a real server does: it reads these two members and no other.

    Raises:
        ValueError, KeyError, TypeError: it would refuse them.
    """
    found = json.loads(text)
    if (
        found["type"] != "jwks"
        or not isinstance(found["value"]["keys"], list)
        or not found["value"]["keys"]
    ):
        raise ValueError("not a public-keys value")
    return found["value"]


def _authorization(header: str) -> tuple[str, list[str], str]:
    algorithm, _, rest = header.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    if algorithm != "AWS4-HMAC-SHA256":
        raise ValueError(algorithm)
    return parts["Credential"], parts["SignedHeaders"].split(";"), parts["Signature"]


def _string_to_sign(headers: dict[str, str], signed: list[str], scope: str) -> str:
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed)
    empty = hashlib.sha256(b"").hexdigest()
    query = "Action=GetCallerIdentity&Version=2011-06-15"
    request = f"GET\n/\n{query}\n{lines}\n{';'.join(signed)}\n{empty}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    return f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
