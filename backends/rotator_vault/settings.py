"""How a Vault store is configured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rotator.plugin import HttpUrl, RemoteSettings, http_url

_SEGMENTS: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"


def _path(value: str) -> str:
    plain = value.strip("/")
    if _SEGMENTS.fullmatch(plain) is None or ".." in plain:
        raise ValueError("must be a path of A-Z a-z 0-9 . _ - between slashes")
    return plain


def base_url(value: str) -> str:
    """Return the address of Vault.

    Raises:
        ValueError: it is no URL, has credentials in it, or goes on to the API; it is not quoted.
    """
    url = http_url(value)
    if re.search(r"/v1(/|$)", url):
        raise ValueError("must end before /v1, which is added to it")
    return url


_Path = Annotated[str, AfterValidator(_path)]
_Variable = Annotated[str, Field(pattern=_VARIABLE)]
_Name = Annotated[str, Field(min_length=1)]


class _Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def _exactly_one(self, *names: str) -> None:
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"needs exactly one of {' and '.join(names)}")


class TokenLogin(_Login):
    """A token that somebody else obtained: a Vault Agent, an operator, a platform."""

    method: Literal["token"]
    token_file: Path | None = Field(
        default=None,
        description="The file that holds the token; read again when it stops being accepted.",
    )
    token_env: _Variable | None = Field(
        default=None, description="The environment variable that holds it, such as `VAULT_TOKEN`."
    )
    wrapped: bool = Field(
        default=False, description="Whether it is a wrapping token, to be unwrapped once."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self._exactly_one("token_file", "token_env")
        return self


class AppRoleLogin(_Login):
    """AppRole: a role-id that names the role, and a secret-id that proves it."""

    method: Literal["approle"]
    mount: _Path = Field(default="approle", description="Where the login method is mounted.")
    role_id: _Name | None = Field(default=None, description="The role-id; no secret.")
    role_id_file: Path | None = Field(default=None, description="The file that holds the role-id.")
    secret_id_file: Path | None = Field(
        default=None, description="The file that holds the secret-id; read anew at each login."
    )
    secret_id_env: _Variable | None = Field(
        default=None, description="The environment variable that holds the secret-id."
    )
    wrapped: bool = Field(
        default=False,
        description="Whether it is a wrapping token around the secret-id, to be unwrapped once.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self._exactly_one("role_id", "role_id_file")
        self._exactly_one("secret_id_file", "secret_id_env")
        return self


class JwtLogin(_Login):
    """A JWT of an issuer that Vault trusts, such as a CI system's or a projected service account's."""

    method: Literal["jwt"]
    mount: _Path = Field(default="jwt", description="Where the login method is mounted.")
    role: _Name | None = Field(
        default=None, description="The role; the mount's default if left out."
    )
    jwt_file: Path | None = Field(
        default=None, description="The file that holds the JWT; read anew at each login."
    )
    jwt_env: _Variable | None = Field(
        default=None, description="The environment variable that holds the JWT."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self._exactly_one("jwt_file", "jwt_env")
        return self


class KubernetesLogin(_Login):
    """The service account of the pod."""

    method: Literal["kubernetes"]
    mount: _Path = Field(default="kubernetes", description="Where the login method is mounted.")
    role: _Name = Field(description="The role.")
    jwt_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="The projected token of the service account; read anew at each login.",
    )


class PasswordLogin(_Login):
    """A user with a password, in Vault (userpass) or in a directory (ldap)."""

    method: Literal["userpass", "ldap"]
    mount: _Path | None = Field(
        default=None,
        description="Where the login method is mounted; the method's name if left out.",
    )
    username: Annotated[str, Field(pattern=r"^[^/\s]+$")] = Field(description="The user.")
    password_file: Path | None = Field(
        default=None, description="The file that holds the password; read anew at each login."
    )
    password_env: _Variable | None = Field(
        default=None, description="The environment variable that holds the password."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self._exactly_one("password_file", "password_env")
        return self


class CertificateLogin(_Login):
    """The store's client certificate (`cert_file`, `key_file`)."""

    method: Literal["cert"]
    mount: _Path = Field(default="cert", description="Where the login method is mounted.")
    role: _Name | None = Field(
        default=None, description="The certificate role; any that matches if left out."
    )


class AwsLogin(_Login):
    """An AWS identity, proved by a signed `sts:GetCallerIdentity`; needs the extra `aws` as well."""

    method: Literal["aws"]
    mount: _Path = Field(default="aws", description="Where the login method is mounted.")
    role: _Name | None = Field(
        default=None, description="The role; the one named like the IAM principal if left out."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = Field(
        default="us-east-1", description="The region whose STS endpoint the request is signed for."
    )
    server_id: _Name | None = Field(
        default=None,
        description="The value of `X-Vault-AWS-IAM-Server-ID`, where the mount demands one.",
    )


Login = Annotated[
    TokenLogin
    | AppRoleLogin
    | JwtLogin
    | KubernetesLogin
    | PasswordLogin
    | CertificateLogin
    | AwsLogin,
    Field(discriminator="method"),
]


class VaultSettings(RemoteSettings):
    """The options of a Vault store: HashiCorp Vault or OpenBao, KV version 2."""

    address: Annotated[str, AfterValidator(base_url)] | None = Field(
        default=None, description="Where Vault answers, such as `https://vault.example.com:8200`."
    )
    address_env: _Variable | None = Field(
        default=None,
        description="The environment variable that holds the address, such as `VAULT_ADDR`.",
    )
    mount: _Path = Field(default="secret", description="Where the KV secrets engine is mounted.")
    prefix: _Path = Field(default="rotator", description="The path below it that is rotator's.")
    namespace: _Path | None = Field(
        default=None, description="The namespace (Vault Enterprise, HCP, OpenBao)."
    )
    ca_file: Path | None = Field(
        default=None,
        description="The certificate authorities to trust, in PEM, in place of the system's.",
    )
    cert_file: Path | None = Field(default=None, description="A client certificate, in PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, in PEM.")
    proxy: HttpUrl | None = Field(
        default=None,
        description="An HTTP proxy; those of the environment are not used.",
    )
    auth: Login = Field(description="How to log in.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.address is None) == (self.address_env is None):
            raise ValueError("needs exactly one of address and address_env")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("needs both cert_file and key_file, or neither")
        if isinstance(self.auth, CertificateLogin) and self.cert_file is None:
            raise ValueError("needs cert_file and key_file for the login method cert")
        return self
