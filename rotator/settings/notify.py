"""`notify:` of a configuration: who is told what happens to keys."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from rotator.settings.document import Document
from rotator.settings.faults import Fault, nearest
from rotator.settings.names import KEY_SET_NAME, NAME_RULE
from rotator.settings.result import ReceiverSettings, WebhookSettings
from rotator.settings.validate import validate
from rotator.settings.values import Name, PathText, PositiveDuration, Text

_LONGEST: Final = timedelta(minutes=10)

EventName = Literal[
    "announced", "promoted", "superseded", "retired", "revoked", "failed", "overdue", "drift"
]


def _bounded(value: timedelta) -> timedelta:
    if value > _LONGEST:
        raise ValueError("must be at most `10m`")
    return value


def _post_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or parts.username is not None or parts.fragment or not value.isascii():
        raise ValueError("must be a URL with https:// or http://, without credentials or `#…`")
    return value


PostUrl = Annotated[
    Text, AfterValidator(_post_url), WithJsonSchema({"type": "string", "format": "uri"})
]
Timeout = Annotated[PositiveDuration, AfterValidator(_bounded)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Webhook(_Strict):
    """A URL that events are posted to."""

    url: PostUrl | None = Field(
        None,
        description="The URL; it is hidden wherever a configuration is shown, for whoever knows that of a Slack webhook may post there.",
    )
    url_file: PathText | None = Field(
        None, description="A file that holds the URL, read at each try. One of the three is needed."
    )
    url_env: Name | None = Field(None, description="The environment variable that holds the URL.")
    secret_file: PathText | None = Field(
        None,
        description="A file with the secret that posts are signed with (Standard Webhooks), `whsec_…`; two lines are two secrets, while one replaces the other. Read at each try.",
    )
    secret_env: Name | None = Field(
        None, description="The environment variable that holds the secret."
    )
    template: Literal["generic", "slack", "alertmanager"] = Field(
        "generic",
        description="The body: our own JSON, a Slack message, or an alert for `/api/v2/alerts` of an Alertmanager.",
    )
    timeout: Timeout = Field(timedelta(seconds=10), description="How long one try may take.")
    ca_file: PathText | None = Field(
        None,
        description="PEM of the CAs that the server's certificate is held against, in place of the system's.",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if sum(item is not None for item in (self.url, self.url_file, self.url_env)) != 1:
            raise ValueError("needs one of `url`, `url_file` and `url_env`, and only one")
        if self.secret_file is not None and self.secret_env is not None:
            raise ValueError("`secret_file` and `secret_env` are two ways to say one thing")
        return self


class Receiver(_Strict):
    """One receiver of notifications."""

    webhook: Webhook | None = Field(
        None, description="A URL that events are posted to. Either this or `command`."
    )
    command: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None,
        description="A program and its arguments, run for each event without a shell; the event is JSON on its stdin, and exit code 0 means that it was taken.",
    )
    timeout: Timeout | None = Field(
        None,
        description="How long one run of `command` may take, after which it is killed with all that it started. Default: `30s`.",
    )
    events: list[EventName] = Field(
        [], description="Which events it is told of. Default: all of them."
    )
    key_sets: list[Name] = Field(
        [], description="Of which key sets it is told. Default: of all of them."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.webhook is None) == (self.command is None):
            raise ValueError("needs either `webhook` or `command`")
        if self.webhook is not None and self.timeout is not None:
            raise ValueError("`timeout` of a webhook is `webhook.timeout`")
        return self

    def settings(self, name: str, directory: Path) -> ReceiverSettings:
        """Return what the program uses of it, paths resolved against a directory: a command's, too."""

        def resolved(text: str | None) -> Path | None:
            if text is None:
                return None
            return Path(os.path.normpath(directory / Path(text).expanduser()))

        hook, webhook = self.webhook, None
        if hook is not None:
            webhook = WebhookSettings(
                hook.template,
                hook.url,
                resolved(hook.url_file),
                hook.url_env,
                resolved(hook.secret_file),
                hook.secret_env,
                resolved(hook.ca_file),
            )
        command = tuple(self.command or ())
        if command and "/" in command[0]:
            command = (str(resolved(command[0])), *command[1:])
        timeout = hook.timeout if hook is not None else self.timeout or timedelta(seconds=30)
        return ReceiverSettings(
            name,
            webhook,
            command,
            timeout,
            frozenset(self.events),
            frozenset(self.key_sets),
        )


def check_receivers(
    given: Mapping[str, Any],
    main: Document,
    directory: Path,
    faults: list[Fault],
    known: Collection[str],
) -> dict[str, ReceiverSettings]:
    """Return the receivers that have no fault of their own, by name.

    Args:
        known: the names of all key sets.
    """
    receivers = {}
    for name, value in given.items():
        path = ("notify", name)
        if not KEY_SET_NAME.fullmatch(name):
            faults.append(main.fault(path, NAME_RULE))
        # No fault shows a value: it may be a URL that is a secret.
        found, _ = validate(Receiver, main, path, faults, values=value, secret=True)
        if found is None:
            continue
        for position, key_set in enumerate(found.key_sets):
            if key_set not in known:
                text = f"there is no key set {key_set!r}{nearest(key_set, known)}"
                faults.append(main.fault((*path, "key_sets", position), text))
        receivers[name] = found.settings(name, directory)
    return receivers
