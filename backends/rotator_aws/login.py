"""Sessions of the SDK: whose credentials they use, and how their clients are made.

Imported only when a store is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import botocore.exceptions as sdk  # noqa: TID253  # see above
from botocore.config import Config  # noqa: TID253  # see above
from botocore.credentials import DeferredRefreshableCredentials  # noqa: TID253
from botocore.loaders import Loader  # noqa: TID253
from botocore.parsers import ResponseParserError  # noqa: TID253
from botocore.session import Session  # noqa: TID253

from rotator.plugin import ConfigError, read_secret
from rotator_aws.failures import Asked, refused, unanswered, unreadable
from rotator_aws.settings import AssumeRole, LoginSettings
from rotator_aws.transport import Transport

_OURS: Final = "rotator"


class Login:
    """One session of the SDK, from reading the credentials on; made anew when AWS no longer takes them.

    Args:
        settings: what to log in with.
        service: the service whose address is `endpoint_url`.
        more: what else its clients are made with (`botocore.config.Config`).

    Raises:
        ConfigError: there is no file of CA certificates where one was named.
        BotoCoreError: a profile or a file of ~/.aws cannot be used.
    """

    def __init__(
        self, settings: LoginSettings, service: str, more: Mapping[str, Any] | None = None
    ) -> None:
        self._settings = settings
        self._service = service
        self._more = more or {}
        if settings.ca_file is not None and not settings.ca_file.is_file():
            raise ConfigError(
                f"the ca_file {settings.ca_file} is not a file",
                hint="name a file of CA certificates in PEM",
            )
        self._session = _session(settings.profile)
        self.transport = Transport(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            verify=settings.ca_file
            or self._session.get_config_variable("ca_bundle")
            or os.environ.get("REQUESTS_CA_BUNDLE")
            or True,
        )
        self._session.register("before-send", self.transport.send)
        if settings.assume_role is not None:
            chain = self._session.get_component("credential_provider")
            chain.insert_before(chain.providers[0].METHOD, _Role(self, settings.assume_role))

    def client(self, service: str) -> Any:
        """Return a client of a service; safe to be used by many threads."""
        return self._client(service, self._session, self._more if service == self._service else {})

    def role_client(self, *, signed: bool) -> Any:
        """Return the client of STS that takes on a role, with the credentials there are without the role."""
        source = _session(self._settings.profile)
        source.register("before-send", self.transport.send)
        if signed:
            return self._client("sts", source, {})
        from botocore import UNSIGNED

        return self._client("sts", source, {"signature_version": UNSIGNED})

    def _client(self, service: str, session: Session, more: Mapping[str, Any]) -> Any:
        settings = self._settings
        endpoints = {self._service: settings.endpoint_url, "sts": settings.sts_endpoint_url}
        client = session.create_client(
            service,
            region_name=settings.region,
            endpoint_url=endpoints.get(service),
            config=Config(
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
                # The one retry policy is around whole steps; here it would only multiply.
                retries={"total_max_attempts": 1, "mode": "standard"},
                use_dualstack_endpoint=settings.dual_stack or None,
                user_agent_appid=_OURS,
                **more,
            ),
        )
        if service == "s3":
            client.meta.events.register("before-call.s3", _as_it_is)
        _keep_payloads_out_of_logs()
        return client


class _Loader(Loader):
    """The SDK's reader of its data files, without looking for the file in each of 400 directories first."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # the SDK's signature
        """Return the names of all directories of data; a service that lacks the file fails when it is read."""
        paths = [Path(path) for path in self.search_paths]
        return [service.name for path in paths if path.is_dir() for service in path.iterdir()]


def _session(profile: str | None) -> Session:
    session = Session(profile=profile)
    session.register_component("data_loader", _loader())
    return session


@lru_cache(maxsize=1)
def _loader() -> _Loader:
    """Return the one reader of data files of this process: what it has read serves every later login."""
    return _Loader()


class _Role:
    """The credential provider of a role, first in the chain; everything secret is read at each login."""

    METHOD = "rotator-assume-role"
    CANONICAL_NAME = None

    def __init__(self, login: Login, role: AssumeRole) -> None:
        self._login = login
        self._role = role

    def load(self) -> DeferredRefreshableCredentials:
        """Return credentials that log in when they are first used, and again before they expire."""
        return DeferredRefreshableCredentials(refresh_using=self._refresh, method=self.METHOD)

    def _refresh(self) -> dict[str, str]:
        role = self._role
        operation = "AssumeRoleWithWebIdentity" if role.web_identity_token_file else "AssumeRole"
        asked = Asked("AWS STS", f"sts:{operation}", role.role_arn)
        try:
            given = self._assumed().get("Credentials", {})
            return {
                "access_key": given["AccessKeyId"],
                "secret_key": given["SecretAccessKey"],
                "token": given["SessionToken"],
                "expiry_time": given["Expiration"].isoformat(),
            }
        except sdk.ClientError as error:
            raise refused(error, asked) from None
        except sdk.BotoCoreError as error:
            raise unanswered(error, asked) from None
        except (KeyError, AttributeError, ValueError, ResponseParserError):
            raise unreadable(asked) from None

    def _assumed(self) -> dict[str, Any]:
        role = self._role
        names = {"RoleArn": role.role_arn, "RoleSessionName": role.session_name}
        if role.web_identity_token_file is None:
            client = self._login.role_client(signed=True)
            return dict(client.assume_role(**names, **self._external()))
        token = read_secret("the web identity token", file=role.web_identity_token_file, env=None)
        answer = self._login.role_client(signed=False).assume_role_with_web_identity(
            **names, WebIdentityToken=token.reveal().decode("ascii", "replace")
        )
        return dict(answer)

    def _external(self) -> dict[str, str]:
        role = self._role
        if role.external_id_file is None and role.external_id_env is None:
            return {}
        found = read_secret(
            "the external id of the role", file=role.external_id_file, env=role.external_id_env
        )
        return {"ExternalId": found.reveal().decode("utf-8", "replace")}


def _as_it_is(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """Keep the SDK from following a bucket to another region by itself, and from asking before it sends a body.

    It follows once per call: as far as it knows, this one has been followed. And to a server that does not say
    `100 Continue`, it would send a body of a few kilobytes a second later.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True
    params["headers"].pop("Expect", None)


def _keep_payloads_out_of_logs() -> None:
    """Let botocore's loggers say nothing below ERROR: they print requests and answers whole.

    Filters, not levels: who turns their level up later means to see calls, not key material. Each of our
    calls is a DEBUG event of ours, and what its warnings tell (a login that could not be renewed) is an
    error that we raise.
    """
    for name in list(logging.root.manager.loggerDict):
        if name == "botocore" or name.startswith("botocore."):
            logging.getLogger(name).addFilter(_without_payload)


def _without_payload(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
