"""The calls of one store: one login and one connection pool for all its key sets, whatever goes wrong.

Imported only when a store is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import botocore.exceptions as sdk  # noqa: TID253  # see above
from botocore import xform_name  # noqa: TID253
from botocore.parsers import ResponseParserError  # noqa: TID253

from rotator.plugin import Calls, RotatorError, ServerTime, StoreDenied, server_time, still_time
from rotator_aws.failures import (
    LOGIN,
    Asked,
    Refused,
    code_of,
    no_login,
    refused,
    unanswered,
    unreadable,
)
from rotator_aws.login import Login
from rotator_aws.settings import AwsSettings, LoginSettings

_T = TypeVar("_T")
_S = TypeVar("_S", bound=LoginSettings)
_WRITES: Final = frozenset(
    {"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "PutObject"}
)
_NAMES: Final = {
    "secretsmanager": "AWS Secrets Manager",
    "sts": "AWS STS",
    "iam": "AWS IAM",
    "cloudfront": "Amazon CloudFront",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS answered, and when; its fields may hold key material and are left out of the repr."""

    fields: Mapping[str, Any] = field(repr=False)
    server_time: ServerTime | None


class ServiceClient(Generic[_S]):
    """Asks AWS. Threads share it; nothing is connected or read before the first call.

    Args:
        settings: the options of the store, or of the bucket.
        service: the service that it is for.
        what: what is asked, in messages; the service unless told otherwise.
        more: what else the clients of that service are made with (`botocore.config.Config`).
    """

    def __init__(
        self,
        settings: _S,
        service: str = "secretsmanager",
        *,
        what: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        self._service = service
        self._more = more
        self.place = f"{what or _NAMES[service]} in {settings.region}"
        if settings.endpoint_url:
            self.place += f" at {settings.endpoint_url.rstrip('/')}"
        self.calls = Calls(
            "aws", self.place, attempts=settings.attempts, patience=settings.patience
        )
        self.written: set[str] = set()  # names of the scratch key set, for `erase_scratch`
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._clients: dict[str, Any] = {}

    def step(self, op: str, key_set: str, step: Callable[[], _T]) -> _T:
        """Run one idempotent step of several calls, again while it may succeed later."""
        return self.calls.attempt(op, key_set, step)

    def call(
        self,
        operation: str,
        resource: str,
        *,
        needs: str = "",
        expect: Collection[str] = (),
        service: str = "",
        **parameters: Any,
    ) -> Answer:
        """Make one call and return its answer.

        Args:
            operation: as AWS names it, `GetSecretValue`.
            resource: what it is about, for messages and the log.
            needs: a field that every answer of AWS to it has.
            expect: codes that the caller deals with.
            service: another service than that of this client.

        Raises:
            Refused: AWS refused with one of those codes.
            StoreUnavailable, StoreDenied, ConfigError: everything else; never an exception of the SDK. Also
                when the write window of this tick has passed (`still_time`): nothing was sent.
        """
        named = _NAMES[service] if service else self.place
        service = service or self._service
        asked = Asked(named, f"{service}:{operation}", resource)
        if operation in _WRITES:
            still_time()
        with self.calls.logged(f"{operation} {resource}".rstrip(), None):
            answer = self._ask(_Call(asked, service, operation, parameters, expect))
            if needs and needs not in answer.fields:
                raise unreadable(asked)
            return answer

    def _ask(self, call: _Call) -> Answer:
        login, fresh = self._logged_in()
        result = self._try(login, call)
        if isinstance(result, _LoginRefused):
            # What the credentials come from may hold new ones: another session reads all of it again.
            self._forget(login)
            if not fresh:
                login, _ = self._logged_in()
                result = self._try(login, call)
        if isinstance(result, _LoginRefused):
            self._forget(login)
            raise result.error
        # Raised here, where no exception of the SDK is being handled: they quote what was sent or answered.
        if isinstance(result, Exception):
            raise result
        return result

    def _try(self, login: Login | RotatorError, call: _Call) -> Answer | Exception | _LoginRefused:
        if isinstance(login, RotatorError):
            return _LoginRefused(login)
        try:
            client = self._client(login, call.service)
            fields = getattr(client, xform_name(call.operation))(**call.parameters)
        except RotatorError as error:  # what the login raised: a file that is not there
            return _LoginRefused(error)
        except sdk.ClientError as error:
            code = code_of(error)
            if code in call.expect:
                return Refused(code, error.response)
            meant = refused(error, call.asked)
            return _LoginRefused(meant) if code in LOGIN else meant
        except sdk.BotoCoreError as error:
            meant = unanswered(error, call.asked)
            return _LoginRefused(meant) if isinstance(meant, StoreDenied) else meant
        except (OSError, RuntimeError) as error:
            return _LoginRefused(no_login(error, call.asked))
        except (ResponseParserError, ValueError, KeyError, TypeError, AttributeError):
            # What its parsers make of a page that is no answer of AWS.
            return unreadable(call.asked)
        date = fields.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return Answer(
            fields, server_time(str(client.meta.endpoint_url), date, login.transport.sent)
        )

    def _logged_in(self) -> tuple[Login | RotatorError, bool]:
        """Return the login, or what stands in its way, and whether it was made just now."""
        with self._lock:
            if self._login is not None:
                return self._login, False
            try:
                self._login = Login(self.settings, self._service, self._more)
            except sdk.BotoCoreError as error:
                return unanswered(error, Asked(self.place, "log in", "")), True
            return self._login, True

    def _client(self, login: Login, service: str) -> Any:
        with self._lock:  # a session makes its clients one at a time
            if login is not self._login:
                return login.client(service)
            if service not in self._clients:
                self._clients[service] = login.client(service)
            return self._clients[service]

    def _forget(self, login: Login | RotatorError) -> None:
        with self._lock:
            if self._login is login:
                self._login, self._clients = None, {}

    def close(self) -> None:
        """Let go of the login and its connections."""
        with self._lock:
            login, self._login, self._clients = self._login, None, {}
        if login is not None:
            login.transport.close()


class Client(ServiceClient[AwsSettings]):
    """The calls of one store: of AWS Secrets Manager, and of what logs in to it."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call to be made."""

    asked: Asked
    service: str
    operation: str
    parameters: Mapping[str, Any] = field(repr=False)
    expect: Collection[str]


@dataclass(frozen=True, slots=True)
class _LoginRefused:
    """The login does not hold, or not any more."""

    error: RotatorError
