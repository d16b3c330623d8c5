"""A URL that each event is posted to, signed as Standard Webhooks has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the headers
`webhook-id`, `webhook-timestamp` (seconds since 1970, of this try) and `webhook-signature`, which is `v1,` and
the base64 of HMAC-SHA256 over `id.timestamp.body`; several signatures, by several secrets, are separated by
spaces. A secret is `whsec_` and base64 of 24 to 64 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from rotator.errors import ConfigError, StoreUnavailable
from rotator.notify.news import News
from rotator.notify.receivers import REPEATED, Stop, Undelivered, secrets_of, url_of
from rotator.notify.templates import TEMPLATES
from rotator.settings.result import WebhookSettings

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 24  # bytes
_ANSWER: Final = 4096  # bytes of an answer that are read; none of them is told
_PATIENCE: Final = 3600.0  # seconds; the longest pause that a receiver may ask for


class Webhook:
    """Posts events to a URL. Nothing but a status of 2xx means that one was taken; no redirect is followed.

    Args:
        name: of the receiver: messages have it in place of the URL, which may be a secret.
        timeout: of one post, name resolution included.
    """

    def __init__(self, name: str, settings: WebhookSettings, timeout: timedelta) -> None:
        self._name, self._settings, self._timeout = name, settings, timeout

    def send(self, news: News, now: datetime, _stop: Stop) -> None:
        """Post an event.

        Raises:
            Undelivered: no answer in time, or one that is not 2xx; or URL or secret cannot be read.
        """
        from rotator.probes.ask import ask_any, resolve
        from rotator.probes.exchange import Request, Url

        body = TEMPLATES[self._settings.template](news, now)
        keys = [key_of(self._name, secret) for secret in secrets_of(self._name, self._settings)]
        headers = {"Content-Type": "application/json", **signed(news.id, now, body, keys)}
        ca_file = None if self._settings.ca_file is None else str(self._settings.ca_file)
        request = Request("POST", headers, body, _ANSWER, ca_file)
        what = f"receiver {self._name}"
        try:
            url = replace(Url.parse(url_of(self._name, self._settings)), text=what)
        except ConfigError:
            raise Undelivered(f"{what} has no URL that could be used", hint=REPEATED) from None
        deadline = time.monotonic() + self._timeout.total_seconds()
        try:
            addresses = resolve(url, deadline)
            answer = ask_any(url, addresses, deadline, what=what, request=request)
        except StoreUnavailable as error:
            hint = (
                "for a CA of your own set `ca_file`" if "certificate" in error.message else REPEATED
            )
            raise Undelivered(error.message, hint=hint) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Undelivered(
                f"{what}: its `ca_file` cannot be used: {why}", hint=REPEATED
            ) from None
        _judge(what, answer.status, answer.headers.get("retry-after", ("",))[0])


def _judge(what: str, status: int, retry_after: str) -> None:
    if 200 <= status < 300:
        return
    hint = REPEATED
    if 300 <= status < 400:
        hint = "no redirect is followed: name the final URL"
    elif status == 410:
        hint = "it says that nobody listens there any more: take it out of `notify`"
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    pause = None if seconds is None else min(seconds, _PATIENCE)
    raise Undelivered(f"{what} answered {status}", hint=hint, retry_after=pause)


def signed(event: str, now: datetime, body: bytes, keys: list[bytes]) -> dict[str, str]:
    """Return the headers of one try.

    Args:
        event: the id of the event.
        keys: a signature for each; none for a webhook without a secret.
    """
    timestamp = str(int(now.timestamp()))
    headers = {"webhook-id": event, "webhook-timestamp": timestamp}
    content = f"{event}.{timestamp}.".encode() + body
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    signatures = [f"v1,{base64.b64encode(digest).decode()}" for digest in digests]
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})


def key_of(name: str, secret: str) -> bytes:
    """Return the bytes of a secret.

    Raises:
        Undelivered: it is none; it is not shown.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SHORTEST:
        raise Undelivered(
            f"the secret of receiver {name} is not {_PREFIX} and base64 of at least {_SHORTEST} bytes",
            hint="`echo whsec_$(head -c 32 /dev/urandom | base64)` makes one",
        )
    return key
