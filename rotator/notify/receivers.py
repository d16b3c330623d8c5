"""One receiver: an event goes out, and either it was taken or the reason is raised."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from rotator.errors import RotatorError
from rotator.notify.news import News
from rotator.settings.result import ReceiverSettings, WebhookSettings

_MOST: Final = 1 << 16  # bytes of a file with a URL or a secret


REPEATED: Final = "it is tried again with the same event id"
"""The hint of a failure that may pass by itself."""


class Undelivered(RotatorError):
    """A receiver did not take an event; it is kept and sent again.

    Args:
        retry_after: seconds that the receiver asked to wait (RFC 9110 §10.2.3).
    """

    exit_code = 75

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Stop(Protocol):
    """Tells whether what is under way is to be cut short."""

    def __call__(self) -> bool:
        """Return True when this process is about to end."""
        ...


Send = Callable[[News, datetime, Stop], None]
"""Hands an event over, within the receiver's timeout; raises Undelivered unless it was taken."""


def sender_of(receiver: ReceiverSettings) -> Send:
    """Return what hands events to a receiver; nothing is opened or read yet."""
    if receiver.webhook is not None:
        from rotator.notify.webhook import Webhook

        return Webhook(receiver.name, receiver.webhook, receiver.timeout).send
    from rotator.notify.hook import Hook

    return Hook(receiver.name, receiver.command, receiver.timeout).send


def where(receiver: ReceiverSettings) -> str:
    """Return what a receiver is, for people: never a URL, which may be all that it takes to post there."""
    if receiver.webhook is not None:
        return f"webhook ({receiver.webhook.template})"
    return f"command {receiver.command[0]}"


def url_of(name: str, webhook: WebhookSettings) -> str:
    """Return the URL of a webhook, read anew each time: whoever replaces a file need not tell us.

    Raises:
        Undelivered: it cannot be read.
    """
    if webhook.url is not None:
        return webhook.url
    return _said(name, "URL", webhook.url_file, webhook.url_env)


def secrets_of(name: str, webhook: WebhookSettings) -> list[str]:
    """Return the secrets that a webhook is signed with, one a line; none for one that is not signed.

    Raises:
        Undelivered: they cannot be read.
    """
    if webhook.secret_file is None and webhook.secret_env is None:
        return []
    return _said(name, "secret", webhook.secret_file, webhook.secret_env).split()


def _said(name: str, what: str, file: Path | None, variable: str | None) -> str:
    if file is None:
        text = os.environ.get(variable or "", "").strip()
        place = f"the environment variable {variable}"
    else:
        place = str(file)
        try:
            with file.open("rb") as opened:
                text = opened.read(_MOST).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise Undelivered(
                f"the {what} of receiver {name} cannot be read from {place}: {why}",
                hint="it is read again at each try",
            ) from None
    if not text:
        raise Undelivered(
            f"the {what} of receiver {name} is not there: {place} is empty",
            hint="it is read again at each try" if file is not None else "set it and start again",
        )
    return text


__all__ = ["Send", "Stop", "Undelivered", "secrets_of", "sender_of", "url_of", "where"]
