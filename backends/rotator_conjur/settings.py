"""How this store is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rotator.plugin import HttpUrl, RemoteSettings

_T = TypeVar("_T", bound=BaseModel)
_Login = Annotated[str, Field(min_length=1, max_length=512)]


class _Auth(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiKeyAuth(_Auth):
    """Log in with the API key of a host or user (authn)."""

    method: Literal["api-key"]
    login: _Login = Field(description="`host/NAME`, or the name of a user.")
    api_key_file: Path | None = Field(default=None, description="The file that holds the API key.")
    api_key_env: str | None = Field(
        default=None, description="The environment variable that holds the API key."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        return _exactly_one(self, "api_key_file", "api_key_env")


class JwtAuth(_Auth):
    """Log in with a JWT of the platform, such as a Kubernetes service-account token (authn-jwt)."""

    method: Literal["jwt"]
    service_id: str = Field(description="The id of the authn-jwt service.")
    jwt_file: Path | None = Field(
        default=None, description="The file that holds the token; read again at each login."
    )
    jwt_env: str | None = Field(
        default=None, description="The environment variable that holds the token."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        return _exactly_one(self, "jwt_file", "jwt_env")


class IamAuth(_Auth):
    """Log in with the AWS credentials of the platform (authn-iam)."""

    method: Literal["iam"]
    login: _Login = Field(description="The host, `host/BRANCH/ACCOUNT_ID/ROLE_NAME`.")
    service_id: str = Field(default="prod", description="The id of the authn-iam service.")
    region: str = Field(default="us-east-1", description="The region of STS, or `global`.")


class GcpAuth(_Auth):
    """Log in with the identity token of a Google Cloud instance (authn-jwt/gcp)."""

    method: Literal["gcp"]
    login: _Login = Field(description="The host, `host/BRANCH/NAME`.")
    service_id: str = Field(default="gcp", description="The id of the authn-jwt service.")
    identity_url: str | None = Field(
        default=None, description="Where the metadata server gives identity tokens."
    )


class AzureAuth(_Auth):
    """Log in with the managed identity of an Azure resource (authn-azure)."""

    method: Literal["azure"]
    login: _Login = Field(description="The host, `host/BRANCH/NAME`.")
    service_id: str = Field(description="The id of the authn-azure service.")
    client_id: str | None = Field(
        default=None, description="The client id of a user-assigned managed identity."
    )
    imds_url: str | None = Field(
        default=None, description="Where the instance metadata service answers."
    )


class LdapAuth(_Auth):
    """Log in with a password of the LDAP directory (authn-ldap)."""

    method: Literal["ldap"]
    login: _Login = Field(description="The name of the user.")
    service_id: str = Field(description="The id of the authn-ldap service.")
    password_file: Path | None = Field(
        default=None, description="The file that holds the password."
    )
    password_env: str | None = Field(
        default=None, description="The environment variable that holds the password."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        return _exactly_one(self, "password_file", "password_env")


Auth = Annotated[
    ApiKeyAuth | JwtAuth | IamAuth | GcpAuth | AzureAuth | LdapAuth, Field(discriminator="method")
]
"""How a store logs in."""


class ConjurSettings(RemoteSettings):
    """The options of a Conjur store."""

    url: HttpUrl = Field(
        description="The address of the Leader; a follower lags and refuses writes.",
    )
    account: str = Field(min_length=1, description="The name of the Conjur account.")
    auth: Auth = Field(description="How to log in.")
    prefix: str = Field(
        default="rotator",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
        description="The policy branch in which all variables lie.",
    )
    ca_file: Path | None = Field(
        default=None, description="The certificates to trust instead of the system's (PEM)."
    )
    material: Literal["slots", "variables"] = Field(
        default="slots",
        description="Where material goes: numbered variables that policy made before, or a variable for "
        "each kid, made and deleted by loading policy.",
    )
    slots: Annotated[int, Field(ge=3, le=200)] | None = Field(
        default=None,
        description="How many numbered variables of material each key set has; two more than `max_keys` if "
        "left out.",
    )


def _exactly_one(auth: _T, file: str, env: str) -> _T:
    if (getattr(auth, file) is None) == (getattr(auth, env) is None):
        raise ValueError(f"give one of {file} and {env}")
    return auth
