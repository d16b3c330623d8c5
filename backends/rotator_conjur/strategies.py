"""The SDK's authentication strategies, with our own wire under them.

Only a login imports this module: the SDK takes a third of a second.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Protocol

from conjur_api.models import ConjurConnectionInfo, CredentialsData  # noqa: TID253 - see above
from conjur_api.providers import (  # noqa: TID253
    AuthnAuthenticationStrategy,
    AWSIAMAuthenticationStrategy,
    AzureAuthenticationStrategy,
    GCPAuthenticationStrategy,
    JWTAuthenticationStrategy,
    LdapAuthenticationStrategy,
    SimpleCredentialsProvider,
)
from conjur_api.providers.aws_iam_authentication_strategy import (  # noqa: TID253
    build_signed_headers,
)

from rotator.plugin import read_secret
from rotator_conjur.settings import (
    ApiKeyAuth,
    AzureAuth,
    ConjurSettings,
    GcpAuth,
    IamAuth,
    JwtAuth,
    LdapAuth,
)


class Exchange(Protocol):
    """Makes one call of a login, and returns the body of the answer."""

    async def __call__(
        self, method: str, *path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> str:
        """Make the call.

        Raises:
            StoreDenied, StoreUnavailable: what the answer means.
        """
        ...


class _ApiKey(AuthnAuthenticationStrategy):
    exchange: Exchange

    async def _send_authenticate_request(self, _: Any, info: Any, creds: Any) -> str:
        path = ("authn", info.conjur_account, creds.username, "authenticate")
        return await self.exchange("POST", *path, body=creds.api_key)


class _Ldap(LdapAuthenticationStrategy):
    exchange: Exchange

    async def _send_login_request(self, _: Any, info: Any, creds: Any) -> str:
        pair = base64.b64encode(f"{creds.username}:{creds.password}".encode()).decode("ascii")
        path = ("authn-ldap", info.service_id, info.conjur_account, "login")
        return await self.exchange("GET", *path, headers={"Authorization": f"Basic {pair}"})

    async def _send_authenticate_request(self, _: Any, info: Any, creds: Any) -> str:
        path = ("authn-ldap", info.service_id, info.conjur_account, creds.username, "authenticate")
        return await self.exchange("POST", *path, body=creds.api_key)


class _Jwt(JWTAuthenticationStrategy):
    exchange: Exchange

    async def _send_authenticate_request(self, _: Any, info: Any) -> str:
        path = ("authn-jwt", info.service_id, info.conjur_account, "authenticate")
        return await self.exchange("POST", *path, body=f"jwt={self.jwt_token}", headers=_FORM)


class _Iam(AWSIAMAuthenticationStrategy):
    exchange: Exchange

    async def authenticate(self, info: Any, _: Any) -> tuple[str, None]:
        # botocore may ask the instance's metadata service, which would stop the event loop.
        headers = await asyncio.to_thread(build_signed_headers, self.aws_region)
        path = ("authn-iam", self.service_id, info.conjur_account, self.identity, "authenticate")
        return await self.exchange("POST", *path, body=headers, headers=_JSON), None


class _Azure(AzureAuthenticationStrategy):
    exchange: Exchange

    async def _exchange_jwt_for_conjur_token(self, token: str, info: Any, _: Any) -> str:
        path = ("authn-azure", info.service_id, info.conjur_account, self.identity, "authenticate")
        return await self.exchange("POST", *path, body=f"jwt={token}", headers=_FORM)


class _Gcp(GCPAuthenticationStrategy):
    exchange: Exchange

    async def _exchange_jwt_for_conjur_token(self, token: str, info: Any, _: Any) -> str:
        path = ("authn-jwt", info.service_id, info.conjur_account, self.identity, "authenticate")
        return await self.exchange("POST", *path, body=f"jwt={token}", headers=_FORM)


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


def strategy_for(settings: ConjurSettings, exchange: Exchange) -> tuple[Any, Any]:
    """Return a strategy with the secrets as they are now, and what it has to know of the server.

    Raises:
        StoreDenied: a secret is not there, or may not be read.
    """
    info = ConjurConnectionInfo(
        conjur_url=settings.url,
        account=settings.account,
        service_id=getattr(settings.auth, "service_id", None),
    )
    strategy = _strategy(settings)
    strategy.exchange = exchange
    return strategy, info


def _strategy(settings: ConjurSettings) -> Any:
    auth = settings.auth
    match auth:
        case ApiKeyAuth():
            key = read_secret("the Conjur API key", file=auth.api_key_file, env=auth.api_key_env)
            return _ApiKey(_credentials(settings.url, auth.login, api_key=key.reveal().decode()))
        case LdapAuth():
            password = read_secret(
                "the LDAP password", file=auth.password_file, env=auth.password_env
            )
            return _Ldap(
                _credentials(settings.url, auth.login, password=password.reveal().decode())
            )
        case JwtAuth():
            token = read_secret("the JWT for Conjur", file=auth.jwt_file, env=auth.jwt_env)
            return _Jwt(token.reveal().decode())
        case IamAuth():
            return _Iam(auth.login, auth.service_id, auth.region)
        case GcpAuth():
            given = {"gcp_identity_url": auth.identity_url} if auth.identity_url else {}
            return _Gcp(auth.login, **given)
        case AzureAuth():
            given = {"imds_base_url": auth.imds_url} if auth.imds_url else {}
            return _Azure(auth.login, client_id=auth.client_id, **given)


def _credentials(url: str, login: str, **secret: str) -> Any:
    provider = SimpleCredentialsProvider()
    provider.save(CredentialsData(machine=url, username=login, **secret))
    return provider
