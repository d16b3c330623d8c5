"""How a store logs in: one function for each method, from its settings to a lease.

Secrets are read from where they come at each login, so that a rotated one is taken up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rotator.plugin import BackendMissing, Secret, StoreDenied, read_secret
from rotator_vault.connection import Answer, Connection
from rotator_vault.meaning import quoted

if TYPE_CHECKING:
    from rotator_vault.settings import (
        AppRoleLogin,
        AwsLogin,
        JwtLogin,
        KubernetesLogin,
        PasswordLogin,
        TokenLogin,
        VaultSettings,
    )

FOREVER: Final = float("inf")
_SOON: Final = 60.0  # seconds of use after which a token of somebody else's making is looked up


@dataclass(frozen=True, slots=True)
class Lease:
    """A token, and how long it lasts.

    Attributes:
        taken: when it was obtained, by the monotonic clock.
        refresh_at: when to renew it, or to obtain another.
        renewable: whether renewing may help.
        duration: seconds that it lasts from `taken`; infinite for one that does not expire, or is not known to.
        ours: True for the token of a login of our own, which ends with the store.
        known: False until a token of somebody else's making was looked up.
    """

    token: Secret
    taken: float
    refresh_at: float
    renewable: bool
    duration: float = FOREVER
    ours: bool = True
    known: bool = True
    source: str = field(default="")

    @classmethod
    def granted(cls, auth: Mapping[str, Any], *, ours: bool = True, source: str = "") -> Lease:
        """Return the lease in an answer's member `auth`; it is refreshed after two thirds of its life."""
        now = time.monotonic()
        seconds = float(auth.get("lease_duration") or 0) or FOREVER
        return cls(
            Secret(str(auth["client_token"]).encode()),
            now,
            now + seconds * 2 / 3,
            bool(auth.get("renewable")),
            seconds,
            # A batch token is no lease: it cannot be revoked, and ends by itself.
            ours and auth.get("token_type") != "batch",
            source=source,
        )


class Logins:
    """Logs in by the method of the settings."""

    def __init__(self, connection: Connection, settings: VaultSettings) -> None:
        self._connection = connection
        self._auth = settings.auth
        self._unwrapped: tuple[Secret, Secret] | None = None

    @property
    def method(self) -> str:
        """The name of the method."""
        return self._auth.method

    def obtain(self) -> Lease:
        """Log in and return the new lease.

        Raises:
            StoreDenied: Vault refuses the login, or the secret for it is not where it should be.
            StoreUnavailable: no answer.
            BackendMissing: the method needs an SDK that is not installed.
        """
        auth: Any = self._auth
        match auth.method:
            case "token":
                return self._token(auth)
            case "approle":
                return self._approle(auth)
            case "jwt" | "kubernetes":
                return self._jwt(auth)
            case "userpass" | "ldap":
                return self._password(auth)
            case "cert":
                return self._post(auth.mount, "login", {"name": auth.role} if auth.role else {})
            case _:
                return self._aws(auth)

    def _token(self, auth: TokenLogin) -> Lease:
        source = (
            f"the file {auth.token_file}" if auth.token_file else f"the variable {auth.token_env}"
        )
        token = read_secret("the Vault token", file=auth.token_file, env=auth.token_env)
        if auth.wrapped:
            body = self._unwrap(token, ("auth/token/create", "auth/token/roles", "auth/"))
            if not isinstance(body.get("auth"), dict):
                raise StoreDenied(
                    f"the wrapping token in {source} wraps no token",
                    hint="make one with `vault token create -wrap-ttl=5m …`",
                )
            return Lease.granted(body["auth"], source=source)
        now = time.monotonic()
        return Lease(
            token, now, now + _SOON, renewable=False, ours=False, known=False, source=source
        )

    def _approle(self, auth: AppRoleLogin) -> Lease:
        role = auth.role_id or read_secret(
            "the role-id", file=auth.role_id_file, env=None
        ).reveal().decode("utf-8", "replace")
        secret = read_secret("the secret-id", file=auth.secret_id_file, env=auth.secret_id_env)
        if auth.wrapped:
            secret = self._secret_id(auth, secret)
        return self._post(
            auth.mount, "login", {"role_id": role, "secret_id": secret.reveal().decode("latin-1")}
        )

    def _secret_id(self, auth: AppRoleLogin, wrapping: Secret) -> Secret:
        """Unwrap a secret-id once, and keep it for as long as the wrapping token stays the same."""
        if self._unwrapped is None or self._unwrapped[0] != wrapping:
            body = self._unwrap(wrapping, (f"auth/{auth.mount}/role/",))
            data = body.get("data")
            found = data.get("secret_id") if isinstance(data, dict) else None
            if not isinstance(found, str):
                raise StoreDenied(
                    "the wrapping token wraps no secret-id",
                    hint="make one with `vault write -wrap-ttl=5m -f auth/approle/role/ROLE/secret-id`",
                )
            self._unwrapped = (wrapping, Secret(found.encode()))
        return self._unwrapped[1]

    def _unwrap(self, wrapping: Secret, origins: tuple[str, ...]) -> Mapping[str, Any]:
        """Unwrap what a wrapping token holds, after a look at who made it.

        Somebody who intercepted the token could put another of his own making in its place: the path that
        it was created at is what he cannot forge.
        """
        where = self._connection.address
        looked = self._connection.send(
            "POST", "sys/wrapping/lookup", {"token": wrapping.reveal().decode("latin-1")}
        )
        made = str(looked.data.get("creation_path", ""))
        if looked.status == 200 and not made.startswith(origins):
            raise StoreDenied(
                f"the wrapping token was made at {made} of Vault at {where}, not by this login method",
                hint="somebody may have put it there in place of the real one: investigate, do not use it",
            )
        answer = (
            self._connection.send("POST", "sys/wrapping/unwrap", {}, token=wrapping)
            if looked.status == 200
            else looked
        )
        if answer.status != 200:
            raise StoreDenied(
                f"Vault at {where} does not accept the wrapping token: it has expired, or was unwrapped before",
                hint="if it was not this rotator who unwrapped it, somebody else has the secret: revoke it; "
                "otherwise put a new one there",
            )
        return answer.body

    def _jwt(self, auth: JwtLogin | KubernetesLogin) -> Lease:
        env = auth.jwt_env if auth.method == "jwt" else None
        token = read_secret("the JWT", file=auth.jwt_file, env=env)
        body = {"jwt": token.reveal().decode("latin-1")}
        if auth.role:
            body["role"] = auth.role
        return self._post(auth.mount, "login", body)

    def _password(self, auth: PasswordLogin) -> Lease:
        password = read_secret("the password", file=auth.password_file, env=auth.password_env)
        return self._post(
            auth.mount or auth.method,
            f"login/{auth.username}",
            {"password": password.reveal().decode("utf-8", "surrogateescape")},
        )

    def _aws(self, auth: AwsLogin) -> Lease:
        body: dict[str, Any] = dict(_caller_identity(auth.region, auth.server_id))
        if auth.role:
            body["role"] = auth.role
        return self._post(auth.mount, "login", body)

    def _post(self, mount: str, path: str, body: Mapping[str, Any]) -> Lease:
        answer = self._connection.send("POST", f"auth/{mount}/{path}", body)
        auth = answer.body.get("auth")
        if answer.status == 200 and isinstance(auth, dict) and auth.get("client_token"):
            return Lease.granted(auth)
        raise self._refused(mount, answer, body)

    def _refused(self, mount: str, answer: Answer, body: Mapping[str, Any]) -> StoreDenied:
        what = f"Vault at {self._connection.address} refuses the login by {self._auth.method}"
        if answer.status == 200:
            return StoreDenied(
                f"{what}: it answers without a token", hint="does the role demand a second factor?"
            )
        hint = _WAYS_OUT.get(self._auth.method, "see Vault's audit log")
        if answer.status in (403, 404):  # as Vault answers where nothing is mounted
            hint = f"is the method mounted at auth/{mount} (`vault auth list`)? if it was, this may be another "
            hint += f"Vault, or an emptied one; otherwise: {_WAYS_OUT.get(self._auth.method, '')}"
        reason = quoted(answer.errors)
        sent = [value for value in body.values() if isinstance(value, str)]
        told = reason and not any(value in reason for value in sent if len(value) > 3)
        return StoreDenied(
            f"{what} at auth/{mount} ({answer.status}{f': {reason}' if told else ''})", hint=hint
        )


_WAYS_OUT: Final = {
    "approle": "is the role-id right, and has the secret-id expired, been used up, or bound to another network?",
    "jwt": "is the JWT fresh, and do its issuer, audience and claims fit the role? Vault's audit log says",
    "kubernetes": "is the service account bound to the role, in this namespace and with this audience?",
    "userpass": "is the password right? after five wrong ones Vault locks the user for 15 minutes",
    "ldap": "is the password right, and does the directory answer Vault?",
    "cert": "is the certificate of an authority that a role at this mount trusts, and not expired?",
    "aws": "is the IAM principal bound to the role, and `server_id` what the mount demands?",
}


def _caller_identity(region: str, server_id: str | None) -> Mapping[str, str]:
    """Return a signed `sts:GetCallerIdentity`, in the form that Vault forwards to AWS (its AWS auth method)."""
    import base64
    import json

    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"logging in to Vault by AWS needs {error.name}, which is not installed",
            hint="pip install 'jwks-rotator[aws,vault]'",
        ) from error
    url = f"https://sts.{quote(region)}.amazonaws.com/"
    content = "Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if server_id:
        headers["X-Vault-AWS-IAM-Server-ID"] = server_id
    request = AWSRequest("POST", url, headers=headers, data=content)
    try:
        credentials = get_session().get_credentials()
    except BotoCoreError:
        credentials = None
    if credentials is None:
        raise StoreDenied(
            "there are no AWS credentials to log in to Vault with",
            hint="give this process an IAM role, or AWS_PROFILE",
        )
    SigV4Auth(credentials.get_frozen_credentials(), "sts", region).add_auth(request)
    signed = {name: [value] for name, value in request.headers.items()}
    return {
        "iam_http_request_method": "POST",
        "iam_request_url": base64.b64encode(url.encode()).decode(),
        "iam_request_body": base64.b64encode(content.encode()).decode(),
        "iam_request_headers": base64.b64encode(json.dumps(signed).encode()).decode(),
    }
